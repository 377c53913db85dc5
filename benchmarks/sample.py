"""How fast clips are composed: in memory (for pretraining) and as video files. One core.

Run from the repository root: python benchmarks/sample.py
"""

import tempfile
import time
from pathlib import Path

from components.sample.kit import load_kit
from components.sample.mix import mix
from components.sample.render import render_frame
from components.sample.scene import SceneSettings, plan_scene, scene_seed
from components.sample.write_clip import ClipTask, compose

KIT = Path("data/sample/kit")
SCENES = 100
FILES = 4
MOST_FRAME_MS = 8.0
MOST_SOUND_MS = 2.0


def main() -> None:
    """Print milliseconds of processor time for each, and its ratio to what is allowed."""
    start = time.process_time()
    kit = load_kit(KIT)
    print(f"kit                        {1e3 * (time.process_time() - start):8.1f} ms")
    settings = SceneSettings(split="pretrain")
    start = time.process_time()
    scenes = [plan_scene(kit, scene_seed(0, "pretrain", i), settings) for i in range(SCENES)]
    print(f"scene planned              {1e3 * (time.process_time() - start) / SCENES:8.2f} ms")
    for width, height in ((320, 180), (640, 360)):
        start = time.process_time()
        for scene in scenes:
            for k in range(3):
                render_frame(kit, scene, k + 0.5, width, height)
        frame_ms = 1e3 * (time.process_time() - start) / SCENES / 3
        ratio = f"   {MOST_FRAME_MS / frame_ms:.1f} times as fast as needed" if width == 320 else ""
        print(f"frame {width}x{height}              {frame_ms:8.2f} ms{ratio}")
    for scene in scenes:
        mix(kit, scene, 0, scene.duration_s, 16_000)  # resamples every recording once
    start = time.process_time()
    for scene in scenes:
        for k in range(10):
            mix(kit, scene, k, k + 1, 16_000)
    sound_ms = 1e3 * (time.process_time() - start) / SCENES / 10
    ratio = f"   {MOST_SOUND_MS / sound_ms:.1f} times as fast as needed"
    print(f"second of sound at 16 kHz  {sound_ms:8.2f} ms{ratio}")
    with tempfile.TemporaryDirectory() as folder:
        seconds = 0
        start = time.process_time()
        for i in range(FILES):
            path = Path(folder) / f"{i}.mp4"
            seed = scene_seed(0, "train", i)
            seconds += compose(ClipTask(KIT.resolve(), path, seed, SceneSettings(split="train"), 12))[
                "frames"
            ]
        used_s = time.process_time() - start
    ratio = f"   {seconds / used_s:.1f} times real time, {FILES / used_s:.2f} clips/s"
    print(f"video file 640x360, 12 fps {1e3 * used_s / FILES:8.0f} ms{ratio}")


if __name__ == "__main__":
    main()
