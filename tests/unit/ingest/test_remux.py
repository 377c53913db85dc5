"""Cutting to the frame, sound in sync, joining, and judging what was downloaded."""

from pathlib import Path

import pytest

from components.core.media.container import MediaError, MediaProblem, probe
from tests.support.clips import (
    grey,
    heard_hz,
    make_clip,
    make_clip_of_tracks,
    onset_s,
    remuxed,
    without_decoder,
)
from tests.support.whole_clip import read_clip


def verified(path: Path, tmp_path: Path, start_s: float | None = None, end_s: float | None = None):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return remuxed([path], work, start_s=start_s, end_s=end_s)


def test_whole_file_is_kept_as_it_came(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", seconds=3)
    result = verified(path, tmp_path, 0.0, 99.0)
    assert result.path == path
    assert (result.width, result.height, result.fps, result.video_codec) == (96, 64, 10.0, "h264")
    assert result.duration_s == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "start_s", "end_s"),
    [
        ("a.mp4", None, 4.2),
        ("a.mp4", 2.3, 6.05),
        ("a.mkv", 7.7, None),
        ("a.webm", 2.3, 6.05),
        ("a.ts", 7.7, None),  # cannot be searched: one key picture
    ],
)
def test_cut_is_within_a_frame_and_in_sync(
    tmp_path: Path, name: str, start_s: float | None, end_s: float | None
) -> None:
    codecs = {"video_codec": "libvpx", "audio_codec": "libopus", "rate_hz": 48_000} if "webm" in name else {}
    path = make_clip(tmp_path / name, seconds=10, flashes_s=(1.2, 3.6, 8.9), **codecs)
    result = verified(path, tmp_path, start_s, end_s)
    start, end = start_s or 0.0, end_s or 10.0
    assert result.duration_s == pytest.approx(end - start, abs=0.1)
    clip = read_clip(result.path, frame_rate_hz=10.0)
    flash = next(f for f in (1.2, 3.6, 8.9) if f > start) - start
    white = next(t for t, f in zip(clip.timestamps_s, clip.frames, strict=True) if grey(f) > 235) - 0.05
    assert onset_s(clip.audio) == pytest.approx(flash, abs=0.02)
    assert white == pytest.approx(flash, abs=0.1)
    assert abs(white - onset_s(clip.audio)) <= 0.06  # half a frame of rounding at 10 pictures a second


def test_cut_of_an_aligned_start_is_exact(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", seconds=6, fps=25, flashes_s=(3.2,))
    result = verified(path, tmp_path, 2.0, 5.0)
    clip = read_clip(result.path, frame_rate_hz=25.0)
    white = next(t for t, f in zip(clip.timestamps_s, clip.frames, strict=True) if grey(f) > 235) - 0.02
    assert len(clip.frames) == 75
    assert white == pytest.approx(1.2, abs=1e-6)
    assert abs(white - onset_s(clip.audio)) < 0.02


def test_part_outside_the_video_is_too_short(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", seconds=3)
    for start_s, end_s in ((5.0, 8.0), (2.9, None), (1.0, 1.5)):
        with pytest.raises(MediaError) as caught:
            verified(path, tmp_path, start_s, end_s)
        assert caught.value.problem is MediaProblem.TOO_SHORT


def test_pictures_and_sound_apart_are_joined(tmp_path: Path) -> None:
    picture = make_clip(tmp_path / "137.mp4", seconds=3, flashes_s=(1.5,), audio_codec=None)
    sound = make_clip(tmp_path / "251.webm", seconds=3, flashes_s=(1.5,), video_codec=None,
                      audio_codec="libopus", rate_hz=48_000)  # fmt: skip
    for files in ([picture, sound], [sound, picture]):
        result = remuxed(files, tmp_path, start_s=None, end_s=None)
        info = probe(result.path)
        assert (info.video_codec, info.audio_codec) == ("h264", "opus")
        clip = read_clip(result.path, frame_rate_hz=10.0)
        white = next(t for t, f in zip(clip.timestamps_s, clip.frames, strict=True) if grey(f) > 235)
        assert abs(white - 0.05 - onset_s(clip.audio)) < 0.02
        result.path.unlink()


def test_turned_and_odd_videos_are_cut(tmp_path: Path) -> None:
    turned = make_clip(tmp_path / "t.mp4", seconds=4, rotation=90)
    result = verified(turned, tmp_path, 1.0, 3.0)
    assert (result.width, result.height) == (64, 96)
    odd = make_clip(tmp_path / "o.mkv", seconds=4, size=(95, 63), video_codec="ffv1", pix_fmt="yuv444p")
    result = verified(odd, tmp_path, 1.0, 3.0)
    assert (result.width, result.height) == (96, 64)


@pytest.mark.parametrize(
    ("codecs", "problem"),
    [({"audio_codec": None}, MediaProblem.NO_AUDIO), ({"video_codec": None}, MediaProblem.NO_VIDEO)],
)
def test_missing_tracks(tmp_path: Path, codecs: dict, problem: MediaProblem) -> None:
    with pytest.raises(MediaError) as caught:
        verified(make_clip(tmp_path / "a.mp4", **codecs), tmp_path)
    assert caught.value.problem is problem


def test_of_a_download_in_two_files_the_sound_that_can_be_decoded_is_joined(tmp_path: Path) -> None:
    pictures = make_clip_of_tracks(tmp_path / "pictures.mp4", [])
    sound = make_clip_of_tracks(tmp_path / "sound.mov", [440.0, 880.0], container="mov")
    without_decoder(sound, (b"mp4a", b"apac"), 0)
    found = remuxed([pictures, sound], tmp_path)
    assert (found.audio_codec, round(heard_hz(found.path), -1)) == ("aac", 880)
