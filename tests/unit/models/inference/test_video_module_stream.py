"""The streamed video module against the module itself, which sees the whole clip at once."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.inference import video_module_stream
from models.inference.video_module_stream import FrameStore, RunningSoftmax, VideoStream, WindowedLayer
from models.networks.avism.video_module import VideoModule

QUERIES, VIDEO_QUERIES, CHANNELS = 3, 4, 16


def module_of(window: int, *, layers: int = 3, presence: bool = True) -> VideoModule:
    torch.manual_seed(window)
    module = VideoModule(
        channels=CHANNELS,
        heads=2,
        frame_queries=QUERIES,
        video_queries=VIDEO_QUERIES,
        encoder_layers=layers,
        decoder_layers=2,
        hidden=32,
        window=window,
        categories=2,
        audio_channels=128,
        presence_head=presence,
    )
    for name, value in module.named_parameters():  # biases and norms start as zeros and ones: hide nothing
        if value.ndim == 1:
            torch.nn.init.normal_(value, 1.0 if "norm.weight" in name else 0.0, 0.3)
    return module.eval()


def random_clip(frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (
        torch.randn(frames, QUERIES, CHANNELS, generator=random) * 2,
        torch.randn(frames, 128, generator=random),
    )


def streamed(
    module: VideoModule, queries: Tensor, audio: Tensor | None, piece: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    with VideoStream(module) as stream:
        for start in range(0, len(queries), piece):
            end = start + piece
            stream.push(queries[start:end], None if audio is None else audio[start:end])
        output = stream.finish()
        return output.logits, output.mask_embeds, stream.presence(torch.arange(VIDEO_QUERIES))


@pytest.mark.slow
@given(
    frames=st.integers(1, 40),
    window=st.integers(1, 8),
    piece=st.integers(1, 45),
    block=st.integers(1, 50),
    layers=st.integers(1, 5),
    deaf=st.booleans(),
    in_file=st.booleans(),
)
@settings(max_examples=80, deadline=None)
@torch.no_grad()
def test_streaming_changes_nothing(
    frames: int, window: int, piece: int, block: int, layers: int, deaf: bool, in_file: bool
) -> None:
    module = module_of(window, layers=layers)
    queries, audio = random_clip(frames)
    heard = None if deaf else audio
    whole = module(queries[None], None if heard is None else heard[None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_module_stream, "BLOCK_TOKENS", block)
        patch.setattr(video_module_stream, "MEMORY_BYTES", 1 if in_file else 1 << 20)
        logits, embeds, presence = streamed(module, queries, heard, piece)
    assert presence is not None
    torch.testing.assert_close(logits, whole.logits[-1][0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(embeds, whole.mask_embeds[-1][0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(presence, whole.presence[-1][0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_bf16_is_near() -> None:
    module = module_of(4)
    queries, audio = random_clip(30)
    logits, _, _ = streamed(module, queries, audio, 18)
    with torch.autocast("cpu", torch.bfloat16):
        rough, embeds, presence = streamed(module, queries, audio, 18)
    assert presence is not None
    assert {rough.dtype, embeds.dtype, presence.dtype} == {torch.float32}
    assert 0 < float((rough - logits).abs().max()) < 0.1


def test_a_softmax_over_blocks_is_a_softmax() -> None:
    """Also where the highest logits come late, early, or are too large for exp()."""
    random = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, count, 4, generator=random) for count in (3, 50, 50))
    for scale in (torch.linspace(0, 300, 50), torch.linspace(300, 0, 50), torch.ones(50)):
        keys = key * scale[:, None]
        softmax = RunningSoftmax()
        for start in range(0, 50, 7):
            softmax.add(query, keys[:, start : start + 7], value[:, start : start + 7])
        expected = (query @ keys.transpose(1, 2)).softmax(-1) @ value
        torch.testing.assert_close(softmax.result(), expected, atol=1e-5, rtol=1e-4)


def test_a_layer_holds_less_than_a_window() -> None:
    seen: list[int] = []

    def note(x: Tensor) -> Tensor:
        seen.extend([x.shape[1]] * x.shape[0])
        return x + 1

    layer = WindowedLayer(note, 6, shifted=True)
    given_in = given_out = 0
    for count in (1, 1, 5, 18, 2, 3):
        given_out += len(layer.push(torch.zeros(count, 2, 1), last=False))
        given_in += count
        assert 0 <= given_in - given_out < 6
        assert layer._waiting is not None and layer._waiting.untyped_storage().nbytes() <= 4 * 2 * 6
    given_out += len(layer.push(torch.zeros(0, 2, 1), last=True))
    assert given_out == given_in == 30
    assert seen == [3, 6, 6, 6, 6, 3]


def test_long_clips_are_kept_in_a_file_that_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", tempfile.NamedTemporaryFile)  # one that can be seen
    monkeypatch.setattr(video_module_stream, "MEMORY_BYTES", 1000)
    module = module_of(3)
    queries, audio = random_clip(12)
    with VideoStream(module) as stream:
        stream.push(queries[:3], audio[:3])
        assert not list(tmp_path.iterdir())
        stream.push(queries[3:], audio[3:])
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), VideoStream(module) as stream:
        stream.push(queries, audio)
        assert len(list(tmp_path.iterdir())) == 1
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_stored_frames_come_back() -> None:
    store = FrameStore()
    x = torch.randn(7, 2, 3)
    for piece in (x[:2], x[2:2], x[2:]):
        store.append(piece)
    for frames in (1, 3, 7, 100):
        blocks = list(store.blocks(frames))
        assert max(len(block) for block in blocks) == min(frames, 7)
        torch.testing.assert_close(torch.cat(blocks), x, rtol=0, atol=0)
    store.close()


@torch.no_grad()
def test_misuse_is_refused() -> None:
    module = module_of(3, presence=False)
    queries, audio = random_clip(4)
    with VideoStream(module) as stream:
        with pytest.raises(ValueError, match="at least one frame"):
            stream.finish()
        stream.push(queries, audio)
        with pytest.raises(ValueError, match="some frames of the clip have sound"):
            stream.push(queries, None)
        stream.finish()
        assert stream.presence(torch.arange(VIDEO_QUERIES)) is None
    with pytest.raises(ValueError, match="training mode"):
        VideoStream(module.train())
