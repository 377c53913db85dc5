"""Does prediction need more memory for a longer video? Peak memory and seconds, each in a process of its own.

    python benchmarks/inference.py                     clips of 60, 600 and 3,600 frames through find_sounding
    python benchmarks/inference.py --part video        the video module alone, streamed and in one piece
    python benchmarks/inference.py --part file         `avis predict` on H.264 files of 1 and 20 minutes
                                                       (--size 1920x1080 --tracks 50: many objects)

Frames (640x360) and sound are made as they are asked for; weights are random, and every candidate is given
its masks, so nothing is saved where an object is silent or scores low. Run from the repository root.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, SOUND_RATE_HZ = 640, 360, 16_000
MOST_GROWTH_MB = 300  # an hour over a minute
FILE_RATE_HZ = 2
PUBLISHED = {"short_side_px": 360, "model": {"backbone": "resnet50"}}  # the defaults of AvismConfig
VIDEO_MODULE: dict[str, Any] = {  # as published
    "channels": 256,
    "heads": 8,
    "frame_queries": 100,
    "video_queries": 100,
    "encoder_layers": 6,
    "decoder_layers": 3,
    "hidden": 2048,
    "window": 6,
    "categories": 26,
    "audio_channels": 128,
    "presence_head": False,
}


def settings(name: str) -> dict[str, Any]:
    """The model's settings and its frames' short side: of the demo, or as published with ResNet-50."""
    import yaml

    if name == "published":
        return PUBLISHED
    train = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    model = {key: value for key, value in train["model"].items() if key != "name"}
    return {"short_side_px": train["test_short_side_px"], "model": {**model, "backbone_pretrained": False}}


def pictures(frames: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[Any]:
    """A photograph-like picture that drifts, another part of it in every frame."""
    import cv2
    import numpy as np

    small = np.random.default_rng(0).integers(0, 256, (HEIGHT // 20, WIDTH // 10, 3), dtype=np.uint8)
    wide = cv2.resize(small, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    for frame in range(frames):
        start = 7 * frame % width
        yield np.ascontiguousarray(wide[:, start : start + width])


def sounds(frames: int, rate_hz: int = SOUND_RATE_HZ) -> Iterator[Any]:
    """A second of a tone for each frame, float32 [rate_hz], of another height every second."""
    import numpy as np

    t = np.arange(rate_hz, dtype=np.float32) / rate_hz
    for frame in range(frames):
        yield (0.3 * np.sin(2 * np.pi * (200 + 37 * (frame % 50)) * t)).astype(np.float32)


def peak_mb() -> float:
    """The most memory (resident) that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def clip_case(frames: int, model_name: str, precision: str) -> dict[str, float]:
    """find_sounding on a clip of noise, masks at 640x360."""
    import torch

    from components.core.clips.reader import resize
    from components.core.records.masks import encode
    from models import build
    from models.inference.offline import find_sounding
    from models.networks.precision import autocast_type

    chosen = settings(model_name)
    torch.manual_seed(0)
    model = build("avism", categories=26, **chosen["model"]).eval()
    deaf = model.config.audio != "vggish"
    passes = 0

    def clip() -> Iterator[Any]:
        nonlocal passes
        passes += 1
        for picture, sound in zip(pictures(frames), sounds(frames), strict=True):
            yield resize(picture, chosen["short_side_px"]), sound[:128] if deaf else sound

    before_mb = peak_mb()
    start = time.perf_counter()
    tracks = find_sounding(
        model,
        clip,
        size=(HEIGHT, WIDTH),
        encode=encode,
        threshold=0.0,
        precision=autocast_type(precision, torch.device("cpu")),
    )
    seconds = time.perf_counter() - start
    masks = {id(mask): mask for track in tracks for mask in track.masks}
    return {
        "frames": frames,
        "peak_mb": peak_mb(),
        "before_mb": before_mb,
        "seconds": seconds,
        "seconds_per_frame": seconds / frames,
        "processor_seconds": time.process_time(),
        "passes": passes,
        "tracks": len(tracks),
        "mask_megabytes": sum(len(mask["counts"]) for mask in masks.values()) / 1e6,
    }


def video_case(frames: int, streamed: bool) -> dict[str, Any]:
    """The published video module on 100 frame queries of 256 channels a frame."""
    import torch

    from models.inference.video_module_stream import VideoStream
    from models.networks.avism.video_module import VideoModule

    torch.manual_seed(0)
    module = VideoModule(**VIDEO_MODULE).eval()
    random = torch.Generator().manual_seed(1)
    piece = 18

    def pieces() -> Iterator[tuple[Any, Any]]:
        for first in range(0, frames, piece):
            count = min(piece, frames - first)
            yield (
                torch.randn(count, 100, 256, generator=random),
                torch.randn(count, 128, generator=random),
            )

    before_mb = peak_mb()
    with torch.inference_mode():
        if streamed:
            start = time.perf_counter()
            with VideoStream(module) as stream:
                for queries, audio in pieces():
                    stream.push(queries, audio)
                logits = stream.finish().logits
        else:
            queries, audio = (torch.cat(x)[None] for x in zip(*pieces(), strict=True))
            start = time.perf_counter()
            logits = module(queries, audio).logits[-1][0]
    return {
        "frames": frames,
        "way": "streamed" if streamed else "in one piece",
        "peak_mb": peak_mb(),
        "before_mb": before_mb,
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time(),
        "logits": logits[:4, :4].flatten().tolist(),
    }


def file_case(frames: int, tracks: int) -> dict[str, float]:
    """`avis predict` of a film of so many seconds, made beforehand by ``write_film`` in another process."""
    from components.core.inference.params import PredictParams
    from components.tools.prediction.inputs import Input
    from components.tools.prediction.one_video import Task, Wanted, predict_one

    folder = Path(os.environ["BENCHMARK_FOLDER"])
    film = folder / f"{frames}.mp4"
    params = PredictParams(score_threshold=0.0, presence_threshold=0.0, most_tracks=tracks)
    wanted = Wanted(model=folder / "model", params=params, save=("objects", "film"))
    start = time.perf_counter()
    row = predict_one(Task(Input(film.stem, str(film), film), film, wanted, folder / "out", progress=False))
    seconds = time.perf_counter() - start
    assert row.status == "ok", row.cause
    return {
        "frames": frames,
        "peak_mb": peak_mb(),
        "seconds": seconds,
        "seconds_per_frame": seconds / frames,
        "processor_seconds": time.process_time(),
        "tracks": row.objects,
        "json_megabytes": sum(file.stat().st_size for file in Path(row.folder).glob("*.json")) / 1e6,
    }


def write_film(frames: int, size: list[int]) -> dict[str, float]:
    """A film of so many seconds at 2 pictures a second with stereo sound, and the demo's model beside it."""
    import numpy as np
    import torch

    from components.core.media.encode import write_video
    from models import build
    from models.checkpoints.saved import ModelCard, save_model

    folder = Path(os.environ["BENCHMARK_FOLDER"])
    stereo = (np.repeat(sound[:, None], 2, axis=1) for sound in sounds(frames, 44_100))
    write_video(
        folder / f"{frames}.mp4",
        pictures(frames * FILE_RATE_HZ, *size),
        frame_rate_hz=FILE_RATE_HZ,
        audio=stereo,
        audio_rate_hz=44_100,
    )
    if not (folder / "model").is_dir():
        chosen = settings("demo")
        torch.manual_seed(0)
        model = build("avism", categories=26, **chosen["model"])
        (folder / "model").mkdir()
        save_model(
            folder / "model",
            model,
            ModelCard(
                name="avism",
                config={**chosen["model"], "categories": 26},
                categories={k: f"category {k}" for k in range(1, 27)},
                short_side_px=chosen["short_side_px"],
                frame_rate_hz=1.0,
            ),
        )
    return {"frames": frames, "film_mb": (folder / f"{frames}.mp4").stat().st_size / 1e6}


def child(case: dict[str, Any]) -> None:
    """One measurement; its result is the last line of the output."""
    import torch

    torch.set_num_threads(case.pop("threads"))
    run = {"clip": clip_case, "video": video_case, "file": file_case, "film": write_film}[case.pop("part")]
    print(json.dumps(run(**case)))


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Run a case in a fresh process. This one stays small: a child's peak begins with its parent's size."""
    command = [sys.executable, __file__, "--child", json.dumps(case)]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in result.items() if k != "logits"}
    print(f"{case['part']:6}", *(f"{key} {value}" for key, value in shown.items()), flush=True)
    return result


def compare(results: list[dict[str, Any]]) -> None:
    """Growth of memory and of the time per frame from the first result to each other one."""
    first = results[0]
    for result in results[1:]:
        growth_mb = result["peak_mb"] - first["peak_mb"]
        ratio = (result["seconds"] / result["frames"]) / (first["seconds"] / first["frames"])
        verdict = "ok" if growth_mb <= MOST_GROWTH_MB else f"MORE THAN {MOST_GROWTH_MB} MB"
        print(
            f"{result['frames']} frames against {first['frames']}: {growth_mb:+.0f} MB at the peak "
            f"({verdict}), {ratio:.2f} times the seconds per frame"
        )


def main() -> None:
    """Measure one part and, if asked, add it to a file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=("clip", "video", "file"), default="clip")
    parser.add_argument("--model", choices=("demo", "published"), default="demo")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--frames", type=int, nargs="+", help="for --part file: seconds of the films")
    parser.add_argument("--size", default=f"{WIDTH}x{HEIGHT}", help="for --part file: of the films' pictures")
    parser.add_argument("--tracks", type=int, default=10, help="for --part file: objects in each film")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most-in-one-piece", type=int, default=600, help="frames, for --part video")
    parser.add_argument("--out", type=Path, help="a JSON file to add the results to")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child)
        return
    common = {"part": asked.part, "threads": asked.threads}
    lengths = asked.frames or ([60, 1200] if asked.part == "file" else [60, 600, 3600])
    if asked.part == "clip":
        more = {"model_name": asked.model, "precision": asked.precision}
        results = [measure({**common, **more, "frames": frames}) for frames in lengths]
        compare(results)
    elif asked.part == "video":
        results = [measure({**common, "frames": frames, "streamed": True}) for frames in lengths]
        compare(results)
        for frames, streamed in zip(lengths, list(results), strict=True):
            if frames <= asked.most_in_one_piece:
                whole = measure({**common, "frames": frames, "streamed": False})
                pairs = zip(streamed["logits"], whole["logits"], strict=True)
                used_mb = [max(1.0, result["peak_mb"] - result["before_mb"]) for result in (whole, streamed)]
                print(
                    f"{frames} frames in one piece: {used_mb[0]:.0f} MB more than at the start against "
                    f"{used_mb[1]:.0f}, {whole['seconds'] / streamed['seconds']:.2f} times the seconds, "
                    f"logits differ by {max(abs(a - b) for a, b in pairs):.1e}"
                )
                results.append(whole)
    else:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["BENCHMARK_FOLDER"] = folder
            for frames in lengths:
                size = [int(side) for side in asked.size.split("x")]
                measure({"part": "film", "threads": asked.threads, "frames": frames, "size": size})
            results = [measure({**common, "frames": frames, "tracks": asked.tracks}) for frames in lengths]
        compare(results)
    if asked.out:
        before = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else []
        entry = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "threads": asked.threads,
            "asked": {k: str(v) for k, v in vars(asked).items() if k not in ("child", "out", "threads")},
            "results": [{k: v for k, v in result.items() if k != "logits"} for result in results],
        }
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps([*before, entry], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
