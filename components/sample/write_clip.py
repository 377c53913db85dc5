"""Write one composed clip: the video file, and the exact masks of what sounds in it."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from components.core.records import masks
from components.core.run.files import replace_file
from components.sample.kit import Kit, load_kit
from components.sample.labels import labelled
from components.sample.loops import SOUND_RATE_HZ
from components.sample.mix import mix
from components.sample.render import render_frame
from components.sample.scene import SceneSettings, plan_scene
from components.sample.scene_parts import Scene


@dataclass(frozen=True)
class ClipTask:
    """What a worker needs to compose one clip."""

    kit: Path
    path: Path  # the video file to write
    seed: int
    settings: SceneSettings
    frame_rate_hz: int


def compose(task: ClipTask) -> dict[str, Any]:
    """Write the video of a task.

    Returns:
        Plain data: "frames" (annotated, one per second), "tracks" (for every object that is labelled in
        some frame its "category" and "segmentations", per frame an RLE or None) and "bytes" of the file.
    """
    kit = _kit(task.kit)
    scene = plan_scene(kit, task.seed, task.settings)
    write_video(kit, scene, task.path, task.settings.width, task.settings.height, task.frame_rate_hz)
    return {
        "frames": scene.duration_s,
        "tracks": trace(kit, scene, task.settings.width, task.settings.height, task.frame_rate_hz),
        "bytes": task.path.stat().st_size,
    }


def trace(kit: Kit, scene: Scene, width: int, height: int, frame_rate_hz: int) -> list[dict[str, Any]]:
    """Masks of all objects that are ever labelled, as `compose` returns them.

    The mask of second k is taken from the video frame that is shown at k + 0.5 s.
    """
    segmentations: list[list[dict[str, Any] | None]] = [[] for _ in scene.objects]
    for k in range(scene.duration_s):
        shown_s = ((2 * k + 1) * frame_rate_hz // 2) / frame_rate_hz
        _, seen = render_frame(kit, scene, shown_s, width, height)
        for i, is_labelled in enumerate(labelled(scene, seen, k)):
            segmentations[i].append(masks.encode(seen == i + 1) if is_labelled else None)
    return [
        {"category": thing.category, "segmentations": track}
        for thing, track in zip(scene.objects, segmentations, strict=True)
        if any(track)
    ]


def write_video(kit: Kit, scene: Scene, path: Path, width: int, height: int, frame_rate_hz: int) -> None:
    """Write a scene as mp4 (H.264, AAC mono at 44.1 kHz): complete, or not at all."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}  # the same scene gives the same bytes
    with (
        replace_file(path, ".mp4") as temporary,
        av.open(str(temporary), "w", options=options) as container,
    ):
        video = container.add_stream("libx264", rate=frame_rate_hz)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {
            "crf": "20",
            "preset": "superfast",
            # mbtree: a fifth smaller for a twentieth more time. It would read past the end of a row, so that
            # bytes hang on what lies there, unless the processor's own instructions are left out.
            "x264-params": "mbtree=1:rc-lookahead=10:cpu-independent=1",
            "threads": "1",  # clips are made in parallel, and bytes must not depend on the machine's cores
            "g": str(4 * frame_rate_hz),
        }
        audio = container.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        audio.bit_rate = 96_000
        for k in range(scene.duration_s):
            for i in range(k * frame_rate_hz, (k + 1) * frame_rate_hz):
                pixels, _ = render_frame(kit, scene, i / frame_rate_hz, width, height)
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts, picture.time_base = i, Fraction(1, frame_rate_hz)
                container.mux(video.encode(picture))
            samples = mix(kit, scene, k, k + 1, SOUND_RATE_HZ)
            sound = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = SOUND_RATE_HZ, k * SOUND_RATE_HZ
            sound.time_base = Fraction(1, SOUND_RATE_HZ)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


@lru_cache(maxsize=1)
def _kit(folder: Path) -> Kit:
    return load_kit(folder)
