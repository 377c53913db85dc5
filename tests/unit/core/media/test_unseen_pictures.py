"""What is left out of decoding changes nothing of what is shown."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from components.core.media.decode import decode
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.sound import Soundtrack
from components.core.media.unseen_pictures import UnseenPictures

TICKS_HZ = 1200


def write(path: Path, times: list[int], codec: str = "libx264", **options: str) -> Path:
    """Noise that moves, one picture at each time (in 1200ths of a second)."""
    chance = np.random.default_rng(5)
    noise = chance.integers(0, 256, (96, 400, 3), np.uint8)
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=30, options=options)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        video.codec_context.time_base = Fraction(1, TICKS_HZ)
        for number, time in enumerate(times):
            picture = np.ascontiguousarray(noise[:, 2 * number % 270 :][:, :128])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, TICKS_HZ)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def shown(path: Path, rate_hz: float) -> list[tuple[float, NDArray[np.uint8]]]:
    return list(ClipReader(path, frame_rate_hz=rate_hz, require_audio=False, threads=1))


def decoded(path: Path, wanted_hz: float | None) -> int:
    return len(list(decode(path, Soundtrack(rate_hz=8000), require_audio=False, wanted_hz=wanted_hz)))


EVEN = [40 * k for k in range(150)]
UNEVEN = sorted({int(t) for t in np.cumsum(np.random.default_rng(1).integers(20, 300, 150))})
PYRAMID = {"bf": "5", "b-pyramid": "normal", "b_strategy": "0", "g": "40"}


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("rate_hz", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_the_same_is_shown_when_pictures_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[int], rate_hz: float, ending: str
) -> None:
    path = write(tmp_path / f"a.{ending}", times, **PYRAMID)
    few = shown(path, rate_hz)
    monkeypatch.setattr(UnseenPictures, "look_at", lambda self, packet: None)
    every = shown(path, rate_hz)
    assert [time_s for time_s, _ in few] == [time_s for time_s, _ in every]
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(few, every, strict=True))


def test_a_matroska_whose_first_pictures_tell_no_time_of_decoding_is_shown_as_the_same_mp4(
    tmp_path: Path,
) -> None:
    """Far ahead of its turn, the second one looked as if time had jumped, and all was shown 0.3 s late."""
    times = [
        [picture.time_s for picture in decode(path, Soundtrack(rate_hz=8000), require_audio=False)]
        for path in (write(tmp_path / f"a.{ending}", UNEVEN, **PYRAMID) for ending in ("mkv", "mp4"))
    ]
    assert times[0] == pytest.approx(times[1], abs=0.002)


def test_pictures_that_others_are_made_of_are_decoded_and_half_of_the_rest_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", EVEN, **PYRAMID)
    assert decoded(path, None) == len(EVEN)
    assert decoded(path, 1.0) < 0.7 * len(EVEN)
    without = write(tmp_path / "b.mp4", EVEN, bf="0")
    assert decoded(without, 1.0) == len(EVEN)


@pytest.mark.parametrize("codec", ["libx265", "mpeg4"])
def test_of_other_codecs_everything_is_decoded(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "a.mp4", EVEN, codec=codec, bf="2")
    assert decoded(path, 1.0) == len(EVEN)
