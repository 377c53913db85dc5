"""Files put end to end whose format does not allow it: FFmpeg would read the first, or mix them."""

from functools import partial
from pathlib import Path

import pytest

from components.core.media.container import MediaError, MediaProblem, open_media
from components.core.media.put_together import other_file_at
from tests.support import parts
from tests.support.parts import make_part

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
FROM_0 = {"avoid_negative_ts": "make_non_negative"}


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        *(("flv", FROM_0), ("mp4", FRAGMENTS), ("mp4", {}), ("mov", {}), ("mp4", {"movflags": "faststart"})),
        ("avi", FROM_0),
    ],
)
def test_the_second_at_which_another_file_begins_is_said(
    ending: str, options: dict[str, str], tmp_path: Path
) -> None:
    codecs = ("mpeg4", "ac3") if ending == "avi" else ("libx264", "aac")
    one = make_part(tmp_path / f"one.{ending}", 2, grey=50, tone_hz=300, codecs=codecs, options=options)
    content = one.read_bytes()
    assert other_file_at(one) is None
    both = tmp_path / f"both.{ending}"
    both.write_bytes(content * 2)
    assert other_file_at(both) == len(content)
    with (
        pytest.raises(MediaError, match=r"at 2\.\d\d s another file begins.*both.*one by one") as caught,
        open_media(both),
    ):
        pass
    assert caught.value.problem == MediaProblem.UNSUPPORTED
    both.write_bytes(content[: len(content) // 2])
    assert other_file_at(both) is None


@pytest.mark.parametrize("live", ["0", "1"])
def test_of_a_matroska_parts_with_other_tracks_are_refused(
    live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same tracks they are read (test_clocks); AAC of another rate was heard too high."""
    make = partial(make_part, seconds=2, grey=50, tone_hz=300, options={"live": live})
    first = make(tmp_path / "first.mkv").read_bytes()
    monkeypatch.setattr(parts, "RATE_HZ", 44_100)
    both = tmp_path / "both.mkv"
    both.write_bytes(first + make(tmp_path / "second.mkv").read_bytes())
    assert other_file_at(both) == len(first)
    both.write_bytes(first + first)
    assert other_file_at(both) is None


def test_a_recorder_may_name_the_tracks_again_where_the_time_goes_on(tmp_path: Path) -> None:
    options = {**FRAGMENTS, "frag_duration": "500000"}
    content = make_part(tmp_path / "one.mp4", 2, grey=50, tone_hz=300, options=options).read_bytes()
    first, second = content.index(b"moof") - 4, content.rindex(b"moof") - 4
    assert first < second
    path = tmp_path / "again.mp4"
    path.write_bytes(content[:second] + content[:first] + content[second:])
    assert other_file_at(path) is None
    path.write_bytes(content[:second] + content)
    assert other_file_at(path) == second


def test_parts_of_a_stream_without_its_header_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    one = make_part(tmp_path / "one.mp4", 2, grey=50, tone_hz=300, options=FRAGMENTS).read_bytes()
    (tmp_path / "part.m4s").write_bytes(one[one.index(b"moof") - 4 :])
    with pytest.raises(MediaError, match="initialisation segment"), open_media(tmp_path / "part.m4s"):
        pass


@pytest.mark.parametrize("part", [b"tfhd", b"tfdt"])
def test_a_box_that_ends_before_its_fields_is_left_to_ffmpeg(tmp_path: Path, part: bytes) -> None:
    def box(name: bytes, content: bytes = b"") -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + name + content

    whole = {b"tfhd": box(b"tfhd", bytes(8)), b"tfdt": box(b"tfdt", bytes(8))}
    others = b"".join(value for name, value in whole.items() if name != part)
    path = tmp_path / "cut.mp4"
    path.write_bytes(box(b"ftyp", b"isom") + box(b"moof", box(b"traf", others + box(part))))
    assert other_file_at(path) is None


def test_a_file_that_ends_in_its_index_is_not_called_one_without_sound(tmp_path: Path) -> None:
    path = make_part(tmp_path / "late.mp4", 2, grey=50, tone_hz=300)
    content = path.read_bytes()
    index = content.index(b"moov") - 4
    for end in range(index - 8, content.rindex(b"udta") - 4, 50):
        path.write_bytes(content[:end])
        with pytest.raises(MediaError, match="ends before its index does") as caught, open_media(path):
            pass
        assert caught.value.problem is MediaProblem.CORRUPT
    path.write_bytes(content[:-20])  # of what the encoder says about itself
    with open_media(path) as container:
        assert len(container.streams) == 2
    early = make_part(tmp_path / "early.mp4", 2, grey=50, tone_hz=300, options={"movflags": "faststart"})
    early.write_bytes(early.read_bytes()[:-200])
    with open_media(early) as container:  # its tracks are known: what of them is missing, decoding tells
        assert len(container.streams) == 2
