"""Pictures and sound of one moment stay together, whatever the clocks of a file do."""

from pathlib import Path

import numpy as np
import pytest

from components.core.media.clocks import measure
from components.core.media.container import MediaError, MediaProblem
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.sound import read_sound, stream_sound
from tests.support.parts import make_part, put_together, tones_hz

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
