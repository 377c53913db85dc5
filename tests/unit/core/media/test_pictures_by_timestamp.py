"""Pictures by timestamp and sound to the sample, whatever the container does."""

import contextlib
import gc
import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from components.core.media.container import MediaError, MediaProblem, probe
from components.core.media.decode import decode
from components.core.media.encode import write_video
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.sound import Soundtrack, UnheardSound, read_sound, stream_sound
from tests.support.clips import grey, make_clip, make_clip_of_two_sizes, onset_s
from tests.support.parts import make_part
from tests.support.whole_clip import read_clip


def expected_greys(count: int, fps: float) -> list[float]:
    return [20 + 2 * int((k + 0.5) * fps + 1e-6) for k in range(count)]


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.mov", {}),
        ("a.webm", {"video_codec": "libvpx-vp9", "audio_codec": "libopus", "rate_hz": 48_000}),
        ("a.flv", {}),
        ("a.ts", {}),
        ("hevc10.mp4", {"video_codec": "libx265", "pix_fmt": "yuv420p10le"}),
        ("surround.mkv", {"channels": 6, "rate_hz": 48_000}),
    ],
)
def test_every_container_gives_the_middle_picture_and_sound_in_sync(
    tmp_path: Path, name: str, codecs: dict
) -> None:
    path = make_clip(tmp_path / name, seconds=3.2, flashes_s=(1.7,), **codecs)
    clip = read_clip(path)
    assert len(clip.frames) == 3
    assert clip.audio.shape == (48_000,)
    assert clip.timestamps_s == [0.5, 1.5, 2.5]
    assert [grey(f) for f in clip.frames] == pytest.approx(expected_greys(3, 10), abs=2.1)
    assert onset_s(clip.audio) == pytest.approx(1.7, abs=0.02)


def test_flash_and_beep_are_within_20_ms(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "sync.mp4", seconds=4, fps=25, flashes_s=(2.2,))
    clip = read_clip(path, frame_rate_hz=25.0)
    white = next(t for t, f in zip(clip.timestamps_s, clip.frames, strict=True) if grey(f) > 240)
    assert abs((white - 0.5 / 25) - onset_s(clip.audio)) < 0.02
    assert abs(onset_s(clip.audio) - 2.2) < 0.005  # the encoder's priming is not heard as delay


def test_variable_frame_rate_goes_by_time_not_by_count(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 1.4, 1.6, 1.7, 1.8, 1.9, 2.9]
    path = make_clip(tmp_path / "vfr.mkv", seconds=3, times_s=times)
    clip = read_clip(path)
    assert [round((grey(f) - 20) / 2) for f in clip.frames] == [5, 6, 10]


def test_start_before_or_after_zero_changes_nothing(tmp_path: Path) -> None:
    for offset_s, ending in ((-0.5, "ts"), (5.0, "ts"), (5.0, "mkv"), (5.0, "mp4")):
        path = make_clip(tmp_path / f"{offset_s}.{ending}", seconds=3, flashes_s=(1.7,), offset_s=offset_s)
        clip = read_clip(path)
        assert [grey(f) for f in clip.frames] == pytest.approx(expected_greys(3, 10), abs=2.1)
        assert onset_s(clip.audio) == pytest.approx(1.7, abs=0.01)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_flag_is_obeyed(tmp_path: Path, rotation: int) -> None:
    path = make_clip(tmp_path / "r.mp4", seconds=1.2, rotation=rotation)
    picture = read_clip(path).frames[0]
    assert picture.shape == ((64, 96, 3) if rotation == 180 else (96, 64, 3))
    height, width = picture.shape[:2]
    corners = {
        "left top": picture[:8, :8],
        "right top": picture[:8, width - 8 :],
        "left bottom": picture[height - 8 :, :8],
        "right bottom": picture[height - 8 :, width - 8 :],
    }
    dark = [name for name, corner in corners.items() if corner.mean() < 10]
    # set_display_rotation turns the picture counterclockwise by the angle, as FFmpeg documents it.
    assert dark == [{90: "left bottom", 180: "right bottom", -90: "right top"}[rotation]]


def test_odd_size_and_height_limit(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "odd.mkv", seconds=1, size=(95, 63), video_codec="ffv1", pix_fmt="yuv444p")
    assert read_clip(path).frames[0].shape == (63, 95, 3)
    assert read_clip(path, max_height_px=21).frames[0].shape == (21, 32, 3)


@pytest.mark.parametrize("sizes", [((96, 64), (192, 128)), ((192, 128), (96, 64)), ((96, 64), (64, 96))])
def test_all_pictures_have_the_size_of_the_first(
    tmp_path: Path, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    (width, height), (later_width, later_height) = sizes
    reader = ClipReader(make_clip_of_two_sizes(tmp_path / "both.ts", sizes=sizes))
    for _ in range(2):  # each pass counts anew
        pictures = [picture for _, picture in reader]
        assert [picture.shape for picture in pictures] == [(height, width, 3)] * 4
        # the whole picture, its dark corner too, is scaled: nothing is cut off or added
        assert [grey(picture) for picture in pictures] == pytest.approx([30, 50, 30, 50], abs=2.5)
        assert all(picture[: height // 5, : width // 5].mean() < 10 for picture in pictures)
        assert reader.changes.sentences() == [
            "2 frames guessed: the picture's size changes in the middle; it was scaled to the first one's "
            f"({width}x{height} to {later_width}x{later_height} at 2.5 s)"
        ]
    smaller = ClipReader(reader.path, max_height_px=32)
    assert {picture.shape for _, picture in smaller} == {(32, round(32 / height * width), 3)}


def test_one_size_is_no_change(tmp_path: Path) -> None:
    reader = ClipReader(make_clip(tmp_path / "turned.mp4", seconds=2.0, rotation=90))
    assert {picture.shape for _, picture in reader} == {(96, 64, 3)}
    assert not reader.changes


def holed_clip(tmp_path: Path) -> Path:
    """Four seconds with beeps at 0.5 and 3.0 s; the sound lacks the packets between 1.0 and 2.0 s."""
    whole = make_clip(tmp_path / "whole.mkv", seconds=4, flashes_s=(0.5, 3.0))
    holed = tmp_path / "holed.mkv"
    with av.open(str(whole)) as source, av.open(str(holed), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None or (
                packet.stream.type == "audio" and 1.0 < float(packet.time_base * packet.pts) < 2.0
            ):
                continue
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    return holed


def test_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    audio = read_clip(holed_clip(tmp_path)).audio
    assert onset_s(audio[32_000:]) == pytest.approx(1.0, abs=0.01)  # the second beep stays at 3.0 s
    assert np.abs(audio[17_000:31_000]).max() == 0


def test_last_second_counts_only_if_it_is_whole(tmp_path: Path) -> None:
    assert len(read_clip(make_clip(tmp_path / "a.mp4", seconds=2.9)).frames) == 2
    # one picture of 10 is missing: half a picture is forgiven, no more
    assert len(read_clip(make_clip(tmp_path / "b.mp4", seconds=3.0, fps=10)).frames) == 3
    with pytest.raises(MediaError) as caught:
        read_clip(make_clip(tmp_path / "c.mp4", seconds=0.6))
    assert caught.value.problem is MediaProblem.TOO_SHORT


def test_missing_sound_or_picture_is_named(tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "silent.mp4", audio_codec=None)
    with pytest.raises(MediaError) as caught:
        read_clip(silent)
    assert caught.value.problem is MediaProblem.NO_AUDIO
    assert str(silent) in str(caught.value)
    assert np.abs(read_clip(silent, require_audio=False).audio).max() == 0
    with pytest.raises(MediaError) as caught:
        read_clip(make_clip(tmp_path / "radio.mp4", video_codec=None))
    assert caught.value.problem is MediaProblem.NO_VIDEO


def test_damaged_files_are_corrupt_and_do_not_crash(tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.mkv", seconds=8, size=(160, 120)).read_bytes()
    cases = {"empty": b"", "text": b"<html>no video</html>" * 50, "cut": good[: len(good) * 6 // 10]}
    avi = make_part(tmp_path / "a.avi", 8, grey=60, tone_hz=440, codecs=("mpeg4", "ac3")).read_bytes()
    cases |= {"cut avi": avi[: len(avi) * 6 // 10]}  # FFmpeg shortens what its header says
    for name, content in cases.items():
        path = tmp_path / f"{name}.mkv"
        path.write_bytes(content)
        with pytest.raises(MediaError) as caught:
            read_clip(path)
        assert caught.value.problem is MediaProblem.CORRUPT, name
    generator = np.random.default_rng(0)
    for flips in (1, 30, 1000):
        flipped = bytearray(good)
        for at in generator.integers(0, len(good), flips):
            flipped[at] ^= 1 << int(generator.integers(0, 8))
        path = tmp_path / f"flip{flips}.mkv"
        path.write_bytes(bytes(flipped))
        with contextlib.suppress(MediaError):
            assert read_clip(path).frames


def test_a_play_list_does_not_open_other_files(tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.ts")
    play_list = tmp_path / "list.mp4"
    play_list.write_text(f"ffconcat version 1.0\nfile {good.name}\n")
    with pytest.raises(MediaError):
        read_clip(play_list)
    play_list.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{good}\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        read_clip(play_list)


def test_errors_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(MediaError("gone", problem=MediaProblem.NO_AUDIO, where="a.mp4")))
    assert (error.problem, error.where, str(error)) == (MediaProblem.NO_AUDIO, "a.mp4", "gone (a.mp4).")


def test_written_video_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    audio = np.zeros((32_000, 2), dtype=np.float32)
    audio[16_000:16_800] = 0.7
    pictures = (np.full((63, 95, 3), 40 + 40 * k, dtype=np.uint8) for k in range(4))
    write_video(path, pictures, frame_rate_hz=2.0, audio=audio)
    clip = read_clip(path, frame_rate_hz=2.0)
    assert [grey(f) for f in clip.frames] == pytest.approx([40, 80, 120, 160], abs=2.1)
    assert onset_s(clip.audio) == pytest.approx(1.0, abs=0.005)
    info = probe(path)
    assert (info.width, info.height, info.video_codec, info.audio_codec) == (96, 64, "h264", "aac")
    with pytest.raises(ValueError, match="at least one"):
        write_video(tmp_path / "none.mp4", [], frame_rate_hz=1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pictures = [np.full((48, 64, 3), k * 9, dtype=np.uint8) for k in range(12)]
        audio = np.sin(np.arange(16_000)).astype(np.float32)
        write_video(tmp_path / f"{name}.mp4", pictures, frame_rate_hz=12, audio=audio)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_extensible_wav_is_read(tmp_path: Path) -> None:
    samples = (np.sin(np.arange(44_100) / 20) * 9000).astype("<i2")
    data = np.repeat(samples[:, None], 2, axis=1).tobytes()
    subformat = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x008\x9bq"
    kind = (0xFFFE).to_bytes(2, "little") + (2).to_bytes(2, "little") + (44_100).to_bytes(4, "little")
    kind += (176_400).to_bytes(4, "little") + (4).to_bytes(2, "little") + (16).to_bytes(2, "little")
    kind += (22).to_bytes(2, "little") + (16).to_bytes(2, "little") + (3).to_bytes(4, "little") + subformat
    body = (
        b"WAVEfmt "
        + len(kind).to_bytes(4, "little")
        + kind
        + b"data"
        + len(data).to_bytes(4, "little")
        + data
    )
    path = tmp_path / "extensible.wav"
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    sound = read_sound(path, rate_hz=44_100, channels=2)
    assert np.array_equal(sound, np.repeat(samples[:, None], 2, axis=1))
    assert read_sound(path, rate_hz=16_000).shape == (16_000, 1)


def test_reader_yields_while_it_decodes(tmp_path: Path) -> None:
    reader = ClipReader(make_clip(tmp_path / "a.mp4", seconds=5))
    first = next(iter(reader))
    assert first[0] == 0.5
    assert reader.duration_s == 0.0  # the end is not known yet


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2)])
def test_streamed_sound_is_the_sound(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = holed_clip(tmp_path)
    pieces = list(stream_sound(path, rate_hz=rate_hz, channels=channels))
    assert len(pieces) > 5 and max(len(piece) for piece in pieces) <= rate_hz
    whole = read_sound(path, rate_hz=rate_hz, channels=channels)
    streamed = np.concatenate(pieces)
    assert len(whole) <= len(streamed) <= len(whole) + 100  # the resampler's last samples
    np.testing.assert_array_equal(streamed[: len(whole)], whole)
    with pytest.raises(MediaError, match="the video has no sound"):
        list(stream_sound(make_clip(tmp_path / "silent.mp4", audio_codec=None), rate_hz=rate_hz))


def test_a_damaged_timestamp_costs_no_memory() -> None:
    """Years of silence come a second at a time; a piece that comes too late is dropped."""
    sound = Soundtrack(rate_hz=16_000)
    frame = av.AudioFrame.from_ndarray(np.full((1, 1600), 7, np.int16), format="s16", layout="mono")
    frame.sample_rate = 16_000
    for time_s in (0.0, 1e9, 0.05):
        sound.add(frame, time_s)
    pieces = sound.take()
    assert [next(pieces).any() for _ in range(5)] == [True, False, False, False, False]
    sound = Soundtrack(rate_hz=16_000)
    for time_s in (0.0, 0.05):
        sound.add(frame, time_s)
    sound.finish()
    assert sum(len(piece) for piece in sound.take()) == 2400  # half of the second one lies before its end
    assert not list(sound.take())


def test_a_reader_need_not_keep_the_sound(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", seconds=3)
    kept, dropped = ClipReader(path), ClipReader(path, keep_audio=False)
    for (_, one), (_, other) in zip(kept, dropped, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (len(kept.audio), len(dropped.audio)) == (48_000, 0)
    with pytest.raises(MediaError, match="no sound"):
        list(ClipReader(make_clip(tmp_path / "silent.mp4", audio_codec=None), keep_audio=False))


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_in_pieces_gives_the_same_file(tmp_path: Path, channels: int) -> None:
    pictures = [np.full((48, 64, 3), k * 9, dtype=np.uint8) for k in range(12)]
    audio = np.sin(np.arange(20_000 * channels)).astype(np.float32).reshape(-1, channels)
    audio = audio[:, 0] if channels == 1 else audio
    cuts = np.split(audio, [1, 5, 300, 301, 9_000, 9_000, 15_000])
    for name, given in (("whole", audio), ("pieces", iter(cuts)), ("short", audio[:5_000])):
        write_video(tmp_path / f"{name}.mp4", pictures, frame_rate_hz=12, audio=given)
    assert (tmp_path / "whole.mp4").read_bytes() == (tmp_path / "pieces.mp4").read_bytes()
    assert len(read_sound(tmp_path / "short.mp4", rate_hz=16_000)) < 8_000
    write_video(tmp_path / "none.mp4", pictures, frame_rate_hz=12, audio=iter([]))
    assert probe(tmp_path / "none.mp4").duration_s == pytest.approx(1.0, abs=0.1)


def test_a_sound_that_is_not_kept_is_as_long(tmp_path: Path) -> None:
    """A gap in it, parts of another rate and another end than the pictures' are what decides lengths."""
    path = make_clip(tmp_path / "clip.mkv", seconds=3.4, flashes_s=(1.2,))
    kept, unheard = Soundtrack(rate_hz=16_000), UnheardSound()
    times = [[(p.time_s, p.length_s) for p in decode(path, sound)] for sound in (kept, unheard)]
    assert times[0] == times[1]
    assert unheard.end_s == kept.end_s > 3
    assert not unheard.is_empty and list(unheard.take()) == []
    readers = [ClipReader(path, keep_audio=keep) for keep in (True, False)]
    assert len({len(list(reader)) for reader in readers}) == 1
    assert readers[0].duration_s == readers[1].duration_s
    assert (len(readers[0].audio), len(readers[1].audio)) == (48_000, 0)


def test_pictures_that_were_given_are_gone(tmp_path: Path) -> None:
    reader = ClipReader(make_clip(tmp_path / "clip.mp4", seconds=3.0), frame_rate_hz=10.0)

    def frames() -> int:
        return sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())

    gc.collect()
    before = frames()
    gc.disable()  # it comes when it likes: of a large video gigabytes would wait for it
    try:
        assert len(list(reader)) == 30
        assert frames() <= before + 2
    finally:
        gc.enable()
