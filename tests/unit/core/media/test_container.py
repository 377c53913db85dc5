"""Which tracks of a file are taken, and what is said where none can be."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from components.core.media.container import MediaError, MediaProblem, tracks_taken
from components.core.media.pictures_by_timestamp import read_clip
from components.core.media.sound import read_sound

RATE_HZ = 48_000
SECONDS = 3
APAC = (b"mp4a", b"apac")  # Apple's spatial sound, for which FFmpeg has no decoder
AV99 = (b"mp4v", b"av99")


def write(path: Path, tones_hz: list[float], *, default: int | None = None, container: str = "mp4") -> Path:
    """A video with a sound track for each tone; `default`: the one that is marked so."""
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams: list[Any] = [output.add_stream("aac", rate=RATE_HZ, layout="mono") for _ in tones_hz]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == default else Disposition(0)
        for number in range(10 * SECONDS):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8), format="rgb24")
            picture.pts = number
            output.mux(video.encode(picture))
        for stream, tone_hz in zip(streams, tones_hz, strict=True):
            samples = np.sin(2 * np.pi * tone_hz * np.arange(SECONDS * RATE_HZ) / RATE_HZ)
            for first in range(0, len(samples), 1024):
                piece = (samples[None, first : first + 1024] * 0.3).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                sound.rate, sound.pts = RATE_HZ, first
                output.mux(stream.encode(sound))
        for stream in (video, *streams):
            output.mux(stream.encode(None))
    return path


def without_decoder(path: Path, names: tuple[bytes, bytes], number: int) -> Path:
    """Rename the codec of the number-th track that has this one, and the box that tells of it otherwise."""
    content = path.read_bytes()
    at = content.index(b"stsd") + 16
    found = 0
    while content[at : at + 4] != names[0] or found < number:
        found += content[at : at + 4] == names[0]
        at = content.index(b"stsd", at) + 16
    described = content.index(b"esds", at)
    path.write_bytes(
        content[:at] + names[1] + content[at + 4 : described] + b"xxxx" + content[described + 4 :]
    )
    return path


def heard_hz(path: Path) -> float:
    samples = read_sound(path, rate_hz=16_000)[:, 0].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * 16_000 / len(samples))


@pytest.mark.parametrize("unknown", [0, 1])
def test_of_two_sound_tracks_the_one_that_can_be_decoded_is_heard(tmp_path: Path, unknown: int) -> None:
    tones_hz = [440.0, 880.0]
    path = without_decoder(write(tmp_path / "phone.mov", tones_hz, container="mov"), APAC, unknown)
    assert heard_hz(path) == pytest.approx(tones_hz[1 - unknown], abs=2)
    clip = read_clip(path, frame_rate_hz=1.0)
    assert len(clip.frames) == SECONDS and np.abs(clip.audio).max() > 0.2
    assert tracks_taken([path]).sentences() == [
        "1 sound track guessed: the file has several; of those that can be decoded the default one, or the "
        f"first, was taken ({2 - unknown} (aac) of 2, 1 without a decoder)"
    ]


def test_the_default_track_goes_before_the_first(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", [440.0, 880.0, 660.0], default=1, container="matroska")
    assert heard_hz(path) == pytest.approx(880, abs=2)
    assert tracks_taken([path]).line() == "1 sound track guessed"


def test_one_track_of_a_kind_is_no_choice(tmp_path: Path) -> None:
    assert not tracks_taken([write(tmp_path / "plain.mp4", [440.0])])


def test_sound_that_cannot_be_decoded_is_not_called_missing(tmp_path: Path) -> None:
    path = without_decoder(write(tmp_path / "spatial.mov", [440.0], container="mov"), APAC, 0)
    with pytest.raises(MediaError, match="sound cannot be decoded") as error:
        read_clip(path, frame_rate_hz=1.0)
    assert error.value.problem is MediaProblem.UNSUPPORTED
    with pytest.raises(MediaError, match="the video has no sound") as error:
        read_clip(write(tmp_path / "silent.mp4", []), frame_rate_hz=1.0)
    assert error.value.problem is MediaProblem.NO_AUDIO


def test_pictures_that_cannot_be_decoded_are_not_called_missing(tmp_path: Path) -> None:
    path = without_decoder(write(tmp_path / "new.mp4", [440.0]), AV99, 0)
    with pytest.raises(MediaError, match="pictures cannot be decoded") as error:
        read_clip(path, frame_rate_hz=1.0)
    assert error.value.problem is MediaProblem.UNSUPPORTED
