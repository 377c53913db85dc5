"""Damaged and malicious files: a status each, whatever the damage, and no more memory than a video needs."""

import csv
import os
import resource
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

from components.core.media.container import MediaError, MediaProblem
from components.core.raw.index import Status
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from tests.support.clips import make_clip, onset_s, remuxed
from tests.support.whole_clip import read_clip

OPUS = {"audio_codec": "libopus", "rate_hz": 48_000}
FILES = {
    "h264.mp4": {},
    "pcm.mov": {"audio_codec": "pcm_s16le"},
    "h264.mkv": {},
    "h264.flv": {},
    "h264.ts": {},
    "vp9.webm": {"video_codec": "libvpx-vp9", **OPUS},
    "av1.webm": {"video_codec": "libsvtav1", **OPUS},
    "hevc.mp4": {"video_codec": "libx265"},
    "surround.mkv": {"channels": 6, "rate_hz": 48_000, "audio_codec": "ac3"},
    "prores.mov": {"video_codec": "prores_ks", "pix_fmt": "yuv422p10le"},
}
MUTATIONS = 240 if settings.default.derandomize else 1000


def damaged(whole: bytes, seed: int) -> bytes:
    """The bytes truncated, with bits flipped, with a piece gone, doubled or blank, or with absurd numbers."""
    generator = np.random.default_rng(seed)
    data = bytearray(whole)

    def places(count: int, end: int) -> np.ndarray:
        return generator.integers(0, min(end, len(data) - 4), count)

    kind = seed % 5
    if kind == 0:
        del data[int(generator.integers(1, len(data))) :]
    elif kind == 1:
        for at in places(int(generator.choice([1, 3, 10, 100, 1000])), len(data)):
            data[at] ^= 1 << int(generator.integers(0, 8))
    elif kind == 2:  # in the header, wherever the container has it
        for at in places(int(generator.choice([1, 2, 5, 20])), 1500):
            data[at if seed % 2 else len(data) - 1 - at] = int(generator.choice([0, 127, 128, 255]))
    elif kind == 3:
        first, count = int(places(1, len(data))[0]), int(generator.integers(1, 2000))
        piece = data[first : first + count]
        data[first : first + count] = (b"", piece + piece, bytes(len(piece)))[int(generator.integers(0, 3))]
    else:
        for at in places(int(generator.choice([1, 4, 30])), len(data)):
            number = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000)[int(generator.integers(0, 6))]
            data[at : at + 4] = struct.pack(">I", number)
    return bytes(data)


def test_every_damage_has_a_status(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    wholes = {
        name: make_clip(folder / name, seconds=4, fps=12.5, flashes_s=(2.4,), **options).read_bytes()
        for name, options in FILES.items()
    }
    names = list(FILES)
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source", "start_s", "end_s"])
        for seed in range(MUTATIONS):
            name = names[seed % len(names)]
            path = folder / f"{seed:03d}_{name}"
            path.write_bytes(damaged(wholes[name], seed // len(names) + 1000 * (seed % len(names))))
            writer.writerow([path.stem, path, *(("", "") if seed % 3 else ("1.2", "3.4"))])
    paths, engine = Paths(tmp_path / "data"), EngineParams(workers=2)
    rows = ingest(IngestParams(manifest=str(tmp_path / "manifest.csv"), item_timeout_s=300.0), engine, paths)
    assert len(rows) == MUTATIONS
    counts = Counter(row.status for row in rows)
    judged = {Status.OK, *(Status(problem.value) for problem in MediaProblem)}
    strange = {row.video_id: (row.status, row.message) for row in rows if row.status not in judged}
    assert not strange, strange  # no crash, no hang, no exception without a meaning
    assert counts[Status.OK] > MUTATIONS // 5 and counts[Status.CORRUPT] > MUTATIONS // 5, counts
    for row in rows:
        assert row.message or row.status is Status.OK, row
        assert (row.path is not None and (paths.raw / row.path).is_file()) == (row.status is Status.OK)
    media = extract(ExtractParams(item_timeout_s=300.0), engine, paths)
    for before, after in zip(rows, media, strict=True):
        if before.status is Status.OK:  # it was decoded once, so it decodes again
            seconds = int((before.duration_s or 0.0) + 0.02)
            assert (after.status, after.frames) in {("ok", seconds), ("ok", seconds + 1)}, (before, after)


def vp8_of(size: tuple[int, int]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = bytearray(make_clip(path, seconds=2, video_codec="libvpx", **OPUS).read_bytes())
        at = data.index(b"\x9d\x01\x2a")  # the start of the first key picture: its size follows
        data[at + 3 : at + 7] = struct.pack("<HH", *size)
        path.write_bytes(data)

    return write


def prores_of(size: tuple[int, int]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = bytearray(
            make_clip(path, seconds=2, video_codec="prores_ks", pix_fmt="yuv422p10le").read_bytes()
        )
        at = data.index(b"stsd") + 16  # the name of the first kind of sample
        data[at + 28 : at + 32] = struct.pack(">HH", *size)
        at = 0
        while (at := data.find(b"icpf", at + 1)) > 0:  # every picture has its size, too
            data[at + 12 : at + 16] = struct.pack(">HH", *size)
        path.write_bytes(data)

    return write


def jpegs_of(size: tuple[int, int]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        clip = make_clip(path, seconds=2, video_codec="mjpeg", pix_fmt="yuvj420p")
        data = bytearray(clip.read_bytes())
        at = 0
        while (at := data.find(b"\xff\xc0\x00\x11\x08", at + 1)) > 0:
            data[at + 5 : at + 9] = struct.pack(">HH", size[1], size[0])
        path.write_bytes(data)

    return write


def years_away(path: Path) -> None:
    make_clip(path, times_s=[*(k / 10 for k in range(30)), 3e7], seconds=3)


def hours_still(path: Path) -> None:
    make_clip(path, times_s=[*(k / 10 for k in range(30)), 30_000.0], seconds=3)


def a_billion_samples(path: Path) -> None:
    data = bytearray(make_clip(path, seconds=3, video_options={"bf": "0"}).read_bytes())
    for at in range(len(data) - 4):
        if data[at : at + 4] == b"stts":
            data[at + 12 : at + 16] = struct.pack(">I", 10**9)
        elif data[at : at + 4] == b"stsc":
            data[at + 16 : at + 20] = struct.pack(">I", 10**9)
        elif data[at : at + 4] == b"stsz":
            data[at + 8 : at + 16] = struct.pack(">II", 8, 10**9)
    path.write_bytes(data)


def one_sample_a_second(path: Path) -> None:
    """Sound of 1 Hz: every sample would become 16 000."""
    make_clip(path.with_suffix(".mkv"), seconds=3, audio_codec=None)
    with av.open(str(path.with_suffix(".mkv"))) as source, av.open(str(path), "w") as target:
        pictures = source.streams.video[0]
        video = target.add_stream_from_template(pictures)
        audio = target.add_stream("pcm_s16le", rate=1, layout="mono")
        for packet in source.demux(pictures):
            if packet.dts is not None:
                packet.stream = video
                target.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.ones((1, 1_000_000), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 1, 0, Fraction(1, 1)
        target.mux(audio.encode(frame))


def wide_pixels(path: Path) -> None:
    data = bytearray(make_clip(path, seconds=3, video_options={"aspect": "2"}).read_bytes())
    at = data.index(b"pasp") + 4
    data[at : at + 8] = struct.pack(">II", 60_000, 1)
    path.write_bytes(data)


JUDGE = """
import resource, sys
from pathlib import Path
from components.core.media.container import MediaError
from components.extract.extract_video import ClipReader
from components.core.records.changes import Changes
from components.ingest.remux import remux
from components.ingest.verify import verify
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    path, frame_s = remux([Path(sys.argv[1])], Path(sys.argv[2]), start_s=None, end_s=None, changes=Changes())
    verified = verify(path, min_duration_s=1.0, frame_s=frame_s)
    print("ok", sum(1 for _ in ClipReader(verified.path)), "frames")
except MediaError as error:
    print(error.problem, error.what)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "write", "verdict"),
    [
        ("vp8.webm", vp8_of((16_383, 16_383)), "corrupt no picture could be decoded"),
        ("prores.mov", prores_of((16_000, 16_000)), "unsupported its pictures of 24000x16000 are larger"),
        ("huge.mov", prores_of((60_000, 60_000)), "unsupported|corrupt|no_video"),
        ("jpegs.mkv", jpegs_of((60_000, 60_000)), "corrupt|unsupported"),
        ("years.mkv", years_away, "unsupported the video lasts longer than 12 hours"),
        ("still.mkv", hours_still, "corrupt no picture for"),
        (
            "billion.mp4",
            a_billion_samples,
            "corrupt the header promises 1000000000 packets of the picture track",
        ),
        ("slow_sound.mov", one_sample_a_second, "no_audio|corrupt"),
        ("wide.mp4", wide_pixels, "ok 3 frames"),
    ],
)
def test_promises_take_no_memory(
    tmp_path: Path, name: str, write: Callable[[Path], None], verdict: str
) -> None:
    path = tmp_path / name
    write(path)
    assert path.stat().st_size < 3_000_000
    limit = 6 << 30  # of address space: what goes wrong here ends the child, not the machine
    found = subprocess.run(
        [sys.executable, "-c", JUDGE, str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert found.returncode == 0, found.stderr[-2000:]
    *said, grown_mb = found.stdout.split("\n")[:-1]
    assert any(said[-1].startswith(allowed) for allowed in verdict.split("|")), said
    assert int(grown_mb) < 400


def test_a_stream_that_the_header_does_not_name_is_passed_over(tmp_path: Path) -> None:
    """FLV tells its streams as they come: another sound track in the middle ends nothing."""
    data = bytearray(make_clip(tmp_path / "a.flv", seconds=8, flashes_s=(2.4,)).read_bytes())
    at, sounds = 13, 0
    while at < len(
        data
    ):  # a tag: kind, 3 bytes of size, 4 of time, 3 of stream number; its size again at the end
        end = at + 15 + int.from_bytes(data[at + 1 : at + 4], "big")
        sounds += data[at] == 8
        if data[at] == 8 and sounds == 300:
            tag = data[at:end]
            tag[11] = 0x2F  # MP3
            data[at:at] = tag
            break
        at = end
    (tmp_path / "b.flv").write_bytes(data)
    assert sounds == 300
    clip = read_clip(tmp_path / "b.flv")
    assert len(clip.frames) == 8
    assert onset_s(clip.audio) == pytest.approx(2.4, abs=0.02)


def test_pictures_without_a_decoder_are_unsupported(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", seconds=3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(MediaError) as caught:
        remuxed([path], tmp_path)
    assert caught.value.problem is MediaProblem.UNSUPPORTED


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="a system without schedulers to choose")
def test_encoding_av1_leaves_the_tests_at_the_usual_priority(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.webm", seconds=0.5, video_codec="libsvtav1", **OPUS)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
