"""The CPU time of the extract stage, and of FFmpeg's own program for the same.

Run from the repository root:
    PYTHONPATH=. python benchmarks/extraction.py --ffmpeg PATH [--seconds 60] [--copies 4] [--rounds 3]

Both make one JPEG a second and a 16 kHz mono WAV of every clip, each in one decode. FFmpeg runs in two ways:
clip after clip with all cores on each, and as many clips at a time as there are cores with one thread each.
The stage does more: it checks every file to its end, hashes and syncs what it writes, and keeps an index.
CPU seconds (user and system, of all processes) hold on a busy machine, where wall time says nothing; the
start of the stage's worker processes is in them.

The clips (30 pictures a second, of a photograph of the sample kit under a camera that pans, with objects that
move across and grain) are H.264 of three sizes with a key picture every 10 s, VP9 and AV1.
"""

import argparse
import ctypes
import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from PIL import Image

from components.core.raw.index import RawEntry, Status, write_raw_index
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract.params import ExtractParams
from components.extract.stage import extract

KIT = Path("data/sample/kit")
FPS, RATE_HZ = 30, 48_000
H264 = {"preset": "veryfast", "g": str(10 * FPS), "keyint_min": str(10 * FPS)}
CLIPS = {  # height, codec, its options, the codec of the sound
    "h264_360p.mp4": (360, "libx264", H264, "aac"),
    "h264_720p.mp4": (720, "libx264", H264, "aac"),
    "h264_1080p.mp4": (1080, "libx264", H264, "aac"),
    "vp9_720p.webm": (720, "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "b": "2500k"}, "libopus"),
    "av1_720p.webm": (720, "libsvtav1", {"preset": "12", "crf": "40"}, "libopus"),
}


def main() -> None:
    """Make the clips, let the three ways run in turn over each kind of file, print the medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ffmpeg", required=True, help="the program, e.g. the one of imageio-ffmpeg")
    parser.add_argument("--seconds", type=int, default=60, help="length of a clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the clips here, and use them if they are there")
    parser.add_argument("--copies", type=int, default=4, help="how often each clip stands in the list")
    parser.add_argument("--only", default="", help="clips whose name begins so")
    arguments = parser.parse_args()
    _gather_orphans()
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores; {arguments.copies} times a clip of {arguments.seconds} s\n")
    print("| clip | extract, CPU s | ffmpeg, threads on a clip | ffmpeg, a thread a clip | extract / best |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "clips"
        for number, name in enumerate(name for name in CLIPS if name.startswith(arguments.only)):
            if not (folder / name).is_file():
                make_clip(folder / name, number, arguments.seconds)
                # for root SVT-AV1 gives the process the highest real-time priority, and all that it starts
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            clips = [Path(temporary) / f"{copy}_{name}" for copy in range(arguments.copies)]
            for clip in clips:
                clip.symlink_to((folder / name).absolute())
            ways: list[Callable[[Path], None]] = [
                partial(ours, clips, workers=cores),
                partial(theirs, arguments.ffmpeg, clips, at_a_time=1, threads="0"),
                partial(theirs, arguments.ffmpeg, clips, at_a_time=cores, threads="1"),
            ]
            rounds = []
            for _ in range(arguments.rounds):
                row = []
                for work in ways:
                    target = Path(tempfile.mkdtemp(dir=temporary))
                    row.append(cpu_s(work, target))
                    count = len(list(target.rglob("*.jpg")))
                    if abs(count - arguments.seconds * len(clips)) > 2 * len(clips):
                        raise SystemExit(f"{name}: {count} frames were made")
                    shutil.rmtree(target)
                rounds.append(row)
            seconds = np.array(rounds)
            ratios = seconds[:, 0] / seconds[:, 1:].min(axis=1)
            shown = " | ".join(f"{value:.2f}" for value in np.median(seconds, axis=0))
            span = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
            print(f"| {name} | {shown} | {span} |", flush=True)


def _gather_orphans() -> None:
    """Become the parent of processes whose parent ends (PR_SET_CHILD_SUBREAPER): their time counts, too."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def cpu_s(work: Callable[[Path], None], target: Path) -> float:
    """User and system seconds of some work, in a process of its own, and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(target)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("a way failed")
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(clips: list[Path], target: Path, *, workers: int) -> None:
    """The stage, its index included; the raw index is written beforehand as ingest would."""
    paths = Paths(target)
    paths.raw.mkdir()
    entries = []
    for clip in clips:
        (paths.raw / clip.name).symlink_to(clip.absolute())
        entries.append(RawEntry(clip.stem, Status.OK, "", 1, "x", None, None, "x", clip.name, sha256="x"))
    write_raw_index(paths.raw / "index.parquet", entries)
    rows = extract(ExtractParams(), EngineParams(workers=workers), paths)
    assert all(row.status == "ok" for row in rows), rows


def theirs(ffmpeg: str, clips: list[Path], target: Path, *, at_a_time: int, threads: str) -> None:
    """One command per clip: JPEGs and the WAV."""

    def run(clip: Path) -> None:
        folder = target / clip.stem
        folder.mkdir()
        command = [ffmpeg, "-v", "error", "-nostdin", "-threads", threads, "-i", str(clip)]
        command += ["-vf", "fps=1", "-q:v", "2", "-threads", threads, str(folder / "%05d.jpg")]
        command += ["-vn", "-ac", "1", "-ar", "16000", str(folder / "sound.wav")]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(run, clips))


def make_clip(path: Path, seed: int, seconds: int) -> None:
    """A photograph under a panning camera, objects crossing it, grain, and a recorded sound."""
    chance = np.random.default_rng(seed)
    height, codec, options, audio_codec = CLIPS[path.name]
    width = height * 16 // 9
    backgrounds = sorted((KIT / "backgrounds").iterdir())
    photograph = Image.open(backgrounds[seed % len(backgrounds)]).convert("RGB")
    wide = np.asarray(photograph.resize((width * 3 // 2, height * 3 // 2)))
    sprites = sorted((KIT / "sprites").rglob("*.png")) or sorted((KIT / "sprites").rglob("*.webp"))
    objects = [Image.open(sprites[int(k)]).convert("RGBA") for k in chance.integers(0, len(sprites), 3)]
    objects = [picture.resize((height * 5 // 12, height * 5 // 12)) for picture in objects]
    grain = chance.normal(0, 4, (8, height, width, 1)).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream(audio_codec, rate=RATE_HZ, layout="stereo")
        for k in range(seconds * FPS):
            x = round((np.sin(k / 90 + seed) + 1) / 2 * width / 2)
            y = round((np.cos(k / 130) + 1) / 2 * height / 2)
            picture = Image.fromarray(wide[y : y + height, x : x + width])
            for number, item in enumerate(objects):
                at = (
                    (k * (4 + 3 * number)) % (width + height // 2) - height // 2,
                    height * (1 + 3 * number) // 12,
                )
                picture.paste(item, at, item)
            noisy = np.clip(np.asarray(picture).astype(np.int16) + grain[k % 8], 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, FPS)
            container.mux(video.encode(frame))
            t = np.arange(k * RATE_HZ // FPS, (k + 1) * RATE_HZ // FPS) / RATE_HZ
            tone = 0.3 * np.sin(2 * np.pi * (220 + 40 * np.sin(t)) * t) + chance.normal(0, 0.02, len(t))
            sound = av.AudioFrame.from_ndarray(
                np.repeat(tone[None].astype(np.float32), 2, axis=0), format="fltp", layout="stereo"
            )
            sound.sample_rate, sound.pts, sound.time_base = RATE_HZ, k * RATE_HZ // FPS, Fraction(1, RATE_HZ)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    main()
