"""Pictures and sound of one moment stay together, whatever the clocks of a file do."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from components.core.media.clocks import measure
from components.core.media.container import MediaError, MediaProblem
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.sound import Soundtrack, read_sound, stream_sound
from tests.support.clips import grey, make_clip, onset_s
from tests.support.parts import make_part, put_together, tones_hz
from tests.support.whole_clip import read_clip

ONE, TWO = {"grey": 60, "tone_hz": 440}, {"grey": 160, "tone_hz": 880}
MPEG2 = ("mpeg2video", "mp2")
WRAP_S = 2**33 / 90_000


def seen_and_heard(path: Path) -> tuple[list[int], list[int], list[str]]:
    """Greys and tones of each second, and what was changed; every way of reading has heard the same."""
    reader = ClipReader(path)
    greys = [round(float(picture.mean()), -1) for _, picture in reader]
    whole = read_sound(path, rate_hz=16_000)[:, 0]
    streamed = np.concatenate(list(stream_sound(path, rate_hz=16_000)))[:, 0]
    np.testing.assert_array_equal(streamed[: len(whole)], whole)
    count = min(len(whole), len(reader.audio))
    np.testing.assert_array_equal(reader.audio[:count], whole[:count])
    assert not reader.audio[count:].any()
    return [int(grey) for grey in greys], tones_hz(reader.audio), reader.changes.sentences()


JOINED = {
    "anew.ts": ({}, {}),
    "ahead.ts": ({}, {"from_s": 100.0}),
    "back.ts": ({"from_s": 1000.0}, {"from_s": 500.0}),  # FFmpeg takes this for a wrap: 26 h ahead
    "little_back.ts": ({"from_s": 1.0}, {"from_s": 3.0}),
    "wrapped_and_back.ts": ({"from_s": WRAP_S - 2}, {"from_s": WRAP_S - 5}),
    "sizes.ts": ({}, {"size": (192, 128)}),
    "mpeg2.ts": ({"codecs": MPEG2}, {"codecs": MPEG2}),
    "dvd.vob": ({"codecs": MPEG2, "container": "vob"}, {"codecs": MPEG2, "container": "vob"}),
    "program.mpg": ({"codecs": MPEG2, "container": "mpeg"}, {"codecs": MPEG2, "container": "mpeg"}),
    "program_ahead.mpg": (
        {"codecs": MPEG2, "container": "mpeg"},
        {"codecs": MPEG2, "container": "mpeg", "from_s": 50.0},
    ),
    "matroska.mkv": ({}, {}),
}


@pytest.mark.parametrize("name", JOINED)
def test_of_parts_put_end_to_end_each_keeps_its_sound(tmp_path: Path, name: str) -> None:
    ending = Path(name).suffix
    first = make_part(tmp_path / f"a{ending}", 3, **ONE, **JOINED[name][0])
    second = make_part(tmp_path / f"b{ending}", 4.2, **TWO, **JOINED[name][1])
    greys, tones, changes = seen_and_heard(put_together(tmp_path / name, first, second))
    assert greys == [60] * 3 + [160] * 4
    assert tones == [440] * 3 + [880] * 4
    assert changes[0].startswith("1 part moved: its time starts anew or jumps; it was put right after")
    assert "(at 3.0" in changes[0]
    assert measure(tmp_path / name).parts == 2
    assert measure(tmp_path / name).duration_s == pytest.approx(7.2, abs=0.15)


def test_many_short_parts(tmp_path: Path) -> None:
    parts = [
        make_part(tmp_path / f"{k}.ts", 2, grey=40 + 20 * k, tone_hz=400 + 100 * k, from_s=1.3 * k)
        for k in range(8)
    ]
    greys, tones, changes = seen_and_heard(put_together(tmp_path / "all.ts", *parts))
    assert greys == [grey for k in range(8) for grey in (40 + 20 * k,) * 2]
    assert tones == [tone for k in range(8) for tone in (400 + 100 * k,) * 2]
    assert changes[0].startswith("7 parts moved")


def test_a_clock_that_wraps_runs_through(tmp_path: Path) -> None:
    path = make_part(tmp_path / "wrap.ts", 5, **TWO, from_s=WRAP_S - 3.2)
    assert seen_and_heard(path) == ([160] * 5, [880] * 5, [])


@pytest.mark.parametrize("longer", ["pictures", "sound"])
def test_a_part_may_have_more_of_one(tmp_path: Path, longer: str) -> None:
    lacks = {"no_sound_s": (3.0, 6.0)} if longer == "pictures" else {"no_pictures_s": (3.0, 6.0)}
    first, second = make_part(tmp_path / "a.ts", 6, **ONE, **lacks), make_part(tmp_path / "b.ts", 3.2, **TWO)
    greys, tones, changes = seen_and_heard(put_together(tmp_path / "both.ts", first, second))
    black, silent = (0, 440) if longer == "sound" else (60, 0)
    assert greys == [60] * 3 + [black] * 3 + [160] * 3
    assert tones[:3] + tones[4:] == [440] * 3 + [silent] * 2 + [880] * 3
    assert len(changes) == 2


@pytest.mark.parametrize("ending", ["ts", "mkv", "mp4"])
def test_where_nothing_was_recorded_it_is_black_and_silent(tmp_path: Path, ending: str) -> None:
    span = (3.0, 6.0)
    path = make_part(tmp_path / f"a.{ending}", 9, **ONE, no_pictures_s=span, no_sound_s=span)
    greys, tones, changes = seen_and_heard(path)
    assert greys == [60] * 3 + [0] * 3 + [60] * 3
    assert tones[:3] + tones[4:] == [440] * 3 + [0] * 2 + [440] * 3
    assert sorted(change.split(":")[0] for change in changes) == [
        "1 gap in the pictures filled",
        "1 gap in the sound filled",
    ]


@pytest.mark.parametrize(
    ("ending", "grey", "said"), [("ts", 0, "filled"), ("mkv", 60, "guessed"), ("mp4", 60, "guessed")]
)
def test_a_gap_in_the_pictures_alone(tmp_path: Path, ending: str, grey: int, said: str) -> None:
    """A still of a screen recording is shown on; MPEG-TS has no stills, there pictures were lost."""
    path = make_part(tmp_path / f"a.{ending}", 9, **ONE, no_pictures_s=(3.0, 6.0))
    greys, tones, changes = seen_and_heard(path)
    assert greys == [60] * 3 + [grey] * 3 + [60] * 3
    assert tones == [440] * 9
    assert [change.split(":")[0] for change in changes] == [f"1 gap in the pictures {said}"]


@pytest.mark.parametrize("ending", ["ts", "mkv", "mp4"])
def test_a_gap_in_the_sound_alone_is_silent(tmp_path: Path, ending: str) -> None:
    path = make_part(tmp_path / f"a.{ending}", 9, **ONE, no_sound_s=(3.0, 6.0))
    greys, tones, changes = seen_and_heard(path)
    assert greys == [60] * 9
    assert tones[:3] + tones[4:] == [440] * 3 + [0] * 2 + [440] * 3
    assert [change.split(":")[0] for change in changes] == ["1 gap in the sound filled"]


@pytest.mark.parametrize("late", ["pictures", "sound"])
def test_a_track_that_begins_late(tmp_path: Path, late: str) -> None:
    path = make_part(tmp_path / "a.mkv", 6, **ONE, **{f"no_{late}_s": (0.0, 3.0)})
    greys, tones, changes = seen_and_heard(path)
    assert greys == [0 if late == "pictures" else 60] * 3 + [60] * 3
    assert tones[:2] + tones[3:] == [0 if late == "sound" else 440] * 2 + [440] * 3
    assert [change.split(":")[0] for change in changes] == [f"1 gap in the {late} filled"]


def test_where_one_clock_jumps_and_the_other_does_not_the_file_is_set_aside(tmp_path: Path) -> None:
    first = make_part(tmp_path / "a.ts", 3, **ONE)
    second = make_part(tmp_path / "b.ts", 5, **TWO, from_s=3, sound_from_s=30)
    path = put_together(tmp_path / "torn.ts", first, second)
    for read in (ClipReader(path), stream_sound(path, rate_hz=16_000)):
        with pytest.raises(
            MediaError, match=r"at 3\.01 s the time of the sound jumps 27\.0 s ahead"
        ) as error:
            list(read)
        assert error.value.problem is MediaProblem.CORRUPT


@pytest.mark.parametrize(
    ("longer", "said"),
    [
        ("pictures", "1 end of the sound filled: it ends before"),
        ("sound", "1 end of the sound dropped: it goes on"),
    ],
)
def test_an_end_that_one_track_has_alone_is_told(tmp_path: Path, longer: str, said: str) -> None:
    other = "sound" if longer == "pictures" else "pictures"
    path = make_part(tmp_path / "a.mp4", 6, **ONE, **{f"no_{other}_s": (3.0, 6.0)})
    greys, tones, changes = seen_and_heard(path)
    seconds = 6 if longer == "pictures" else 3
    assert (greys, tones[:3], tones[4:]) == ([60] * seconds, [440] * 3, [0] * (seconds - 4))
    assert len(changes) == 1 and changes[0].startswith(said)


@pytest.mark.parametrize("options", [{"mpegts_start_pid": "600"}, {"mpegts_pmt_start_pid": "4100"}])
def test_a_part_with_tracks_of_its_own_is_not_lost(tmp_path: Path, options: dict[str, str]) -> None:
    """The file's beginning names the tracks of the second part, too; in the other case it does not."""
    options = options | {"mpegts_start_pid": "600"}
    parts = make_part(tmp_path / "a.ts", 3, **ONE), make_part(tmp_path / "b.ts", 6, **TWO, options=options)
    path = put_together(tmp_path / "both.ts", *parts)
    for read in (ClipReader(path), stream_sound(path, rate_hz=16_000)):
        with pytest.raises(MediaError, match=r"at 3\.01 s the tracks end and others follow"):
            list(read)


def test_parts_of_different_codecs_are_set_aside(tmp_path: Path) -> None:
    parts = make_part(tmp_path / "a.ts", 3, **ONE), make_part(tmp_path / "b.ts", 6, **TWO, codecs=MPEG2)
    with pytest.raises(
        MediaError, match=r"damaged, the first at [23]\.\d s: its parts may differ in their codecs"
    ):
        list(ClipReader(put_together(tmp_path / "both.ts", *parts)))


def test_a_packet_with_a_damaged_time_goes_where_its_neighbours_are(tmp_path: Path) -> None:
    """One of the pictures' and one of the sound's say that they are shown 50 s later."""
    whole, path = make_part(tmp_path / "whole.ts", 6, **ONE), tmp_path / "damaged.ts"
    data, late = bytearray(whole.read_bytes()), 50 * 90_000
    for stream, number in ((0xE0, 25), (0xC0, 4)):
        at = -1
        for _ in range(number):
            at = data.index(bytes((0, 0, 1, stream)), at + 1)
        marks = (9, 14) if data[at + 7] & 0x40 else (9,)  # a PES packet's times: shown, and perhaps decoded
        for place in marks:
            field = data[at + place : at + place + 5]
            time = (
                (field[0] >> 1 & 7) << 30
                | field[1] << 22
                | field[2] >> 1 << 15
                | field[3] << 7
                | field[4] >> 1
            )
            time += late
            data[at + place : at + place + 5] = bytes(
                (
                    field[0] & 0xF1 | time >> 29 & 0x0E,
                    time >> 22 & 0xFF,
                    time >> 14 & 0xFE | 1,
                    time >> 7 & 0xFF,
                    time << 1 & 0xFE | 1,
                )
            )
    path.write_bytes(data)
    assert data != whole.read_bytes()
    greys, tones, changes = seen_and_heard(path)
    assert (greys, tones) == ([60] * 6, [440] * 6)
    assert "packets moved: its time lies far from those before and after it" in changes[0]


def leave_out(path: Path, from_s: float, to_s: float) -> Path:
    """Give an MP4 file an edit list of two parts, as phones write it when they shorten a video."""
    data = bytearray(path.read_bytes())
    at = data.index(b"mvhd")
    ticks_hz, whole = struct.unpack(">II", data[at + 16 : at + 24])
    at = len(data)
    while (at := data.rfind(b"elst", 0, at)) > 0:
        media_hz = struct.unpack(">I", data[(clock := data.index(b"mdhd", at) + 16) : clock + 4])[0]
        first = struct.unpack(">i", data[at + 16 : at + 20])[0]
        parts = [round(from_s * ticks_hz), first, 1 << 16]
        parts += [whole - round(to_s * ticks_hz), first + round(to_s * media_hz), 1 << 16]
        data[at + 8 : at + 24] = struct.pack(">IIiIIiI", 2, *parts)
        for box in (at, at - 8, data.rfind(b"trak", 0, at), data.rfind(b"moov", 0, at)):
            data[box - 4 : box] = struct.pack(">I", struct.unpack(">I", data[box - 4 : box])[0] + 12)
    path.write_bytes(data)
    return path


def test_an_edit_list_that_leaves_out_the_middle(tmp_path: Path) -> None:
    """What is decoded only for what follows has times that go back; it is no new part."""
    path = make_clip(tmp_path / "a.mp4", seconds=8, flashes_s=(1.5, 3.5, 6.5))
    clip = read_clip(leave_out(path, 2.0, 5.0), frame_rate_hz=10.0)
    assert len(clip.frames) == 50
    white = [k for k, frame in enumerate(clip.frames) if grey(frame) > 240]
    assert white == [15, 35]
    assert onset_s(clip.audio) == pytest.approx(1.5, abs=0.02)
    assert onset_s(clip.audio[32_000:]) == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("pace", [1.0, 1.00005], ids=["steady", "slow_crystal"])
def test_sound_does_not_drift_within_an_hour(pace: float) -> None:
    """44.1 kHz by times that are rounded to 1 ms, as Matroska has them; a crystal may be 0.15 s off by then.

    A click every ten minutes, 20 ms long, where no piece begins.
    """
    rate_hz, piece = 44_100, 44_100 // 2
    clicks = [round((600 * k + 0.337) * rate_hz) for k in range(6)]
    sound, heard, begin = Soundtrack(rate_hz=16_000), [], 0
    for first in range(0, 3_060 * rate_hz, piece):
        samples = np.zeros((1, piece), np.int16)
        for click in clicks:
            if first <= click < first + piece:
                samples[0, click - first : click - first + rate_hz // 50] = 25_000
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate_hz
        sound.add(frame, round(first / rate_hz * pace, 3))
        if first + piece >= 3_060 * rate_hz:
            sound.finish()
        for part in sound.take():
            loud = np.flatnonzero(np.abs(part[:, 0].astype(int)) > 8_000)
            heard += [(begin + int(place)) / 16_000 for place in loud]
            begin += len(part)
    onsets = [
        time_s for time_s, before_s in zip(heard, [-1.0, *heard], strict=False) if time_s - before_s > 1
    ]
    assert onsets == pytest.approx([click / rate_hz * pace for click in clicks], abs=0.01)
