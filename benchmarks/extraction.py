"""How long the extract stage takes, and how long FFmpeg's own program takes for the same on the same cores.

Run from the repository root:
    python benchmarks/extraction.py --ffmpeg PATH [--seconds 60] [--copies 4] [--rounds 3] [--folder KEEP]

Both make one JPEG a second and a 16 kHz mono WAV of every clip, each in one decode. FFmpeg runs in two ways:
clip after clip with all cores on each, and as many clips at a time as there are cores with one thread each.
The stage does more: it checks every file to its end, hashes and syncs what it writes, and keeps an index.

The clips (H.264 with AAC three times, VP9 and AV1 with Opus; 1280x720, 30 pictures a second) are photographs
of the sample kit under a camera that pans, with objects that move across and grain.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
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
WIDTH, HEIGHT, FPS, RATE_HZ = 1280, 720, 30, 48_000
CLIPS = {
    "h264_0.mp4": ("libx264", {"preset": "veryfast"}, "aac"),
    "h264_1.mp4": ("libx264", {"preset": "veryfast"}, "aac"),
    "h264_2.mp4": ("libx264", {"preset": "veryfast"}, "aac"),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "b": "2500k"}, "libopus"),
    "av1.webm": ("libsvtav1", {"preset": "12", "crf": "40"}, "libopus"),
}


def main() -> None:
    """Make the clips, let the three ways run in turn, print the median times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ffmpeg", required=True, help="the program, e.g. the one of imageio-ffmpeg")
    parser.add_argument("--seconds", type=int, default=60, help="length of a clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the clips here, and use them if they are there")
    parser.add_argument("--copies", type=int, default=4, help="how often each clip stands in the list")
    parser.add_argument("--only", help="clips whose name begins so")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "clips"
        for number, name in enumerate(CLIPS):
            if not (folder / name).is_file():
                print(f"making {name}", file=sys.stderr)
                make_clip(folder / name, number, arguments.seconds)
                # for root SVT-AV1 gives the process the highest real-time priority, and all that it starts
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        clips = []
        for copy in range(arguments.copies):
            for name in (name for name in CLIPS if name.startswith(arguments.only or "")):
                clips.append(Path(temporary) / f"{copy}_{name}")
                clips[-1].symlink_to((folder / name).absolute())
        outputs = Path(temporary) / "outputs"
        ways: dict[str, Callable[[Path], None]] = {
            "extract": lambda target: ours(clips, target, cores),
            "ffmpeg, all cores on a clip": lambda target: theirs(arguments.ffmpeg, clips, target, 1, "0"),
            f"ffmpeg, {cores} clips at a time": lambda target: theirs(
                arguments.ffmpeg, clips, target, cores, "1"
            ),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(arguments.rounds):
            for way, work in ways.items():
                target = outputs / f"{number} {way}"
                target.mkdir(parents=True)
                start = time.perf_counter()
                work(target)
                times[way].append(time.perf_counter() - start)
                count = len(list(target.rglob("*.jpg")))
                if abs(count - arguments.seconds * len(clips)) > 2 * len(clips):
                    raise SystemExit(f"{way} made {count} frames")
                shutil.rmtree(target)
        print(f"{platform.machine()}, {cores} cores; {len(clips)} clips of {arguments.seconds} s")
        medians = {way: float(np.median(values)) for way, values in times.items()}
        for way, values in times.items():
            ratio = medians[way] / medians["extract"]
            shown = " ".join(f"{value:.2f}" for value in values)
            print(f"{way:28s} {medians[way]:7.2f} s ({shown}), {ratio:.2f} of extract's time")


def ours(clips: list[Path], target: Path, workers: int) -> None:
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


def theirs(ffmpeg: str, clips: list[Path], target: Path, at_a_time: int, threads: str) -> None:
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
    backgrounds = sorted((KIT / "backgrounds").iterdir())
    photograph = Image.open(backgrounds[seed % len(backgrounds)]).convert("RGB")
    wide = np.asarray(photograph.resize((WIDTH * 3 // 2, HEIGHT * 3 // 2)))
    sprites = sorted((KIT / "sprites").rglob("*.png")) or sorted((KIT / "sprites").rglob("*.webp"))
    objects = [Image.open(sprites[int(k)]).convert("RGBA") for k in chance.integers(0, len(sprites), 3)]
    objects = [picture.resize((300, 300)) for picture in objects]
    grain = chance.normal(0, 4, (8, HEIGHT, WIDTH, 1)).astype(np.int16)
    codec, options, audio_codec = CLIPS[path.name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream(audio_codec, rate=RATE_HZ, layout="stereo")
        for k in range(seconds * FPS):
            x = round((np.sin(k / 90 + seed) + 1) / 2 * WIDTH / 2)
            y = round((np.cos(k / 130) + 1) / 2 * HEIGHT / 2)
            picture = Image.fromarray(wide[y : y + HEIGHT, x : x + WIDTH])
            for number, item in enumerate(objects):
                at = ((k * (4 + 3 * number)) % (WIDTH + 300) - 300, 60 + 180 * number)
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
