"""Clips as they are, or disturbed: the files stay, the same clip and seed give the same."""

import wave
from pathlib import Path

import numpy as np
import pytest

from components.core.clips.reader import read_features, read_frame, read_seconds, read_sound
from components.core.disturbance.clips import Clips
from components.core.disturbance.params import DisturbParams
from components.core.records.annotations import AnnotationSet
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from tests.support.tiny_model import write_square_set


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data")


@pytest.fixture
def annotations(paths: Paths) -> AnnotationSet:
    return write_square_set(paths)


def sound_of(clips: Clips, video) -> np.ndarray:
    return np.concatenate(list(clips.seconds(video, range(video.length))))


@pytest.mark.parametrize("disturb", [None, DisturbParams(), DisturbParams(seed=4)])
def test_what_is_not_disturbed_is_as_extract_wrote_it(
    annotations: AnnotationSet, paths: Paths, disturb: DisturbParams | None
) -> None:
    clips = Clips(paths.media, annotations.videos, disturb)
    for video in annotations.videos:
        expected = np.concatenate(list(read_seconds(paths.media, video, range(video.length))))
        assert np.array_equal(sound_of(clips, video), expected)
        assert np.array_equal(clips.frame(video, 1), read_frame(paths.media, video, 1))


def test_the_clip_and_the_seed_decide_and_not_the_order_of_reading(
    annotations: AnnotationSet, paths: Paths
) -> None:
    disturb = DisturbParams(noise="babble", snr_db=0, light=0.5, dropped_share=0.5)
    first, second = annotations.videos[:2]
    once, again = (
        Clips(paths.media, annotations.videos, disturb),
        Clips(paths.media, annotations.videos[::-1], disturb),
    )
    there = [(sound_of(once, video), once.frame(video, 1)) for video in (first, second)]
    back = [(sound_of(again, video), again.frame(video, 1)) for video in (second, first)][::-1]
    for (sound, frame), (other_sound, other_frame) in zip(there, back, strict=True):
        assert np.array_equal(sound, other_sound) and np.array_equal(frame, other_frame)
    dark = Clips(paths.media, annotations.videos, disturb.model_copy(update={"seed": 1}))
    assert not np.array_equal(dark.frame(first, 1), there[0][1])
    (one,) = Clips(paths.media, annotations.videos, disturb).seconds(first, [1])
    assert np.array_equal(one, there[0][0][16_000:32_000]), "a second is the same, whoever asks for it alone"


def test_noise_ends_with_the_frames_also_where_the_sound_ends_before(
    annotations: AnnotationSet, paths: Paths
) -> None:
    video = annotations.videos[0]
    with wave.open(str(paths.media / "audio" / f"{video.name}.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
    seconds = Clips(paths.media, [], DisturbParams(replaced_by="white")).seconds(video, range(video.length))
    assert all(second.std() > 0.09 for second in seconds)


def test_no_two_clips_get_the_same_noise(annotations: AnnotationSet, paths: Paths) -> None:
    clips = Clips(paths.media, annotations.videos, DisturbParams(replaced_by="white"))
    first, second = (next(iter(clips.seconds(video, [0]))) for video in annotations.videos[:2])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_every_clip_gets_the_sound_of_another_one_and_each_is_taken_once(
    annotations: AnnotationSet, paths: Paths
) -> None:
    clips = Clips(paths.media, annotations.videos, DisturbParams(replaced_by="other_clip"))
    taken = []
    for video in annotations.videos:
        heard = sound_of(clips, video)
        whose = [
            other.name
            for other in annotations.videos
            if np.array_equal(heard, np.resize(read_sound(paths.media, other), len(heard)))
        ]
        assert len(whose) == 1 and whose != [video.name]
        taken += whose
    assert sorted(taken) == sorted(video.name for video in annotations.videos)
    alone = Clips(paths.media, annotations.videos[:1], DisturbParams(replaced_by="other_clip"))
    with pytest.raises(AvisError, match="no other clip is there"):
        sound_of(alone, annotations.videos[0])


def test_features_of_another_clip_and_none_of_disturbed_sound(
    annotations: AnnotationSet, paths: Paths
) -> None:
    (paths.media / "features").mkdir()
    for number, video in enumerate(annotations.videos):
        values = np.full((video.length, 128), number, np.float32)
        np.save(paths.media / "features" / f"{video.name}.npy", values)
    swapped = Clips(paths.media, annotations.videos, DisturbParams(replaced_by="other_clip"))
    for number, video in enumerate(annotations.videos):
        features = swapped.features(video)
        assert features.shape == (video.length, 128) and features[0, 0] != number
        pictures_only = Clips(paths.media, annotations.videos, DisturbParams(blur_px=2))
        assert np.array_equal(pictures_only.features(video), read_features(paths.media, video))
    with pytest.raises(
        AvisError, match=r"features cannot be disturbed \(shift_s 1.0\).*model\.audio to vggish"
    ):
        Clips(paths.media, annotations.videos, DisturbParams(shift_s=1)).features(annotations.videos[0])
