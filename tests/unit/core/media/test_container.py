"""Which tracks of a file are taken, and what is said where none can be."""

from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from components.core.media.container import MediaError, MediaProblem, tracks_taken
from components.core.media.sound import read_sound
from tests.support.clips import TONES_RATE_HZ, TONES_S, heard_hz, make_clip_of_tracks, without_decoder
from tests.support.parts import SECOND_PROGRAM, as_programs
from tests.support.whole_clip import read_clip

APAC = (b"mp4a", b"apac")  # Apple's spatial sound, for which FFmpeg has no decoder
AV99 = (b"mp4v", b"av99")


@pytest.mark.parametrize("unknown", [0, 1])
def test_of_two_sound_tracks_the_one_that_can_be_decoded_is_heard(tmp_path: Path, unknown: int) -> None:
    tones_hz = [440.0, 880.0]
    path = without_decoder(
        make_clip_of_tracks(tmp_path / "phone.mov", tones_hz, container="mov"), APAC, unknown
    )
    assert heard_hz(path) == pytest.approx(tones_hz[1 - unknown], abs=2)
    clip = read_clip(path, frame_rate_hz=1.0)
    assert len(clip.frames) == TONES_S and np.abs(clip.audio).max() > 0.2
    assert tracks_taken([path]).sentences() == [
        "1 sound track guessed: the file has several; of those that can be decoded and belong together the "
        f"default one, or the first, was taken ({2 - unknown} (aac) of 2, 1 without a decoder)"
    ]


def test_the_default_track_goes_before_the_first(tmp_path: Path) -> None:
    marks = {1: Disposition.default}
    path = make_clip_of_tracks(
        tmp_path / "film.mkv", [440.0, 880.0, 660.0], marks=marks, container="matroska"
    )
    assert heard_hz(path) == pytest.approx(880, abs=2)
    assert tracks_taken([path]).line() == "1 sound track guessed"


@pytest.mark.parametrize("flag", ["comment", "visual_impaired", "hearing_impaired"])
def test_a_commentary_that_comes_first_is_not_heard(tmp_path: Path, flag: str) -> None:
    marks = {0: getattr(Disposition, flag)}
    path = make_clip_of_tracks(tmp_path / "a.mkv", [440.0, 880.0], marks=marks, container="matroska")
    assert heard_hz(path) == pytest.approx(880, abs=2)
    alone = make_clip_of_tracks(tmp_path / "b.mkv", [440.0], marks=marks, container="matroska")
    assert heard_hz(alone) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("container", "flag"), [("matroska", "default"), ("matroska", "attached_pic"), ("mp4", "attached_pic")]
)
def test_a_cover_is_not_shown(tmp_path: Path, container: str, flag: str) -> None:
    path = make_clip_of_tracks(
        tmp_path / "song.mkv", [440.0], container=container, cover=getattr(Disposition, flag)
    )
    clip = read_clip(path, frame_rate_hz=1.0)
    assert (clip.width, clip.height, len(clip.frames)) == (64, 48, TONES_S)
    assert clip.frames[0].mean() < 100


@pytest.mark.parametrize("container", ["matroska", "mpegts", "mp4"])
def test_a_track_that_is_declared_and_empty_hides_no_other(tmp_path: Path, container: str) -> None:
    make = partial(make_clip_of_tracks, container=container, options={"movflags": "frag_keyframe+empty_moov"})
    path = make(tmp_path / "both", [None, 880.0], empty_pictures=True)
    assert heard_hz(path) == pytest.approx(880, abs=2)
    assert len(read_clip(path, frame_rate_hz=1.0).frames) == TONES_S
    examples = [change.examples for change in tracks_taken([path])]
    assert examples == [[f"2 ({codec}) of 2, 1 of which nothing decodes"] for codec in ("mpeg4", "aac")]
    for tones_hz, said in (([None], "the sound track is empty"), ([], "the video has no sound")):
        with pytest.raises(MediaError, match=said) as error:
            read_clip(make(tmp_path / "mute", tones_hz))
        assert error.value.problem is MediaProblem.NO_AUDIO


@pytest.mark.parametrize(("ending", "said"), [("mkv", "the picture track is empty"), ("mka", "no video")])
def test_a_picture_track_that_is_declared_and_empty_is_called_that(
    tmp_path: Path, ending: str, said: str
) -> None:
    path = tmp_path / f"a.{ending}"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=TONES_RATE_HZ, layout="mono")
        if ending != "mka":
            video = output.add_stream("libx264", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        output.start_encoding()
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = TONES_RATE_HZ
        output.mux(sound.encode(silence) + sound.encode(None))
    with pytest.raises(MediaError, match=said) as error:
        read_clip(path)
    assert error.value.problem is MediaProblem.NO_VIDEO


@pytest.mark.parametrize("sound", [[], [None]])
def test_pictures_and_sound_are_of_one_program(tmp_path: Path, sound: list[None]) -> None:
    """Of a television channel without sound, or with a track that is empty, and one with both."""
    path = as_programs(
        tmp_path / "two.ts",
        make_clip_of_tracks(tmp_path / "silent.ts", sound, container="mpegts", grey=2),
        make_clip_of_tracks(tmp_path / "loud.ts", [880.0], container="mpegts", options=SECOND_PROGRAM),
    )
    assert heard_hz(path) == pytest.approx(880, abs=2)
    assert read_clip(path, frame_rate_hz=1.0).frames[2].mean() == pytest.approx(8 * 25, abs=5)


def test_one_track_of_a_kind_is_no_choice(tmp_path: Path) -> None:
    assert not tracks_taken([make_clip_of_tracks(tmp_path / "plain.mp4", [440.0])])


def test_sound_that_cannot_be_decoded_is_not_called_missing(tmp_path: Path) -> None:
    path = without_decoder(make_clip_of_tracks(tmp_path / "spatial.mov", [440.0], container="mov"), APAC, 0)
    with pytest.raises(MediaError, match=r"sound cannot be decoded: .* codec apac \(") as error:
        read_clip(path, frame_rate_hz=1.0)
    assert error.value.problem is MediaProblem.UNSUPPORTED
    with pytest.raises(MediaError, match="the video has no sound") as error:
        read_clip(make_clip_of_tracks(tmp_path / "silent.mp4", []), frame_rate_hz=1.0)
    assert error.value.problem is MediaProblem.NO_AUDIO


def test_a_track_of_damaged_sound_and_one_without_any_are_told_apart(tmp_path: Path) -> None:
    damaged = make_clip_of_tracks(tmp_path / "damaged.mp4", [440.0])
    content = bytearray(damaged.read_bytes())
    with av.open(str(damaged)) as container:
        for packet in container.demux(audio=0):
            if packet.size:
                content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    damaged.write_bytes(content)
    empty = make_clip_of_tracks(tmp_path / "empty.mkv", [None], container="matroska")
    content = bytearray(make_clip_of_tracks(tmp_path / "torn.mp4", [440.0]).read_bytes())
    at = content.rindex(b"stco") + 4  # where the chunks of the last track lie: says that there are none
    content[at + 4 : at + 8] = bytes(4)
    (torn := tmp_path / "torn.mp4").write_bytes(content)
    for path, said, problem in (
        (damaged, r"sound cannot be decoded: none of its \d+ packets", MediaProblem.CORRUPT),
        (empty, "the sound track is empty", MediaProblem.NO_AUDIO),
        (torn, r"promises \d+ packets of the sound track, none of which", MediaProblem.CORRUPT),
    ):
        for read in (read_clip, partial(read_sound, rate_hz=16_000)):
            with pytest.raises(MediaError, match=said) as error:
                read(path)
            assert error.value.problem is problem


def test_pictures_that_cannot_be_decoded_are_not_called_missing(tmp_path: Path) -> None:
    path = without_decoder(make_clip_of_tracks(tmp_path / "new.mp4", [440.0]), AV99, 0)
    with pytest.raises(MediaError, match=r"pictures cannot be decoded: .* codec av99 \(") as error:
        read_clip(path, frame_rate_hz=1.0)
    assert error.value.problem is MediaProblem.UNSUPPORTED
