"""Composed clips as frames, sound and labels: what extract and annotate make of their videos."""

import wave
from pathlib import Path

import cv2
import numpy as np

from components.core.clips.index import MediaEntry, write_media_index
from components.core.records.annotations import SPLITS, AnnotationSet, Track, Video, write_annotations
from components.core.records.masks import encode
from components.core.run.paths import Paths
from components.sample.kit import load_kit
from components.sample.labels import labelled
from components.sample.mix import mix
from components.sample.render import render_frame
from components.sample.scene import SceneSettings, plan_scene, scene_seed

RATE_HZ = 16_000


def compose_set(
    paths: Paths, counts: tuple[int, int, int], *, seed: int, width: int, height: int, longest_s: int = 20
) -> None:
    """Write data/media and data/annotations of so many clips of each split."""
    kit = load_kit(Path("data/sample/kit"))
    entries = []
    (paths.media / "audio").mkdir(parents=True, exist_ok=True)
    for split, count in zip(SPLITS, counts, strict=True):
        videos, tracks = [], []
        settings = SceneSettings(split=split, width=width, height=height, max_duration_s=longest_s)
        for number in range(1, count + 1):
            name = f"{split}_{number:04d}"
            scene = plan_scene(kit, scene_seed(seed, split, number), settings)
            frames = paths.media / "frames" / name
            frames.mkdir(parents=True)
            masks = [[] for _ in scene.objects]
            for k in range(scene.duration_s):
                picture, seen = render_frame(kit, scene, k + 0.5, width, height)
                cv2.imwrite(str(frames / f"{k:05d}.jpg"), picture[..., ::-1])
                for place, is_labelled in enumerate(labelled(scene, seen, k)):
                    masks[place].append(encode(seen == place + 1) if is_labelled else None)
            sound = mix(kit, scene, 0, scene.duration_s, RATE_HZ)
            with wave.open(str(paths.media / "audio" / f"{name}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes((sound * 32767).astype("<i2").tobytes())
            files = [f"{name}/{k:05d}.jpg" for k in range(scene.duration_s)]
            videos.append(Video(number, name, files, scene.duration_s, height, width))
            for thing, of_thing in zip(scene.objects, masks, strict=True):
                if any(of_thing):
                    category = kit.category_id(thing.category)
                    tracks.append(Track(len(tracks) + 1, number, category, of_thing))
            entries.append(
                MediaEntry(
                    name, "ok", frames=scene.duration_s, width=width, height=height,
                    audio_samples=len(np.asarray(sound)), frames_sha256=name, audio_sha256=name,
                )
            )  # fmt: skip
        categories = {kit.category_id(name): name for name in kit.categories}
        write_annotations(paths.annotations / f"{split}.json", AnnotationSet(categories, videos, tracks, {}))
    write_media_index(paths.media / "index.parquet", entries)
