"""Parts of files whose clock jumps, or whose header is wrong about their length."""

import struct
from pathlib import Path

import pytest

from components.core.media.container import MediaError, probe
from tests.support.clips import remuxed
from tests.support.parts import make_part, put_together, tones_hz
from tests.support.whole_clip import read_clip

ONE, TWO = {"grey": 60, "tone_hz": 440}, {"grey": 160, "tone_hz": 880}


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of the one, six of the other, and both clocks begin at the same time."""
    folder = tmp_path_factory.mktemp("joined")
    parts = make_part(folder / "a.ts", 3, **ONE), make_part(folder / "b.ts", 6.2, **TWO)
    return put_together(folder / "joined.ts", *parts)


@pytest.mark.parametrize(
    ("start_s", "end_s", "first", "second"),
    [(None, None, 3, 6), (None, 7.0, 3, 4), (1.0, 5.0, 2, 2), (2.0, None, 1, 6), (7.0, 9.0, 0, 2)],
)
def test_parts_of_a_joined_file(
    tmp_path: Path, joined: Path, start_s: float | None, end_s: float | None, first: int, second: int
) -> None:
    verified = remuxed([joined], tmp_path, start_s, end_s)
    whole = (start_s, end_s) == (None, None)
    assert (verified.path == joined) == whole
    clip = read_clip(verified.path)
    assert [round(float(frame.mean()), -1) for frame in clip.frames] == [60] * first + [160] * second
    assert tones_hz(clip.audio) == [440] * first + [880] * second
    if not whole:  # else whoever reads the file tells it
        assert '"count": 1, "examples": ["at 3.01 s, 3.03 s back"]' in verified.changes


def test_pictures_and_sound_apart_that_begin_anew_are_set_aside(tmp_path: Path, joined: Path) -> None:
    with pytest.raises(
        MediaError, match=r"the time of one begins anew or jumps \(at 3\.0\d s, 3\.0\d s back\)"
    ):
        remuxed([joined, joined], tmp_path)


def test_a_header_that_promises_too_little(tmp_path: Path) -> None:
    path = make_part(tmp_path / "a.mkv", 9, **ONE)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a float of 8 bytes
    data[at : at + 8] = struct.pack(">d", 4000.0)
    path.write_bytes(data)
    assert probe(path).duration_s == 4.0
    assert remuxed([path], tmp_path, end_s=7.0).duration_s == pytest.approx(7.0, abs=0.1)
    assert remuxed([path], tmp_path, start_s=5.0, end_s=8.0).duration_s == pytest.approx(3.0, abs=0.1)
    data[at : at + 8] = struct.pack(">d", 60_000.0)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"the file ends 5\d\.\d s before the 60\.0 s its header promises"):
        remuxed([path], tmp_path)
