"""Finding the sounding objects of a clip: both ways to its masks, threshold, presence, bad clips."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor
from torch.nn import functional as F

from models.inference import masks, offline, video_module_stream
from models.inference.masks import MaskMaker
from models.inference.moments import ClipError, Moment
from models.inference.offline import FoundTrack, find_sounding
from models.networks.avism.avism import Avism
from tests.support.tiny_model import tiny_model

FRAMES = 5
HEIGHT, WIDTH = 40, 60  # not divisible by 32
Mask = NDArray[np.bool_]


@pytest.fixture
def model() -> Avism:
    network: Avism = tiny_model().eval()
    hear_all(network, True)
    return network


def hear_all(model: Avism, sounds: bool) -> None:
    """Make the presence head say the same in every frame."""
    assert model.video_module.presence is not None
    last = model.video_module.presence.decide.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 1.0 if sounds else -1.0)


def keep(monkeypatch: pytest.MonkeyPatch, *, frames: int, size: int) -> None:
    """How many frames, and bytes, of mask features are kept; a second pass comes when both are exceeded."""
    monkeypatch.setattr(offline, "KEPT_FRAMES", frames)
    monkeypatch.setattr(offline, "KEPT_BYTES", size)


class RandomClip:
    """Moments of noise, and how often they were asked for."""

    def __init__(self, frames: int = FRAMES, sound: str = "samples") -> None:
        random = np.random.default_rng(0)
        self.frames = [random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(frames)]
        length = {"samples": 16_000, "features": 128, "none": 1}[sound]
        heard = random.normal(0, 0.1, (frames, length)).astype(np.float32)
        self.sounds = [None] * frames if sound == "none" else list(heard)
        self.calls = 0

    def __call__(self) -> Iterator[Moment]:
        self.calls += 1
        yield from zip(self.frames, self.sounds, strict=True)


def find(
    model: Avism,
    clip: Callable[[], Iterator[Moment]],
    *,
    threshold: float = 0.0,
    most: int = 10,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> list[FoundTrack[Mask]]:
    return find_sounding(model, clip, size=size, encode=np.copy, threshold=threshold, most=most)


def same(one: list[FoundTrack[Mask]], other: list[FoundTrack[Mask]]) -> None:
    assert [track.label for track in one] == [track.label for track in other]
    for a, b in zip(one, other, strict=True):
        assert a.score == b.score
        np.testing.assert_array_equal(np.stack(a.masks), np.stack(b.masks))


def whole_clip(model: Avism, clip: RandomClip) -> tuple[Tensor, Tensor, Tensor]:
    """All frames at once: class probabilities [V, K + 1], mask logits [V, T, h, w], presence [V, T]."""
    heard = [sound for sound in clip.sounds if sound is not None]
    with torch.no_grad():
        pictures = torch.from_numpy(np.stack(clip.frames)).permute(0, 3, 1, 2)[None]
        output = model(pictures, torch.from_numpy(np.stack(heard))[None] if heard else None)
    features = output.video_mask_features[0].half().float()
    masks = torch.einsum("vc,tchw->vthw", output.video.mask_embeds[-1][0], features)
    return output.video.logits[-1][0].softmax(-1), masks, output.video.presence[-1][0]


@pytest.mark.parametrize("frames", [1, 2, 7, 18, 19])
@pytest.mark.parametrize("budget", [0, 1 << 40])
def test_it_finds_what_the_whole_clip_at_once_gives(
    frames: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = RandomClip(frames)
    model: Avism = tiny_model().eval()
    logits_of_presence = whole_clip(model, clip)[2]
    bias = model.video_module.presence.decide.layers[-1].bias.data  # type: ignore[union-attr]
    bias -= logits_of_presence.median() + 1e-4  # it says yes and no
    keep(monkeypatch, frames=0, size=budget)
    monkeypatch.setattr(video_module_stream, "MEMORY_BYTES", budget)
    found = find(model, clip, most=1000, size=(2 * HEIGHT, 2 * WIDTH))
    assert clip.calls == (2 if budget == 0 else 1)
    assert len(found) == 4 * 2
    probability, logits, presence = whole_clip(model, clip)
    presence = presence > 0
    assert presence.any() and not presence.all()
    planes = F.interpolate(logits, size=(64, 64), mode="bilinear")[..., :HEIGHT, :WIDTH]
    large = F.interpolate(planes, size=(2 * HEIGHT, 2 * WIDTH), mode="bilinear")
    expected = []
    for query in range(4):
        inside = planes[query][presence[query]]
        inside = inside.sigmoid()[inside > 0]
        foreground = float(inside.mean()) if len(inside) else 0.0
        masks = (large[query] > 0) & presence[query][:, None, None]
        expected += [(float(probability[query, k]) * foreground, k, masks.numpy()) for k in range(2)]
    for track in found:
        near = [masks for score, k, masks in expected if k == track.label and abs(score - track.score) < 1e-5]
        assert any((np.stack(track.masks) != masks).mean() < 1e-3 for masks in near)


@pytest.mark.slow
def test_kept_features_and_a_second_pass_give_the_same(model: Avism, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = RandomClip(40)
    kept = find(model, clip)
    assert clip.calls == 1
    frame = 16 * 16 * 16 * 2  # bytes of a frame's features
    for frames, size, calls in ((0, 0, 2), (0, 39 * frame, 2), (0, 40 * frame, 1), (39, 0, 2), (40, 0, 1)):
        keep(monkeypatch, frames=frames, size=size)
        clip.calls = 0
        same(find(model, clip), kept)
        assert clip.calls == calls
    clip.calls = 0
    assert find(model, clip, threshold=1.0) == []
    assert clip.calls == 1  # nothing to make masks of


def test_chunks_change_nothing(model: Avism, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = RandomClip()
    whole = find(model, clip)
    for chunk in (1, 2, FRAMES):
        monkeypatch.setattr(offline, "CHUNK_FRAMES", chunk)
        pieces = find(model, clip)
        assert [track.label for track in pieces] == [track.label for track in whole]
        np.testing.assert_allclose([x.score for x in pieces], [x.score for x in whole], atol=2e-3)
        for one, other in zip(pieces, whole, strict=True):
            assert np.mean(np.stack(one.masks) == np.stack(other.masks)) > 0.98


def test_tracks_come_best_first_and_below_the_threshold_none(model: Avism) -> None:
    clip = RandomClip()
    every = find(model, clip, most=6)
    scores = [track.score for track in every]
    assert len(every) == 6
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    threshold = scores[2]
    kept = find(model, clip, threshold=threshold, most=6)
    assert [track.score for track in kept] == pytest.approx([s for s in scores if s >= threshold])
    assert find(model, clip, threshold=1.0) == []
    likeliest = find_sounding(
        model, clip, size=(HEIGHT, WIDTH), encode=np.copy, threshold=1.0, most=6, least=2
    )
    assert len(likeliest) == 2
    for track in likeliest:
        assert min(abs(track.score - score) for score in scores) < 1e-6
    # no more than there are pairs of query and category
    assert len(find(model, clip, most=1000)) == 4 * 2


def test_an_object_that_is_never_heard_has_no_mask(model: Avism) -> None:
    clip = RandomClip()
    assert any(np.any(track.masks) for track in find(model, clip))
    hear_all(model, False)
    silent = find(model, clip)
    assert not any(np.any(track.masks) for track in silent)
    assert all(track.score == 0 for track in silent)
    assert find(model, clip, threshold=0.01) == []


def test_an_object_is_silent_where_its_category_is_not_heard(model: Avism) -> None:
    clip = RandomClip()
    hear_all(model, True)
    with torch.inference_mode():
        audio = model.encode_audio(torch.from_numpy(np.stack(clip.sounds)))
        model.audio_tags.bias -= model.audio_tags(audio).median(0).values + 1e-3
        heard = model.audio_tags(audio).sigmoid().numpy()  # [T, K]
    middle = 0.5
    assert (heard > middle).any(0).all() and ((heard > middle).sum(1) == 1).any()  # one of the two, in some

    def tracks(hearing: float) -> list[FoundTrack[Mask]]:
        return find_sounding(
            model,
            clip,
            size=(HEIGHT, WIDTH),
            encode=np.copy,
            threshold=0.0,
            most=8,
            hearing_threshold=hearing,
        )

    every = {(track.label, track.evidence.probability): track for track in tracks(0.0)}
    silenced = 0
    for track in tracks(middle):
        before = every[track.label, track.evidence.probability]
        np.testing.assert_allclose(track.evidence.heard, logit(heard[:, track.label]), atol=1e-4)
        for mask, was, sure in zip(track.masks, before.masks, heard[:, track.label], strict=True):
            np.testing.assert_array_equal(mask, was if sure > middle else np.zeros_like(was))
            silenced += bool(np.any(was) and not np.any(mask))
        audible = heard[:, track.label] > middle  # its score is of the frames that are left
        pixels = before.evidence.pixels[audible].sum()
        mean = before.evidence.foreground[audible].sum() / pixels if pixels else 0.0
        assert track.score == pytest.approx(track.evidence.probability * mean)
    assert silenced > 0


class Plane:
    """A predictor with one query that knows its mask features by heart and sounds in the first frame only."""

    def __init__(self, plane: Tensor) -> None:
        self.plane = plane
        self.frames = 0
        self.again = 0

    def add(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        self.frames += len(frames)
        return self.plane.expand(len(frames), -1, -1, -1)

    def class_probabilities(self) -> Tensor:
        return torch.tensor([[0.9]])

    def presence(self, queries: Tensor) -> Tensor:
        return torch.where(torch.arange(self.frames)[None] == 0, torch.inf, -torch.inf)

    def heard(self) -> None:
        return None

    def mask_features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        self.again += len(frames)
        return self.plane.expand(len(frames), -1, -1, -1)

    def mask_logits(self, features: Tensor, queries: Tensor, frame: int) -> Tensor:
        return features

    def close(self) -> None:
        pass


def test_masks_are_cut_to_the_frame_before_they_are_resized(
    model: Avism, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of 40x60 is padded to 64x64: what lies in the padding is not stretched into the picture."""
    plane = torch.full((1, 16, 16), -1.0)
    plane[:, :5, :7] = 1.0  # the left upper 20x28 pixels of the padded frame
    monkeypatch.setattr(offline, "predictor_for", lambda model, work_folder: Plane(plane))
    (track,) = find(model, RandomClip(2), size=(80, 120))  # twice the frame's size
    mask, silence = track.masks
    assert mask[:38, :54].all() and not mask[42:].any() and not mask[:, 58:].any()
    assert silence.shape == (80, 120) and not silence.any()
    logits = F.interpolate(plane[None], size=(64, 64), mode="bilinear")[0, 0, :40, :60]
    assert track.score == pytest.approx(0.9 * float(logits[logits > 0].sigmoid().mean()))


def test_the_second_pass_leaves_silent_chunks_out(model: Avism, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane(torch.ones(1, 16, 16))
    monkeypatch.setattr(offline, "predictor_for", lambda model, work_folder: plane)
    (kept,) = find(model, RandomClip(40))
    assert (plane.frames, plane.again) == (40, 0)
    keep(monkeypatch, frames=0, size=0)
    plane.frames = 0
    (made,) = find(model, RandomClip(40))
    assert (plane.frames, plane.again) == (40, offline.CHUNK_FRAMES)
    same([made], [kept])
    assert made.masks[0].all() and not np.any(made.masks[1:]) and len(made.masks) == 40


def test_no_frames_no_tracks(model: Avism) -> None:
    assert find(model, RandomClip(0)) == []


def test_features_and_deafness_work_as_well() -> None:
    deaf = tiny_model(audio="none", presence_head=False).eval()
    assert len(find(deaf, RandomClip(sound="none"))) == 8
    given = tiny_model(audio="features", presence_head=False).eval()
    assert len(find(given, RandomClip(sound="features"))) == 8


def test_bf16_is_near_and_its_masks_too(model: Avism, monkeypatch: pytest.MonkeyPatch) -> None:
    def rough() -> list[FoundTrack[Mask]]:
        return find_sounding(
            model,
            RandomClip(20),
            size=(HEIGHT, WIDTH),
            encode=np.copy,
            threshold=0,
            most=1000,
            precision=torch.bfloat16,
        )

    kept = rough()
    keep(monkeypatch, frames=0, size=0)
    same(rough(), kept)
    exact = sorted(track.score for track in find(model, RandomClip(20), most=1000))
    scores = sorted(track.score for track in kept)
    assert scores != exact
    np.testing.assert_allclose(scores, exact, atol=0.02)


def broken(change: Callable[[RandomClip], None]) -> RandomClip:
    clip = RandomClip(25)
    change(clip)
    return clip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda clip: clip.frames.__setitem__(20, np.zeros((32, 60, 3), np.uint8)),
            "frame 20 is 60x32 and the ones before it are 60x40: all frames of a clip must have one size",
        ),
        (lambda clip: clip.frames.__setitem__(3, clip.frames[3] / 255), "frame 3 is float64"),
        (lambda clip: clip.sounds[4].__setitem__(9, np.nan), "sound of frame 4 holds values that are no"),
        (lambda clip: clip.sounds[0].__setitem__(9, np.inf), "sound of frame 0 holds values that are no"),
        (
            lambda clip: clip.sounds.__setitem__(19, None),
            r"the sound of frame 19 is none, that of .* \[16000\]",
        ),
        (lambda clip: clip.sounds.__setitem__(19, np.zeros(8_000, np.float32)), r"\[8000\], that of"),
    ],
)
def test_moments_that_do_not_fit_are_named(
    model: Avism, change: Callable[[RandomClip], None], message: str
) -> None:
    with pytest.raises(ClipError, match=message):
        find(model, broken(change))


def test_a_clip_that_changes_between_passes_is_refused(model: Avism, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, frames=0, size=0)
    for left in (19, 21, 40, 0):
        lengths = iter([20, left])
        with pytest.raises(ClipError, match="the clip had 20 frames at first and has another number"):
            find(model, lambda lengths=lengths: RandomClip(next(lengths))())


def test_a_network_that_makes_no_numbers_is_refused(model: Avism) -> None:
    model.video_module.class_head.bias.data[0] = torch.nan
    with pytest.raises(ClipError, match="the network's output is not finite"):
        find(model, RandomClip())


def test_the_temporary_file_goes_when_the_clip_breaks_off(
    model: Avism, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", tempfile.NamedTemporaryFile)  # one that can be seen
    monkeypatch.setattr(video_module_stream, "MEMORY_BYTES", 1)
    seen: list[int] = []

    def clip() -> Iterator[Moment]:
        yield from RandomClip(30)()
        seen.append(len(list(tmp_path.iterdir())))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        find(model, clip)
    assert seen == [1]
    assert caught.tb  # which still knows the predictor: it was closed, not only forgotten
    assert not list(tmp_path.iterdir())


def test_masks_are_made_larger_a_few_at_a_time_and_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features, size = torch.randn(1, 6, 10, 15, generator=torch.Generator().manual_seed(0)), (80, 120)

    def masks_of() -> tuple[NDArray[np.bool_], list[list[float]], int]:
        largest, plain = 0, F.interpolate

        def interpolate(x: Tensor, **settings: Any) -> Tensor:
            nonlocal largest
            made: Tensor = plain(x, **settings)
            largest = max(largest, made.numel() if settings["size"] == size else 0)
            return made

        maker = MaskMaker(
            lambda planes, frame: planes,  # a query for each channel
            np.ones((6, 1), bool),
            shape=(HEIGHT, WIDTH),
            size=size,
            encode=np.copy,
        )
        with monkeypatch.context() as patched:
            patched.setattr(F, "interpolate", interpolate)
            maker.add(features)
        return np.array(maker.masks), maker.foreground, largest

    whole, foreground, at_once = masks_of()
    monkeypatch.setattr(masks, "BLOCK_PIXELS", 2 * 80 * 120)
    pieces, same_foreground, piece = masks_of()
    assert (at_once, piece) == (6 * 80 * 120, 2 * 80 * 120)
    assert whole.any() and (whole == pieces).all() and foreground == same_foreground
