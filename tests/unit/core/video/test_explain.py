"""What moves a score: the sound of a second, or a part of the picture."""

from pathlib import Path

import numpy as np
import pytest

from components.core.video import load
from components.core.video.clip import VideoClip
from components.core.video.explain import Explanation, explain
from components.core.video.tracks import clip_of
from tests.support.clips import make_clip
from tests.support.tiny_model import write_finder

pytestmark = pytest.mark.slow


def test_a_muted_stretch_is_silent_in_every_frame_that_hears_it(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "clip.mp4", seconds=3.0, flashes_s=(0.5, 1.2, 2.5))
    whole = [sound for _, sound in VideoClip(video, 2.0, 64, hears=True, progress=False)()]
    muted = VideoClip(video, 2.0, 64, hears=True, progress=False, muted_s=(1.0, 2.0))
    for frame, (before, (_, after)) in enumerate(zip(whole, muted(), strict=True)):
        assert before is not None and after is not None
        times_s = frame / 2.0 + np.arange(16_000) / 16_000
        kept = (times_s < 1.0) | (times_s >= 2.0)
        assert (after[~kept] == 0).all()
        np.testing.assert_array_equal(after[kept], before[kept])


def test_falls_are_those_of_a_run_without_the_part(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "clip.mp4", seconds=2.0, flashes_s=(0.5,))
    model = load(write_finder(tmp_path / "tiny"), score_threshold=0.0, most_tracks=1, device="cpu")
    found = model.find(video)

    def clip(muted_s: tuple[float, float]) -> VideoClip:
        return clip_of(model.predictor, video, 1.0, audio_weights=None, resampling="ffmpeg", muted_s=muted_s)

    (why,) = explain(model.predictor, found, clip)
    assert why.stretches_s == [(0.0, 1.0), (1.0, 2.0)]
    assert np.shape(why.picture_falls) == (3, 4)
    assert why.sound_falls[1] == pytest.approx(0, abs=1e-3)  # nothing sounds there
    assert why.sound_falls[0] != 0


def test_it_is_said_whether_an_object_was_heard() -> None:
    heard = Explanation(1, 0.8, [(0.0, 1.0), (1.0, 2.0)], [0.0, 0.62], [[0.0]])
    assert heard.sentence("dog 1") == "dog 1 (0.80): 0.62 less without the sound of 1-2 s"
    guessed = Explanation(1, 0.8, [(0.0, 1.0)], [0.001], [[0.0]])
    assert "so it is a guess" in guessed.sentence("dog 1")
    assert "does not hear" in Explanation(1, 0.8, [], [], [[0.0]]).sentence("dog 1")
