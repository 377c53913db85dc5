"""A model small enough for tests, and a training set of moving, sounding squares."""

import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from components.core.clips.index import MediaEntry, read_media_index, write_media_index
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.records.masks import encode
from components.core.run.files import write_json
from components.core.run.paths import Paths

SETTINGS: dict[str, Any] = {
    "backbone": "efficientnet_lite0",
    "backbone_pretrained": False,
    "backbone_frozen_parts": 0,
    "audio": "vggish",
    "audio_channels": (8, 8, 8, 8, 8, 8),
    "audio_hidden": 16,
    "audio_normalise": True,
    "audio_tagging": True,
    "channels": 16,
    "heads": 2,
    "points": 2,
    "pixel_layers": 1,
    "pixel_hidden": 32,
    "frame_queries": 5,
    "frame_layers": 3,
    "video_queries": 4,
    "video_encoder_layers": 2,
    "video_decoder_layers": 2,
    "hidden": 32,
    "window": 3,
    "presence_head": True,
    "video_supervision": 2,
}
CATEGORIES = {7: "bell", 3: "horn"}  # ids neither in order nor without gaps
COLOURS = {7: (220, 40, 40), 3: (40, 40, 220)}  # RGB
TONES_HZ = {7: 440.0, 3: 1500.0}


def tiny_model(categories: int = 2, seed: int = 0, **changes: Any) -> Any:
    """An untrained Avism of SETTINGS, the same for the same seed."""
    import torch

    from models import build

    torch.manual_seed(seed)
    return build("avism", categories=categories, **{**SETTINGS, **changes})


def tiny_card(name: str, settings: dict[str, Any]) -> Any:
    """The card of a tiny model of two categories."""
    from models.checkpoints.saved import ModelCard

    config = {**settings, "categories": 2}
    return ModelCard(name=name, config=config, categories=CATEGORIES, short_side_px=32, frame_rate_hz=1.0)


def write_finder(folder: Path, **changes: Any) -> Path:
    """A saved model that covers every frame with every query, whatever it sees; classes as they fall."""
    import torch

    from models.checkpoints.saved import save_model

    settings = {**SETTINGS, "presence_head": False, **changes}
    model = tiny_model(**settings)
    for layer in (model.video_module.mask_features, model.video_module.mask_head.layers[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    folder.mkdir(parents=True)
    save_model(folder, model, tiny_card("avism", settings))
    write_json(folder / "run.json", {"run_id": "pending-test"})
    return folder


def train_settings(**changes: Any) -> dict[str, Any]:
    """A `train` block for a few fast steps."""
    return {
        "model": {"name": "avism", **SETTINGS},
        "loss": {"points": 64},
        "steps": 2,
        "clips_per_step": 2,
        "processes": 1,  # a second one would start for longer than these steps take
        "frames_per_clip": 2,
        "short_sides_px": [32],
        "test_short_side_px": 32,
        "flip": False,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "device": "cpu",
        "checkpoint_every_steps": 1,
        "log_every_steps": 1,
        **changes,
    }


def write_square_clip(
    media: Path, name: str, *, frames: int, size: tuple[int, int], category: int, silent: bool = False
) -> tuple[list[str], list[dict[str, Any] | None]]:
    """Frames and sound of a square that moves to the right and sounds (unless `silent`) in even seconds.

    Returns the frames' names and a segmentation per frame, None where the square is silent.
    """
    height, width = size
    folder = media / "frames" / name
    folder.mkdir(parents=True)
    (media / "audio").mkdir(exist_ok=True)
    names, segmentations = [], []
    sound = np.zeros(frames * 16_000, np.int16)
    tone = 12_000 * np.sin(2 * np.pi * TONES_HZ[category] * np.arange(16_000) / 16_000)
    for k in range(frames):
        mask = np.zeros((height, width), bool)
        mask[height // 4 : height // 4 * 3, 2 + 2 * k : 2 + 2 * k + height // 2] = True
        picture = np.where(mask[..., None], COLOURS[category], (90, 120, 90)).astype(np.uint8)
        names.append(f"{name}/{k:05d}.jpg")
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        cv2.imwrite(str(media / "frames" / names[-1]), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
        sounds = k % 2 == 0 and not silent
        if sounds:
            sound[k * 16_000 : (k + 1) * 16_000] = tone
        segmentations.append(encode(mask) if sounds else None)
    with wave.open(str(media / "audio" / f"{name}.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(sound.tobytes())
    return names, segmentations


def add_to_index(media: Path, videos: list[Video], frame_rate_hz: float = 1.0) -> None:
    """Enter videos into the media index, as extract does."""
    index = media / "index.parquet"
    entries = read_media_index(index) if index.is_file() else {}
    for video in videos:
        entries[video.name] = MediaEntry(
            *(video.name, "ok", "", video.length, video.width, video.height),
            audio_samples=round(video.length * 16_000 / frame_rate_hz),
            frame_rate_hz=frame_rate_hz,
            license=None,
            frames_sha256=None,
            audio_sha256=None,
        )
    write_media_index(index, entries.values())


def write_square_set(
    paths: Paths, split: str = "train", *, silent: bool = False, size: tuple[int, int] | None = None
) -> AnnotationSet:
    """Three clips: a long bell, a short horn of another size, and one in which nothing sounds.

    `size` (height, width) makes them all of one size.
    """
    videos, tracks = [], []
    plan = [
        ("bells", 6, (40, 64), 7, silent),
        ("horn", 2, (48, 56), 3, silent),
        ("quiet", 3, (40, 64), 7, True),
    ]
    for number, (name, frames, own_size, category, mute) in enumerate(plan, start=1):
        shape = size or own_size
        names, masks = write_square_clip(
            paths.media, f"{split}_{name}", frames=frames, size=shape, category=category, silent=mute
        )
        videos.append(Video(number, f"{split}_{name}", names, frames, *shape))
        if not mute or silent:
            tracks.append(Track(number, number, category, masks))
    add_to_index(paths.media, videos)
    annotations = AnnotationSet(dict(CATEGORIES), videos, tracks, {})
    write_annotations(paths.annotations / f"{split}.json", annotations)
    return annotations
