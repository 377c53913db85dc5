"""Training examples: the same number is the same example, and pictures, masks and sound stay together."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from components.core.records.annotations import AnnotationSet
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.train.examples.annotated_clips import AnnotatedClips
from components.train.examples.batch import TrainingClip, collate
from components.train.params import TrainParams
from components.train.validation import predict_settings
from tests.support.tiny_model import COLOURS, train_settings, write_square_set

BELL, HORN = 1, 0  # classes: categories by their ids, 3 (horn) before 7 (bell)
COLOUR_OF = {BELL: COLOURS[7], HORN: COLOURS[3]}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data")


@pytest.fixture
def annotations(paths: Paths) -> AnnotationSet:
    return write_square_set(paths)


def clips_of(annotations: AnnotationSet, paths: Paths, **changes: object) -> AnnotatedClips:
    params = TrainParams.model_validate(train_settings(**changes))
    return AnnotatedClips(annotations, paths.media, params, where="train.json")


def examples(clips: AnnotatedClips, name: str, count: int = 30) -> list[TrainingClip]:
    return [clip for clip in (clips[i] for i in range(count)) if clip.name.endswith(name)]


def same(one: TrainingClip, other: TrainingClip) -> bool:
    return one.name == other.name and all(
        np.array_equal(getattr(one, field), getattr(other, field))
        for field in ("frames", "sound", "labels", "masks")
    )


def assert_squares_under_masks(clip: TrainingClip) -> None:
    """Pixels well inside a mask have the square's colour."""
    for label, masks in zip(clip.labels.tolist(), clip.masks, strict=True):
        for frame, mask in zip(clip.frames, masks, strict=True):
            inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0
            if inside.any():
                assert np.abs(frame[inside].mean(0) - COLOUR_OF[label]).max() < 25


def test_the_number_decides_the_example(annotations: AnnotationSet, paths: Paths) -> None:
    once, again = (clips_of(annotations, paths, flip=True, crop_px=[32, 40]) for _ in range(2))
    forwards = [once[i] for i in range(9)]
    backwards = [again[i] for i in reversed(range(9))][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    other_seed = clips_of(annotations, paths, flip=True, crop_px=[32, 40], seed=2)
    assert not all(same(clip, other_seed[i]) for i, clip in enumerate(forwards))
    for start in (0, 3, 6):  # each round has every clip once
        assert len({clip.name for clip in forwards[start : start + 3]}) == 3
    assert len({clip.frames.tobytes() for clip in forwards}) > 3
    assert len(once) == 4  # steps x clips per step


def test_disturbed_examples_keep_their_frames_and_masks(annotations: AnnotationSet, paths: Paths) -> None:
    clean = clips_of(annotations, paths, frames_per_clip=2)
    noisy = clips_of(annotations, paths, frames_per_clip=2, disturb={"noise": "white", "snr_db": 0.0})
    assert len({noisy[i].sound.tobytes() for i in range(3)}) == 3
    for i in range(6):
        assert np.array_equal(noisy[i].frames, clean[i].frames)
        assert np.array_equal(noisy[i].masks, clean[i].masks)
        assert not np.array_equal(noisy[i].sound, clean[i].sound) or not clean[i].sound.any()
    dark = clips_of(annotations, paths, frames_per_clip=2, disturb={"light": 0.01})
    assert np.array_equal(dark[0].sound, clean[0].sound)
    assert dark[0].frames.mean() < 0.2 * clean[0].frames.mean()


def test_what_validates_a_training_sees_and_hears_as_it_does() -> None:
    params = TrainParams.model_validate(train_settings(disturb={"blur_px": 2.0}))
    assert predict_settings(params).disturb == params.disturb


def test_classes_go_by_category_id(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths)
    assert {x for clip in examples(clips, "bells") for x in clip.labels.tolist()} == {BELL}
    assert {x for clip in examples(clips, "horn") for x in clip.labels.tolist()} == {HORN}


def test_masks_cover_what_sounds_and_only_while_it_sounds(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths, frames_per_clip=3)
    found = examples(clips, "bells")
    for clip in found:
        assert clip.frames.shape[:3] == (3, 32, 51)
        assert clip.sound.shape == (3, 16_000)
        assert_squares_under_masks(clip)
        loud = np.abs(clip.sound).max(1) > 0.1
        shown = clip.masks.any((0, 2, 3)) if len(clip.masks) else np.zeros(3, bool)
        assert loud.tolist() == shown.tolist()
    assert any(clip.masks.any() for clip in found)
    assert any(not clip.masks[0].any((1, 2)).all() for clip in found if len(clip.masks))


def test_nothing_sounds(annotations: AnnotationSet, paths: Paths) -> None:
    clip = examples(clips_of(annotations, paths), "quiet")[0]
    assert clip.labels.shape == (0,) and clip.labels.dtype == np.int64
    assert clip.masks.shape == (0, 2, 32, 51)
    assert not clip.sound.any()


def test_a_short_clip_repeats_frames(annotations: AnnotationSet, paths: Paths) -> None:
    clip = examples(clips_of(annotations, paths, frames_per_clip=5), "horn")[0]
    assert clip.frames.shape[0] == clip.sound.shape[0] == 5
    assert len({frame.tobytes() for frame in clip.frames}) == 2
    assert_squares_under_masks(clip)


def test_frames_lie_around_a_reference_in_order(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths, frames_per_clip=3, frame_range=1)
    long = next(video for video in annotations.videos if video.length == 6)
    drawn = [clips._choose_frames(long, np.random.default_rng(seed)) for seed in range(40)]
    assert all(frames == sorted(frames) and frames[-1] - frames[0] <= 2 for frames in drawn)
    assert {frame for frames in drawn for frame in frames} == set(range(6))


def test_a_flip_flips_the_masks_too(annotations: AnnotationSet, paths: Paths) -> None:
    straight, flipping = clips_of(annotations, paths), clips_of(annotations, paths, flip=True)
    flipped = 0
    for index in range(20):
        one, other = straight[index], flipping[index]
        assert_squares_under_masks(other)
        if np.array_equal(one.frames, other.frames):
            assert np.array_equal(one.masks, other.masks)
        else:
            flipped += 1
            assert np.array_equal(one.frames, other.frames[:, :, ::-1])
            assert np.array_equal(one.masks, other.masks[..., ::-1])
        assert np.array_equal(one.sound, other.sound)
    assert 4 < flipped < 16


def test_a_crop_is_one_window_for_pictures_and_masks(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths, crop_px=[32, 38], short_sides_px=[32, 48])
    shapes = set()
    for index in range(30):
        clip = clips[index]
        assert clip.frames.shape[:3] == (2, *clip.masks.shape[2:])
        assert min(clip.frames.shape[1:3]) in (32, 48)
        shapes.add(clip.frames.shape)
        assert_squares_under_masks(clip)
    assert len(shapes) > 8


def test_clips_of_different_sizes_share_a_batch(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths)
    wide, narrow = examples(clips, "bells")[0], examples(clips, "horn")[0]
    batch = collate([wide, narrow])
    assert batch.names == [wide.name, narrow.name]
    assert batch.frames.shape == (2, 2, 3, 32, 51)
    for target, clip in zip(batch.targets, (wide, narrow), strict=True):
        assert target.masks.shape[1:] == (2, 32, 64)
        assert np.array_equal(target.masks[..., : clip.masks.shape[3]], clip.masks)
        assert not target.masks[..., clip.masks.shape[3] :].any()
    picture = batch.frames[1].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(picture[:, :, : narrow.frames.shape[2]], narrow.frames)
    assert not picture[:, :, narrow.frames.shape[2] :].any()


def test_another_clip_comes_with_its_sound(annotations: AnnotationSet, paths: Paths) -> None:
    alone, together = (clips_of(annotations, paths, pasted_share=share) for share in (0.0, 1.0))
    gained = {}
    for index in range(30):
        one, other = alone[index], together[index]
        assert same(other, together[index])
        assert_squares_under_masks(other)
        if " with objects of " in other.name:
            assert other.name.startswith(one.name)
            gained[other.name] = np.abs(other.sound).max() > np.abs(one.sound).max()
        else:  # the clip itself was drawn as the other one
            assert same(one, other)
    assert any(name == "train_quiet with objects of train_horn" for name in gained)
    assert not any(name.endswith("train_quiet") for name in gained)  # it has nothing to paste
    assert any(gained.values())


def test_features_cannot_be_added_up() -> None:
    settings = train_settings(pasted_share=0.5)
    with pytest.raises(ValidationError, match=r"pasted_share needs sound as samples.*audio: vggish or none"):
        TrainParams.model_validate({**settings, "model": {**settings["model"], "audio": "features"}})


def test_no_mask_anywhere_is_an_error(paths: Paths) -> None:
    silent = write_square_set(paths, silent=True)
    with pytest.raises(
        AvisError, match=r"no instance to learn: 3 clips, 3 tracks, not one mask \(train.json\)"
    ):
        clips_of(silent, paths)


def test_missing_and_foreign_media_are_named(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths, frames_per_clip=6)
    index = next(i for i in range(3) if clips[i].name == "train_bells")
    frame = paths.media / "frames/train_bells/00003.jpg"
    picture = cv2.imread(str(frame))
    cv2.imwrite(str(frame), picture[:20])
    with pytest.raises(AvisError, match=r"the frame is 64x20, its annotations say 64x40 \(.*00003.jpg\)"):
        clips[index]
    frame.unlink()
    with pytest.raises(AvisError, match=r"missing or is no image \(.*00003.jpg\)"):
        clips[index]
    cv2.imwrite(str(frame), picture)
    (paths.media / "audio/train_bells.wav").write_bytes(b"RIFF")
    with pytest.raises(AvisError, match=r"the sound cannot be read.*train_bells.wav"):
        clips[index]
    (paths.media / "audio/train_bells.wav").unlink()
    with pytest.raises(AvisError, match=r"the sound cannot be read.*train_bells.wav"):
        clips[index]


def test_precomputed_features_go_with_their_frames(annotations: AnnotationSet, paths: Paths) -> None:
    settings = train_settings()
    model = {**settings["model"], "audio": "features"}
    clips = clips_of(annotations, paths, model=model, frames_per_clip=2)
    index = next(i for i in range(3) if clips.videos and "horn" in _name(clips, i))
    with pytest.raises(AvisError, match=r"no precomputed audio features.*train.model.audio to vggish"):
        clips[index]
    folder = paths.media / "features"
    folder.mkdir()
    np.save(folder / "train_horn.npy", np.full((1, 128), 3.0))  # the last second is missing
    assert clips[index].sound.tolist() == [[3.0] * 128] * 2
    np.save(folder / "train_horn.npy", np.zeros((2, 64)))
    with pytest.raises(AvisError, match=r"shape \(2, 64\), not \[frames, 128\]"):
        clips[index]


def _name(clips: AnnotatedClips, index: int) -> str:
    order = np.random.default_rng([clips.params.seed, 0]).permutation(len(clips.videos))
    return clips.videos[int(order[index])].name


def test_a_long_side_is_capped(annotations: AnnotationSet, paths: Paths) -> None:
    """Clips are 64x40 and 56x48: only the wider one is cut short, in its proportions."""
    clips = clips_of(annotations, paths, short_sides_px=[64], max_long_side_px=80)
    assert examples(clips, "bells")[0].frames.shape[1:3] == (50, 80)
    assert examples(clips, "horn")[0].frames.shape[1:3] == (64, 75)
    for name in ("bells", "horn"):
        for clip in examples(clips, name, count=6):
            assert clip.masks.shape[2:] == clip.frames.shape[1:3]
            assert_squares_under_masks(clip)


def test_what_the_crop_cuts_away_is_not_there_to_be_found(annotations: AnnotationSet, paths: Paths) -> None:
    clips = clips_of(annotations, paths, crop_px=[32, 32], steps=30)
    found = [clip for index in range(60) if (clip := clips[index]).name != "train_quiet"]
    for clip in found:
        assert len(clip.labels) == len(clip.masks)
        assert clip.masks.any((1, 2, 3)).all()
    assert any(len(clip.labels) == 0 and np.abs(clip.sound).max() > 0.1 for clip in found)
