"""Whatever pictures a file has: the right colours, the right way up, of one moment; what is odd is said."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from components.core.media.colours import reformat
from components.core.media.container import MediaError, MediaProblem
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.records.changes import Changes, changes_of_text
from components.ingest.remux import remux
from tests.support.clips import grey, make_clip, remuxed

PATCHES = np.array(
    [[200, 60, 60], [60, 200, 60], [60, 60, 200], [220, 220, 220], [20, 20, 20], [128, 128, 128]], np.uint8
)
MATRICES = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
SIZE = (96, 32)


def coded(rgb: np.ndarray, matrix: int, *, full: bool, bits: int) -> np.ndarray:
    """Levels of Y, Cb and Cr, by H.273, of signals in [0, 1]."""
    red, blue = MATRICES[matrix]
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = np.stack([(rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)], axis=1)
    scale = 1 << (bits - 8)
    if full:
        peak = 256 * scale - 1
        levels = np.column_stack([luma * peak, chroma * peak + 128 * scale])
    else:
        levels = np.column_stack([(16 + 219 * luma) * scale, (128 + 224 * chroma) * scale])
    return np.round(levels).astype(np.uint8 if bits == 8 else np.uint16)


def frame_of(levels: np.ndarray, size: tuple[int, int] = SIZE, *, format: str = "yuv420p") -> av.VideoFrame:
    """A 4:2:0 picture of upright stripes of these levels."""
    frame = av.VideoFrame(*size, format)
    stripe = np.minimum(np.arange(size[0]) * len(levels) // size[0], len(levels) - 1)
    for number, plane in enumerate(frame.planes):
        row = levels[stripe[:: 2 if number else 1], number]
        line = np.zeros(plane.line_size, np.uint8)
        line[: row.nbytes] = row.view(np.uint8)
        plane.update(np.tile(line, plane.height).tobytes())
    return frame


def write(
    path: Path,
    pictures: list[tuple[float, av.VideoFrame]],
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    sound_s: float = 1.0,
) -> Path:
    """A file of these pictures at these times, tagged as the first one, and silence."""
    first = pictures[0][1]
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=10, options=options or {"qp": "1"})
        video.width, video.height, video.pix_fmt = first.width, first.height, first.format.name
        context = video.codec_context
        context.colorspace, context.color_range = first.colorspace, first.color_range
        context.color_trc, context.color_primaries = first.color_trc, first.color_primaries
        audio = container.add_stream("aac", rate=8_000, layout="mono")
        audio.time_base = Fraction(1, 8_000)
        for time_s, frame in pictures:
            frame.pts, frame.time_base = round(time_s * 10), Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for begin in range(0, round(sound_s * 8_000), 1024):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 8_000, begin, Fraction(1, 8_000)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


def read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    reader = ClipReader(path, threads=1)
    return [picture for _, picture in reader], reader.changes.sentences()


def patches_of(picture: np.ndarray) -> np.ndarray:
    """The colours of the stripes, away from their edges."""
    return np.array([picture[8:24, 16 * k + 4 : 16 * k + 12].mean(axis=(0, 1)) for k in range(len(PATCHES))])


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_matrix_range_and_depth_give_the_colours_of_the_source(
    tmp_path: Path, matrix: int, full: bool, bits: int
) -> None:
    frame = frame_of(
        coded(PATCHES / 255, matrix, full=full, bits=bits),
        format={(8, False): "yuv420p", (8, True): "yuvj420p"}.get((bits, full), "yuv420p10le"),
    )
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    (picture,), changes = read(write(tmp_path / "a.mp4", [(k / 10, frame) for k in range(10)]))
    np.testing.assert_allclose(patches_of(picture), PATCHES, atol=4)
    assert changes == []


def hdr_signal(kind: str, nits: np.ndarray) -> np.ndarray:
    """SMPTE 2084 or HLG (BT.2100) of light in cd/m², in BT.2020's primaries."""
    if kind == "pq":
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = (nits / 10_000) ** m1
        return ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    display = nits / 1000
    luminance = display @ np.array([[0.2627], [0.6780], [0.0593]])
    scene = display * luminance ** (1 / 1.2 - 1)
    log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


@pytest.mark.parametrize(("kind", "transfer"), [("pq", 16), ("hlg", 18)])
def test_hdr_looks_as_ordinary_video(tmp_path: Path, kind: str, transfer: int) -> None:
    """BT.2408: what ordinary video shows as white is 203 cd/m² in HDR; brighter things keep their order."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    bright = np.array([[255, 255, 255], [340, 340, 340], [400, 400, 400]])
    light = np.clip(
        (np.concatenate([PATCHES[[0, 1, 2, 4, 5]], bright[:1]]) / 255.0) ** 2.4 @ to_2020.T, 0, None
    )
    frame = frame_of(coded(hdr_signal(kind, 203 * light), 9, full=False, bits=10), format="yuv420p10le")
    brighter = frame_of(
        coded(hdr_signal(kind, 203 * (bright / 255.0) ** 2.4), 9, full=False, bits=10), format="yuv420p10le"
    )
    pictures = [(k / 10, frame) for k in range(10)] + [(1 + k / 10, brighter) for k in range(10)]
    for _, each in pictures:
        each.colorspace, each.color_range, each.color_trc, each.color_primaries = 9, 1, transfer, 9
    path = write(tmp_path / "hdr.mp4", pictures, sound_s=2)
    (first, second), changes = read(path)
    np.testing.assert_allclose(patches_of(first)[:5], PATCHES[[0, 1, 2, 4, 5]], atol=5)
    white, higher, highest = (second[8:24, 32 * k + 8 : 32 * k + 24].mean() for k in range(3))
    assert 235 < white < higher < highest <= 255
    assert changes == [
        "2 frames clipped: it is HDR; it was brought to the brightness and the colours of ordinary video"
        " (from 0.5 s on)"
    ]
    told = Changes()
    cut, _ = remux([path], tmp_path, start_s=0.0, end_s=1.0, changes=told)
    np.testing.assert_allclose(patches_of(read(cut)[0][0])[:5], PATCHES[[0, 1, 2, 4, 5]], atol=7)
    assert told.count("frame") == 10


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_interlaced_pictures_are_of_one_moment(tmp_path: Path, codec: str) -> None:
    """The upper field is red, the lower one, a moment later, blue."""
    frame = av.VideoFrame(*SIZE, "yuv420p")
    for plane, red, blue in zip(frame.planes, (81, 90, 240), (41, 240, 110), strict=True):
        lines = np.full((plane.height, plane.line_size), red, np.uint8)
        lines[1::2] = blue
        plane.update(lines.tobytes())
    options = {"flags": "+ildct+ilme", "b": "4000k"} | (
        {"x264-params": "tff=1:qp=1"} if codec == "libx264" else {}
    )
    path = write(
        tmp_path / "tv.ts", [(k / 10, frame) for k in range(25)], codec=codec, options=options, sound_s=2.5
    )
    pictures, changes = read(path)
    assert [picture.shape for picture in pictures] == [(32, 96, 3)] * 2
    for picture in pictures:
        assert np.abs(picture.astype(int) - [254, 0, 0]).max() < 12
    assert changes == [
        "2 frames filled: it is interlaced; of its two moments the upper field's was taken, and the lines"
        " between filled from it (from 0.5 s on)"
    ]


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "dark"),
    [
        ((-ONE, 0, 0, ONE), "right top"),  # a mirror, as front cameras have it
        ((ONE, 0, 0, -ONE), "left bottom"),
        ((0, ONE, ONE, 0), "left top"),
        ((0, -ONE, -ONE, 0), "right bottom"),
        ((0, ONE, -ONE, 0), "right top"),  # a quarter turn
        ((-ONE, 0, 0, -ONE), "right bottom"),
        ((56_756, 32_768, -32_768, 56_756), "left top"),  # 30 degrees
    ],
)
def test_mirrored_and_turned_pictures(tmp_path: Path, matrix: tuple[int, ...], dark: str) -> None:
    path = make_clip(tmp_path / "turned.mp4", seconds=1.2, rotation=90)
    turned = struct.pack(">9i", 0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30)
    content = path.read_bytes()
    assert content.count(turned) == 1
    a, b, c, d = matrix
    path.write_bytes(content.replace(turned, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)))
    (picture,), changes = read(path)
    assert picture.shape == ((96, 64, 3) if a == 0 else (64, 96, 3))
    corners = {
        f"{side} {end}": picture[rows, columns]
        for end, rows in (("top", slice(8)), ("bottom", slice(-8, None)))
        for side, columns in (("left", slice(8)), ("right", slice(-8, None)))
    }
    assert [name for name, corner in corners.items() if corner.mean() < 12] == [dark]
    assert [sentence[:38] for sentence in changes] == ["1 frame guessed: it is to be turned by"] * (
        d == 56_756
    )


def test_a_rotation_that_changes_in_the_middle(tmp_path: Path) -> None:
    """Each picture is turned as it says itself (FFmpeg hears an H.264 picture's own word only); a quarter
    turn is a change of size."""
    parts = []
    for number, turn in enumerate((0, 180, 270)):
        part = make_clip(
            tmp_path / f"part{number}.ts", seconds=2.2, offset_s=2.2 * number, video_options={"g": "1"}
        )
        target = tmp_path / f"turned{number}.ts"
        with (
            av.open(str(part)) as source,
            av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as output,
        ):
            streams = [output.add_stream_from_template(stream) for stream in source.streams]
            insert = f"h264_metadata=display_orientation=insert:rotate={turn}"
            turned = BitStreamFilterContext(insert, source.streams.video[0], streams[0])
            for packet in source.demux():
                is_picture = packet.stream.type == "video" and packet.size
                for each in turned.filter(packet) if is_picture else [packet]:
                    if each.dts is not None:
                        each.stream = streams[packet.stream.index]
                        output.mux(each)
        parts.append(target.read_bytes())
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    pictures, changes = read(path)
    assert {picture.shape for picture in pictures} == {(64, 96, 3)}
    dark = [tuple(np.unravel_index(picture.mean(axis=2).argmin(), (64, 96))) for picture in pictures]
    ends = [(row // 32, column // 48) for row, column in dark]  # (0, 0) is the left upper corner
    assert ends[:4] + ends[5:] == [(0, 0), (0, 0), (1, 1), (1, 1), (0, 1)]
    assert "(96x64 to 64x96 at " in changes[0]  # where the parts meet a packet may be damaged


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [("a.webm", "libvpx-vp9", "yuv420p"), ("a.avi", "mjpeg", "yuvj420p"), ("a.mkv", "ffv1", "yuv422p10le")],
)
def test_odd_sizes_stay(tmp_path: Path, name: str, codec: str, format: str) -> None:
    sound = {"audio_codec": "libopus", "rate_hz": 48_000} if name.endswith("webm") else {"audio_codec": "mp3"}
    path = make_clip(
        tmp_path / name, seconds=1.5, size=(161, 121), video_codec=codec, pix_fmt=format, **sound
    )
    (picture,), changes = read(path)
    assert picture.shape == (121, 161, 3) and changes == []
    assert grey(picture) == pytest.approx(30, abs=3)
    whole = remuxed([path], tmp_path)
    assert (whole.width, whole.height, whole.changes) == (161, 121, None)
    cut = remuxed([path], tmp_path, 0.0, 1.2)
    assert (cut.width, cut.height) == (162, 122)
    assert "1 picture size filled: it is odd" in changes_of_text(cut.changes or "").sentences()[0]
    (picture,), _ = read(cut.path)
    assert np.abs(picture[:121, :161].mean() - picture[121:, 161:].mean()) < 12


def stills(
    path: Path, times_s: list[float], sound_s: float, *, last_s: float = 0.0, apart: bool = False
) -> Path:
    """Grey pictures (60, 90, …) at these times; in MP4 the last one may tell how long it is shown.

    apart: the sound follows after all pictures.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25, options={"g": "1"})
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = container.add_stream(
            "adpcm_ima_wav" if path.suffix == ".avi" else "aac", rate=8_000, layout="mono"
        )
        written = 0  # samples of sound
        for number, time_s in enumerate([*times_s, sound_s]):
            while written < min(time_s, sound_s) * 8_000 and not (
                apart and number < len(times_s)
            ):  # side by side, as a recorder writes them
                sound = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
                )
                sound.sample_rate, sound.pts, sound.time_base = 8_000, written, Fraction(1, 8_000)
                container.mux(audio.encode(sound))
                written += 1024
            if number == len(times_s):
                break
            rgb = np.full((32, 32, 3), 60 + 30 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 25), Fraction(1, 25)
            for packet in video.encode(frame):
                packet.duration = round((last_s or 0.04) / packet.time_base)
                container.mux(packet)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_still_picture_of_more_than_ten_minutes(tmp_path: Path, ending: str) -> None:
    """The sound goes on, so the time of the next picture is believed."""
    pictures, changes = read(stills(tmp_path / f"slides.{ending}", [0, 5, 665, 667], 668))
    greys = [round(float(picture.mean()) / 30) * 30 for picture in pictures]
    assert greys[:667] == [60] * 5 + [90] * 660 + [120] * 2
    (change,) = changes
    assert change.startswith("3 gaps in the pictures guessed: no picture comes for more than a second")
    cut = remuxed([tmp_path / f"slides.{ending}"], tmp_path, 2.0, 12.0)
    pictures, _ = read(cut.path)
    assert [round(float(picture.mean()) / 30) * 30 for picture in pictures] == [60] * 3 + [90] * 7


@pytest.mark.parametrize(
    ("apart", "message"),
    [(False, r"at 1\.00 s the time of the pictures jumps"), (True, r"no picture for 66\d s after [12]\.0 s")],
)
def test_a_time_that_nothing_confirms_is_damage(tmp_path: Path, apart: bool, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        read(stills(tmp_path / "a.mkv", [0, 0.96, 665], 2, apart=apart))


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A still picture that nothing confirms is believed for one minute, not ten: shorter files."""
    monkeypatch.setattr("components.core.media.decode.LONGEST_STILL_S", 60.0)


@pytest.mark.usefixtures("one_minute")
@pytest.mark.parametrize(("ending", "last_s"), [("mp4", 0.0), ("mp4", 72.0), ("mkv", 0.0)])
def test_the_only_picture_is_shown_as_long_as_the_sound_lasts(
    tmp_path: Path, ending: str, last_s: float
) -> None:
    pictures, changes = read(stills(tmp_path / f"song.{ending}", [0], 72, last_s=last_s))
    assert len(pictures) == 72
    assert {round(float(picture.mean()) / 30) * 30 for picture in pictures} == {60}
    only = "1 picture filled: it is the only one; it is shown as long as the sound lasts"
    assert [change.split(" (")[0] for change in changes] == ([] if last_s else [only])
    cut = remuxed([tmp_path / f"song.{ending}"], tmp_path, 30.0, 40.0)
    assert cut.duration_s == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(("codec", "format"), [("libx264", "yuv420p"), ("mjpeg", "yuvj420p")])
def test_a_few_broken_packets_are_counted_and_more_are_refused(
    tmp_path: Path, codec: str, format: str
) -> None:
    """Of the file's 358 packets one percent may be damaged."""
    whole = make_clip(
        tmp_path / "whole.mov", seconds=20, video_codec=codec, pix_fmt=format, rate_hz=8_000, size=(160, 128)
    )
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        assert len(packets) == 358
        places = [(packet.pos, packet.size) for packet in packets if packet.stream.type == "video"]
    for count in (1, 3, 4):
        content = bytearray(whole.read_bytes())
        for position, size in places[25 : 25 + count]:
            begin = position + (size // 3 if codec == "libx264" else 0)
            content[begin : position + size] = bytes(position + size - begin)
        path = tmp_path / f"broken{count}.mov"
        path.write_bytes(content)
        if count == 4:
            with pytest.raises(MediaError, match=r"4 of 3\d\d packets are damaged, the first at 2.\d s"):
                read(path)
            continue
        pictures, changes = read(path)
        assert len(pictures) == 20
        *doubtful, change = changes
        assert change.startswith(
            f"{count} damaged packet{'s' * (count > 1)} filled: the picture before it was"
        )
        assert "(at 2." in change
        # H.264 makes what follows of it, up to the next key picture; MJPEG has key pictures alone
        told = "3 frames guessed: packets before it are lost or damaged" if codec == "libx264" else ""
        assert "".join(doubtful).startswith(told) and len(doubtful) == bool(told)


def test_colours_that_cannot_be_known(tmp_path: Path) -> None:
    """A coding that H.273 reserves is taken as none is; one that is known and not converted is refused."""
    frame = frame_of(coded(PATCHES / 255, 6, full=False, bits=8))

    def tagged(matrix: int) -> Path:
        frame.colorspace = matrix
        pictures = [(k / 10, frame) for k in range(10)]
        return write(tmp_path / f"{matrix}.mkv", pictures, codec="mpeg2video", options={"b": "4000k"})

    (picture,), changes = read(tagged(3))
    np.testing.assert_allclose(patches_of(picture), PATCHES, atol=4)
    assert changes[0].startswith("1 frame guessed: how its colours are coded is not told")
    with pytest.raises(MediaError, match=r"coded as YCgCo, which is not converted \(.*8.mkv\)") as caught:
        read(tagged(8))
    assert caught.value.problem is MediaProblem.UNSUPPORTED


def test_tables_that_are_kept_give_the_same_pixels() -> None:
    """One picture after another of other sizes, pixels and colours, as PyAV converts each alone."""
    random = np.random.default_rng(3)
    for number in range(24):
        height, width = (int(2 * side) for side in random.integers(8, 60, 2))
        rgb = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format=("yuv420p", "yuv444p", "yuv420p10le")[number % 3]
        )
        frame.colorspace, frame.color_range = (1, 5, 9, 2)[number % 4], (1, 2)[number % 2]
        size = (width, height) if number % 2 else (40, 24)
        alone = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
        assert np.array_equal(reformat(frame, "rgb24", *size).to_ndarray(), alone)
