"""What ingest keeps and extract makes of every kind of file: cut to the frame, in sync, in the right colours.

Each clip counts its pictures in grey and has a white flash and a beep together. It is taken whole and cut,
and judged twice: on the kept file, picture by picture, and on the JPEGs and the WAV that extract makes of it.
"""

import wave
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from components.core.media.container import MediaError
from components.core.media.decode import decode
from components.core.media.sound import Soundtrack
from components.core.raw.index import RawEntry, Status
from components.core.storage.folder import FolderStore
from components.extract.extract_video import Task, extract_video
from components.extract.params import ExtractParams
from components.ingest.verify import Verified
from tests.support.clips import grey, make_clip, onset_s, remuxed

FPS = 25.0
SECONDS, FLASH_S = 4.0, 2.4
OPUS = {"audio_codec": "libopus", "rate_hz": 48_000}
VP8 = {"video_codec": "libvpx", **OPUS}
TEN_BIT = {"pix_fmt": "yuv420p10le"}
UNSTEADY_S = np.cumsum([0.0, *np.random.default_rng(5).choice([0.02, 0.033, 0.05, 0.12], 200)])
UNSTEADY_S = [float(time_s) for time_s in UNSTEADY_S if time_s < SECONDS]


@dataclass(frozen=True)
class Case:
    """A file to be judged; its pictures are at `times_s`, of which those from `skipped` on are seen."""

    name: str
    options: dict = field(default_factory=dict)
    make: Callable[[Path, dict], Path] | None = None
    times_s: list[float] = field(default_factory=lambda: [k / FPS for k in range(round(SECONDS * FPS))])
    skipped: int = 0
    size: tuple[int, int] = (96, 64)  # as seen
    flash_s: float = FLASH_S
    channels_share: float = 1.0  # of the loudness that is left when the channels become one


def edited(path: Path, options: dict) -> Path:
    """A file that a phone or an editor shortened without encoding: an edit list leaves out 0.48 s."""
    whole = make_clip(path.with_name("whole.mkv"), **options)
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                shift = round(0.48 / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return path


def with_commentary(path: Path, options: dict) -> Path:
    """Two sound tracks: first a commentary that beeps elsewhere and has more channels, then the main one."""
    main = make_clip(path.with_name("main.mp4"), **options)
    other = make_clip(
        path.with_name("other.mp4"), **(options | {"flashes_s": (0.3, 1.3, 3.1), "channels": 6})
    )
    packets = []
    with ExitStack() as stack:
        target = stack.enter_context(av.open(str(path), "w"))
        for number, (file, kind) in enumerate([(main, "video"), (other, "audio"), (main, "audio")]):
            source = stack.enter_context(av.open(str(file)))
            stream = source.streams.best(kind)
            written = target.add_stream_from_template(stream)
            if kind == "audio":
                written.disposition = av.stream.Disposition.default if file is main else 0
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packets.append((float(packet.dts * packet.time_base), number, packet, written))
        for _, _, packet, written in sorted(packets, key=lambda item: item[:2]):
            packet.stream = written
            target.mux(packet)
    return path


def shipped(path: Path, options: dict) -> Path:
    """PyAV's libvpx writes no 10 bits: made with FFmpeg's program of the same grey clip."""
    path.write_bytes((Path(__file__).parents[1] / "data" / "media" / path.name).read_bytes())
    return path


CASES = [
    Case("h264.mp4", {"video_options": {"bf": "3", "g": "250"}}),
    Case("h264.mov"),
    Case("h264.flv"),
    Case("h264.mkv"),
    Case("h264_10bit.mov", TEN_BIT),
    Case("h264_444.mp4", {"pix_fmt": "yuv444p"}),
    Case("hevc.mp4", {"video_codec": "libx265"}),
    Case("hevc_10bit.mkv", {"video_codec": "libx265", **TEN_BIT}),
    Case("vp9.webm", {"video_codec": "libvpx-vp9", **OPUS}),
    Case("vp9.mp4", {"video_codec": "libvpx-vp9", **OPUS}),
    Case("vp9_10bit.webm", make=shipped),
    Case("av1.webm", {"video_codec": "libsvtav1", **OPUS}),
    Case("av1.mp4", {"video_codec": "libsvtav1"}),
    Case("av1_10bit.mkv", {"video_codec": "libsvtav1", **TEN_BIT}),
    Case("pcm.mov", {"audio_codec": "pcm_s16le"}),
    Case("interlaced.mp4", {"video_options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}}),
    Case("odd.webm", {"video_codec": "libvpx-vp9", "size": (95, 63), **OPUS}, size=(95, 63)),
    Case("turned.mp4", {"rotation": 90}, size=(64, 96)),
    Case("unsteady.mkv", {"times_s": UNSTEADY_S}, times_s=UNSTEADY_S),
    Case("unsteady.mp4", {"times_s": UNSTEADY_S}, times_s=UNSTEADY_S),
    Case("negative.ts", {"offset_s": -0.48}),
    Case("late_start.ts", {"offset_s": 7.0}),
    Case("edited.mp4", {"video_options": {"g": "50"}}, make=edited, skipped=12, flash_s=FLASH_S - 0.48),
    Case("edited.mov", {"video_options": {"g": "50"}}, make=edited, skipped=12, flash_s=FLASH_S - 0.48),
    Case("commentary.mkv", make=with_commentary),
    Case("commentary.mp4", make=with_commentary),
    *[
        Case(f"surround_{codec}.{ending}", {"channels": 6, "rate_hz": 48_000, "audio_codec": codec, **more})
        for codec, ending, more in (
            ("aac", "mp4", {}),
            ("ac3", "mkv", {}),
            ("libopus", "webm", {"video_codec": "libvpx-vp9"}),
        )
    ],
    *[
        Case(
            f"only_{name}.mp4",
            {"channels": 6, "rate_hz": 48_000, "loud_channels": (channel,)},
            channels_share=share,
        )  # mono of 5.1: the sides and the centre as ITU-R BS.775 has them, scaled so that nothing clips
        for channel, name, share in ((0, "left", 0.207), (2, "centre", 0.293), (5, "right_back", 0.146))
    ],
    *[
        Case(f"late_sound.{ending}", {"sound_from_s": 0.9, **more})
        for ending, more in (
            ("mp4", {}),
            ("mkv", {}),
            ("flv", {}),
            ("webm", VP8),
        )
    ],
    *[
        Case(f"short_sound.{ending}", {"sound_until_s": 2.7, **more})
        for ending, more in (
            ("mp4", {}),
            ("mkv", {}),
            ("flv", {}),
            ("webm", VP8),
        )
    ],
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A case and its file, made once."""
    case, folder = request.param, tmp_path_factory.mktemp("source")
    options = {"seconds": SECONDS, "fps": FPS, "flashes_s": (FLASH_S,)} | case.options
    path = folder / case.name
    return case, case.make(path, options) if case.make else make_clip(path, **options)


def extracted(verified: Verified, folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Extract's JPEGs and its 16 kHz sound of the kept file."""
    entry = RawEntry("clip", Status.OK, "", 1, "somewhere", None, None, "x", path=verified.path.name)
    raw, media = FolderStore(verified.path.parent), FolderStore(folder)
    row = extract_video(Task(entry, ExtractParams(), raw, media))
    assert (row.status, row.message) == ("ok", "")
    frames = [np.asarray(Image.open(file)) for file in sorted((folder / "frames" / "clip").iterdir())]
    with wave.open(str(folder / "audio" / "clip.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(sound) == 16_000 * len(frames)
    return frames, sound.astype(np.float32) / 32768.0


@pytest.mark.parametrize("part_s", [(None, None), (1.2, 3.4), (0.77, None)], ids=["whole", "part", "tail"])
def test_kept_and_extracted(
    tmp_path: Path, made: tuple[Case, Path], part_s: tuple[float | None, float | None]
) -> None:
    case, source = made
    (tmp_path / "work").mkdir()
    verified = remuxed([source], tmp_path / "work", start_s=part_s[0], end_s=part_s[1])
    assert (verified.path == source) == (part_s == (None, None))
    start_s = part_s[0] or 0.0
    skipped_s = case.times_s[case.skipped]
    lasts_s = SECONDS - skipped_s
    length_s = min(part_s[1] or lasts_s, lasts_s) - start_s
    longest_s = max(b - a for a, b in zip(case.times_s, case.times_s[1:], strict=False))  # of the pictures
    assert verified.duration_s == pytest.approx(length_s, abs=longest_s)
    even = 0 if part_s == (None, None) else 1  # H.264 has only even sizes: a line is repeated
    assert (verified.width, verified.height) == tuple(n + n % 2 * even for n in case.size)

    sound = Soundtrack(rate_hz=16_000)
    pictures = [(picture.time_s, picture.rgb()) for picture in decode(verified.path, sound, threads=1)]
    white_s = next(time_s for time_s, rgb in pictures if grey(rgb) > 235)
    seen = [time_s - skipped_s for time_s in case.times_s]
    flashed_s = next(time_s for time_s in seen if time_s >= case.flash_s - 1e-6)
    beep_s = onset_s(sound.samples(round(length_s * 16_000))[:, 0])
    assert white_s == pytest.approx(flashed_s - start_s, abs=longest_s)
    assert beep_s == pytest.approx(case.flash_s - start_s, abs=0.02)
    assert abs((white_s - flashed_s) - (beep_s - case.flash_s)) < 0.02

    frames, heard = extracted(verified, tmp_path / "media")
    assert len(frames) == int(length_s + min(0.5 / FPS, longest_s / 2))
    for k, frame in enumerate(frames):
        middle_s = start_s + k + 0.5
        shown = [number for number, time_s in enumerate(seen) if time_s <= middle_s + 1e-3][-1]
        if not case.flash_s - longest_s <= middle_s <= case.flash_s + 0.1 + longest_s:
            assert (grey(frame) - 20) / 2 == pytest.approx(shown, abs=2.1), f"second {k}"
    if len(heard) > (case.flash_s - start_s) * 16_000:
        assert onset_s(heard) == pytest.approx(case.flash_s - start_s, abs=0.02)
        loudest = np.abs(heard).max()
        assert loudest == pytest.approx(0.8 * case.channels_share, rel=0.1)


def test_a_file_that_cannot_be_searched_is_cut_from_its_beginning(tmp_path: Path) -> None:
    """Matroska with times before zero: FFmpeg refuses to seek in it."""
    source = make_clip(tmp_path / "a.mkv", seconds=4, fps=FPS, flashes_s=(FLASH_S,), offset_s=-0.48)
    verified = remuxed([source], tmp_path, start_s=1.2, end_s=3.6)
    assert verified.duration_s == pytest.approx(2.4, abs=0.05)


PATCHES = [(200, 40, 40), (40, 180, 60), (50, 60, 210), (230, 230, 230)]
WEIGHTS = {"bt709": (0.2126, 0.0722, 1), "bt601": (0.299, 0.114, 5)}  # of red and blue; FFmpeg's number


def coloured(path: Path, matrix: str, *, full_range: bool) -> Path:
    """Four patches of known colours, as Y'CbCr by the matrix and the range that the file's header names."""
    red, blue, number = WEIGHTS[matrix]
    rgb = np.repeat(np.repeat(np.array([PATCHES]) / 255, 64, axis=0), 24, axis=1)  # [64, 96, 3]
    luma = rgb @ [red, 1 - red - blue, blue]
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    planes = [luma * 255, *(c * 255 + 128 for c in chroma)] if full_range else None
    planes = planes or [luma * 219 + 16, *(c * 224 + 128 for c in chroma)]
    flat = [planes[0].ravel(), planes[1][::2, ::2].ravel(), planes[2][::2, ::2].ravel()]
    array = np.concatenate(flat).round().astype(np.uint8).reshape(96, 96)
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=44_100)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.colorspace, video.codec_context.color_range = number, 2 if full_range else 1
        for k in range(20):
            frame = av.VideoFrame.from_ndarray(array, format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, 10)
            frame.colorspace, frame.color_range = number, 2 if full_range else 1
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 88_200), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 44_100, 0
        container.mux(audio.encode(silence))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
def test_colours(tmp_path: Path, matrix: str, full_range: bool) -> None:
    source = coloured(tmp_path / "a.mp4", matrix, full_range=full_range)
    for start_s in (None, 0.5):
        verified = remuxed([source], tmp_path, start_s=start_s, end_s=None)
        (frame, *_), _ = extracted(verified, tmp_path / "media")
        found = [frame[20:44, 24 * k + 10 : 24 * k + 14].mean(axis=(0, 1)) for k in range(4)]
        np.testing.assert_allclose(found, PATCHES, atol=6)


def test_pictures_and_sound_that_share_no_moment(tmp_path: Path) -> None:
    """A part in which the sound is over already is silent, but it is there."""
    source = make_clip(tmp_path / "a.mp4", seconds=5, fps=FPS, flashes_s=(0.5,), sound_until_s=1.0)
    verified = remuxed([source], tmp_path, start_s=2.0, end_s=4.0)
    frames, heard = extracted(verified, tmp_path / "media")
    assert len(frames) == 2
    assert np.abs(heard).max() == 0
    with pytest.raises(MediaError, match="nothing lies between"):
        remuxed([source], tmp_path, start_s=6.0, end_s=8.0)
