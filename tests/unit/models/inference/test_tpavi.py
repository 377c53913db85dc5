"""A TPAVI model on videos: short clips, linked; what falls silent, what is kept, what a frame costs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.inference import offline
from models.inference.moments import ClipError, Moment
from models.inference.offline import FoundTrack, find_sounding
from models.inference.tpavi import TpaviPredictor, TrackLinks
from models.networks.tpavi.clip_decoder import ClipOutput
from models.networks.tpavi.tpavi import Tpavi
from tests.support.tiny_tpavi import tiny_tpavi

HEIGHT, WIDTH = 40, 60  # not divisible by 32


class RandomVideo:
    def __init__(self, frames: int, width: int | None = 16_000) -> None:
        random = np.random.default_rng(0)
        self.frames = [random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(frames)]
        self.sounds: list[Any] = [None] * frames
        if width is not None:
            self.sounds = list(random.normal(0, 0.1, (frames, width)).astype(np.float32))
        self.calls = 0

    def __call__(self) -> Iterator[Moment]:
        self.calls += 1
        yield from zip(self.frames, self.sounds, strict=True)


def find(model: Tpavi, video: RandomVideo, **options: Any) -> list[FoundTrack[Any]]:
    options = {"threshold": 0.0, "most": 4, **options}
    return find_sounding(model, video, size=(HEIGHT, WIDTH), encode=lambda mask: mask, **options)


def speak(model: Tpavi, bias: float = 3.0) -> Tpavi:
    """Every query is more likely an object than not (or less, if the bias is negative)."""
    torch.nn.init.constant_(model.clip_decoder.class_head.bias, 0.0)
    torch.nn.init.constant_(model.clip_decoder.class_head.bias[-1:], -bias)
    return model.eval()


@pytest.mark.parametrize("frames", [1, 2, 5, 23])
@pytest.mark.parametrize("clip_frames", [1, 2, 3, 4, 20])
def test_videos_of_all_lengths(frames: int, clip_frames: int) -> None:
    model = speak(tiny_tpavi(clip_frames=clip_frames))
    seen: list[tuple[int, ...]] = []
    model.clip_decoder.register_forward_pre_hook(
        lambda _module, given: seen.append(tuple(given[0][0].shape[:2]))
    )
    found = find(model, RandomVideo(frames))
    assert len(found) == 4
    assert all(len(track.masks) == frames for track in found)
    assert all(mask.shape == (HEIGHT, WIDTH) for track in found for mask in track.masks)
    scores = [track.score for track in found]
    assert scores == sorted(scores, reverse=True) and scores[-1] >= 0 and scores[0] < 1
    assert sum(clips * length for clips, length in seen) == frames  # every frame is seen once
    assert max(length for _, length in seen) == min(clip_frames, frames)
    assert max(clips * length for clips, length in seen) <= max(offline.CHUNK_FRAMES, clip_frames)
    whole, rest = divmod(frames, clip_frames)  # only the video's last clip may be shorter
    lengths = [length for clips, length in seen for _ in range(clips)]
    assert lengths == [clip_frames] * whole + [rest] * (rest > 0)


def test_kept_features_and_a_second_pass_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, video = speak(tiny_tpavi()), RandomVideo(7)
    kept = find(model, video)
    assert video.calls == 1
    monkeypatch.setattr(offline, "KEPT_FRAMES", 0)
    monkeypatch.setattr(offline, "KEPT_BYTES", 0)
    again = find(model, video)
    assert video.calls == 3
    for one, other in zip(kept, again, strict=True):
        assert (one.label, one.score) == (other.label, pytest.approx(other.score, abs=1e-6))
        assert np.mean(np.stack(one.masks) == np.stack(other.masks)) > 0.999


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = speak(tiny_tpavi())
    whole = find(model, RandomVideo(8))
    monkeypatch.setattr(offline, "CHUNK_FRAMES", 2)
    pieces = find(model, RandomVideo(8))
    for one, other in zip(whole, pieces, strict=True):
        assert one.label == other.label
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert np.mean(np.stack(one.masks) == np.stack(other.masks)) > 0.99


def test_deaf_and_with_features() -> None:
    assert len(find(speak(tiny_tpavi(audio="none")), RandomVideo(3, None))) == 4
    assert len(find(speak(tiny_tpavi(audio="features")), RandomVideo(3, 128))) == 4


def test_weights_that_are_no_numbers_are_said() -> None:
    model = speak(tiny_tpavi())
    torch.nn.init.constant_(model.clip_decoder.norm.weight, float("nan"))
    with pytest.raises(ClipError, match="not finite"):
        find(model, RandomVideo(5))


class Scripted(torch.nn.Module):
    """In place of a clip decoder: queries, class probabilities and mask embeddings clip by clip."""

    def __init__(self, queries: Tensor, probabilities: Tensor, embeds: Tensor) -> None:
        super().__init__()
        self.steps = list(zip(queries, probabilities, embeds, strict=True))
        self.next = 0

    def forward(self, looks: list[Tensor], *_: Any, **__: Any) -> ClipOutput:
        here = self.steps[self.next : self.next + len(looks[0])]
        self.next += len(here)
        queries, probabilities, embeds = (torch.stack(x) for x in zip(*here, strict=True))
        return ClipOutput([queries], [probabilities.log()], [embeds])


def scripted(order: list[list[int]], probability: list[list[list[float]]]) -> tuple[Tpavi, Tensor]:
    """Three objects with embeddings of their own; clip c has them in order[c] with these probabilities."""
    model = tiny_tpavi().eval()
    torch.manual_seed(5)
    identity = F.one_hot(torch.arange(3), 16).float() * 3
    embeds = torch.randn(3, 16)
    queries = torch.stack([identity[o] + 0.1 * torch.randn(3, 16) for o in order])
    model.clip_decoder = Scripted(
        queries,
        torch.stack([torch.tensor(p)[o] for o, p in zip(order, probability, strict=True)]),
        torch.stack([embeds[o] for o in order]),
    )
    return model, embeds


LOUD, OTHER, QUIET = [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9]


def watch(model: Tpavi, frames: int, chunk: int = 4) -> tuple[TpaviPredictor, Tensor]:
    predictor = TpaviPredictor(model)
    pictures = torch.randint(0, 256, (frames, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features = [predictor.add(part, torch.zeros(len(part), 16_000)) for part in pictures.split(chunk)]
    return predictor, torch.cat(features)


def test_queries_are_linked_to_tracks_whatever_their_order() -> None:
    order = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1]]
    model, embeds = scripted(order, [[LOUD, OTHER, QUIET]] * 4)
    predictor, features = watch(model, 7)  # the last clip has one frame
    probability = predictor.class_probabilities()
    torch.testing.assert_close(probability, torch.tensor([LOUD, OTHER, QUIET])[:, :2])
    assert (predictor.presence(torch.arange(3)) > 0).tolist() == [[True] * 7, [True] * 7, [False] * 7]
    for frame in range(7):
        logits = predictor.mask_logits(features[frame], torch.tensor([1, 0]), frame)
        wanted = torch.einsum("nc,chw->nhw", embeds[[1, 0]], features[frame])
        torch.testing.assert_close(logits, wanted, atol=0.02, rtol=0.01)  # kept in half precision
    assert predictor.mask_logits(features[0], torch.tensor([2]), 0).eq(0).all()


def test_a_track_falls_silent_clip_by_clip_and_its_class_is_that_of_its_sounding() -> None:
    steps = [[LOUD, OTHER, QUIET], [QUIET, OTHER, QUIET], [LOUD, [0.3, 0.6, 0.1], QUIET]]
    model, _ = scripted([[0, 1, 2]] * 3, steps)
    predictor, _ = watch(model, 5)
    assert (predictor.presence(torch.tensor([0, 1])) > 0).tolist() == [
        [True, True, False, False, True],
        [True] * 5,
    ]
    # frames count, not clips: the last one is shorter
    wanted = torch.tensor([LOUD, [0.1 * 0.8 + 0.3 * 0.2, 0.8 * 0.8 + 0.6 * 0.2, 0.1], QUIET])[:, :2]
    torch.testing.assert_close(predictor.class_probabilities(), wanted)
    assert [len(kept) for kept in predictor._embeds] == [2, 1, 2]  # nothing is kept of silent tracks


def test_a_track_that_was_silent_for_long_is_found_again() -> None:
    """While it is silent its query wanders off, and one that stands for nothing comes to look as it did."""
    links = TrackLinks()
    a, b, c, d = torch.eye(4)
    assert links.link(torch.stack((a, b, c)), torch.tensor([True, True, False])).tolist() == [0, 1, 2]
    for share in torch.linspace(0.2, 1, 5):
        wandering, nothing = (1 - share) * a + share * d, (1 - share) * c + share * (0.6 * c + 0.8 * a)
        links.link(torch.stack((wandering, b, nothing)), torch.tensor([False, True, False]))
    # the queries come in another order, and what was track 0 sounds again as it did
    order = links.link(torch.stack((d, a, b)), torch.tensor([False, True, True]))
    assert order.tolist() == [1, 2, 0]


def test_what_is_kept_does_not_grow_with_silence() -> None:
    model = speak(tiny_tpavi(), bias=-9.0)
    predictor, _ = watch(model, 36, chunk=18)
    assert sum(kept.numel() for kept in predictor._embeds) == 0
    assert not (predictor.presence(torch.arange(5)) > 0).any()
    assert find(model, RandomVideo(4), threshold=0.01) == []
