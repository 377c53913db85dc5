"""Windows of the video module against one attention over the whole clip with a mask."""

import pytest
import torch
from torch import Tensor

from models.networks.avism.video_module import VideoModule, Windows
from tests.support.tiny_model import tiny_model

QUERIES = 3
LENGTHS = [1, 2, 3, 4, 6, 7, 11]
WINDOWS = [2, 3, 5, 6]


def group(frame: int, window: int, shifted: bool) -> int:
    """Which frames meet: equal numbers. Shifted windows begin half a window earlier."""
    return (frame + (window + 1) // 2 if shifted else frame) // window


def blocked_pairs(frames: int, window: int, shifted: bool) -> Tensor:
    groups = torch.tensor([group(frame, window, shifted) for frame in range(frames)])
    return groups[:, None] != groups[None, :]  # [T, T]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("frames", LENGTHS)
def test_frames_see_exactly_those_of_their_window(frames: int, window: int, shifted: bool) -> None:
    windows = Windows(frames, window, shifted=shifted, device=torch.device("cpu"))
    number = torch.arange(1, frames + 1).view(1, frames, 1, 1).expand(2, -1, QUERIES, 1)  # 0 is padding
    cut = windows.cut(number)
    torch.testing.assert_close(windows.join(cut, QUERIES), number)
    may_look = ~windows.mask(2, QUERIES, QUERIES)[:, 0]
    assert may_look.any(-1).all(), "a token that looks nowhere makes NaN"
    allowed = ~blocked_pairs(frames, window, shifted)
    for tokens, look in zip(cut[..., 0], may_look, strict=True):
        for token, keys in zip(tokens.tolist(), look, strict=True):
            if token:
                seen = tokens[keys].tolist()
                wanted = (allowed[token - 1].nonzero()[:, 0] + 1).repeat_interleave(QUERIES).tolist()
                assert sorted(seen) == wanted


def video_module(training: bool, window: int) -> VideoModule:
    module: VideoModule = tiny_model(
        window=window, video_encoder_layers=3, frame_queries=QUERIES
    ).video_module
    return module.train(training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("frames", "window"), [(1, 3), (2, 3), (7, 3), (9, 4), (6, 6)])
@torch.no_grad()
def test_windowed_self_attention_equals_a_masked_one(frames: int, window: int, training: bool) -> None:
    """Every second layer is shifted in inference, none in training."""
    module = video_module(training, window)
    x = torch.randn(2, frames, QUERIES, 16)
    y = x.flatten(1, 2)
    layers = zip(module.encoder_attention, module.encoder_feed_forward, strict=True)
    for index, (attend, feed) in enumerate(layers):
        blocked = blocked_pairs(frames, window, index % 2 == 1 and not training)
        blocked = blocked.repeat_interleave(QUERIES, 0).repeat_interleave(QUERIES, 1)
        y = feed(attend(y, blocked=blocked))
    torch.testing.assert_close(module._encode_frames(x).flatten(1, 2), y, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("frames", "window"), [(1, 3), (7, 3), (9, 4)])
@torch.no_grad()
def test_one_audio_token_is_as_good_as_one_per_query(frames: int, window: int, training: bool) -> None:
    """The published branch carries one copy per query, shifted in training too."""
    module = video_module(training, window)
    x, audio = torch.randn(2, frames, QUERIES, 16), torch.randn(2, frames, 128)
    copies = module.audio_proj(audio)[:, :, None].expand(-1, -1, QUERIES, -1).flatten(1, 2)
    layers = zip(module.audio_attention, module.audio_feed_forward, strict=True)
    for index, (attend, feed) in enumerate(layers):
        blocked = blocked_pairs(frames, window, index % 2 == 1)
        blocked = blocked.repeat_interleave(QUERIES, 0).repeat_interleave(QUERIES, 1)
        copies = feed(attend(copies, x.flatten(1, 2), blocked=blocked))
    expected = x + copies.unflatten(1, (frames, QUERIES))
    torch.testing.assert_close(module.hear(x, audio), expected, atol=1e-5, rtol=1e-4)
