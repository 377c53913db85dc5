"""Small folders as AVSBench is published: a bright square that moves, with a tone."""

import csv
import json
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.tools.avsbench.palette import palette

SIZE = (40, 48)  # of the pictures, height and width
CLASS_NAMES = [
    *("background", "accordion", "bell", "emergency-car", "horn"),
    *(f"class-{number}" for number in range(5, 71)),
]


def square(k: int, *, empty: bool = False) -> NDArray[np.bool_]:
    """What sounds in frame k."""
    mask = np.zeros(SIZE, bool)
    if not empty:
        mask[8:24, 4 + 3 * k : 20 + 3 * k] = True
    return mask


def write_picture(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_sound(path: Path, seconds: float, *, rate_hz: int = 16_000, channels: int = 2) -> None:
    """A tone, as the published preparation writes it: 16 kHz stereo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = (8000 * np.sin(np.arange(round(seconds * rate_hz)) * 0.2)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", "not compressed"))
        file.writeframes(np.repeat(tone[:, None], channels, 1).tobytes())


def write_table(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _frame(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(mask[..., None], (220, 40, 40), (60, 90, 60)).astype(np.uint8)


def write_s4(folder: Path) -> Path:
    """Two test videos of different categories, one training video with one mask."""
    rows = [["name", "start", "category", "split"]]
    for name, category, split in (
        ("-aB3_x", "race_car", "test"),
        ("second", "horse_clip-clop", "test"),
        ("third", "race_car", "train"),
    ):
        rows.append([name, "0", category, split])
        place = Path(split) / category
        for k in range(1, 6):
            mask = square(k)
            frame = folder / "s4_data" / "visual_frames" / place / name / f"{name}_{k}.png"
            write_picture(frame, _frame(mask))
            if split != "train" or k == 1:
                path = folder / "s4_data" / "gt_masks" / place / name / f"{name}_{k}.png"
                write_picture(path, mask.astype(np.uint8) * 255)
        write_sound(folder / "s4_data" / "audio_wav" / place / f"{name}.wav", 5)
    write_table(folder / "s4_meta_data.csv", rows)
    return folder


def write_ms3(folder: Path) -> Path:
    """Three test videos: one is silent in frames 2 and 3, one throughout."""
    rows = [["name", "split"]]
    for name, silent in (("first", ()), ("pause", (2, 3)), ("silent", (1, 2, 3, 4, 5))):
        rows.append([name, "test"])
        for k in range(1, 6):
            mask = square(k, empty=k in silent)
            data = folder / "ms3_data"
            write_picture(data / "visual_frames" / name / f"{name}.mp4_{k}.png", _frame(square(k)))
            grey = Image.fromarray(mask.astype(np.uint8) * 255).convert("P")
            path = data / "gt_masks" / "test" / name / f"{name}_{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey.save(path)
        write_sound(folder / "ms3_data" / "audio_wav" / "test" / f"{name}.wav", 4.2)
    write_table(folder / "ms3_meta_data.csv", rows)
    return folder


def write_avss(folder: Path, *, first_number: int = 1) -> Path:
    """A test video of each subset: v1s a bell (class 2), v1m a horn (4) and an accordion (1), v2 a horn."""
    rows = [["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"]]
    colours = palette()
    plan = (("s1", "v1s", 5, (2,)), ("m1", "v1m", 5, (4, 1)), ("new_0_10000", "v2", 10, (4,)))
    for name, subset, frames, labels in plan:
        rows.append([name, name, "0", "0", "things", "test", subset])
        home = folder / subset / name
        for k in range(frames):
            frame, classes = square(k), avss_classes(k, labels)
            write_picture(home / "frames" / f"{k}.jpg", _frame(frame))
            write_picture(home / "labels_rgb" / f"{k}.png", colours[classes])
        write_sound(home / "audio.wav", frames, rate_hz=44_100, channels=1)
    write_table(folder / "metadata.csv", rows)
    numbers = {name: number for number, name in enumerate(CLASS_NAMES, start=first_number)}
    (folder / "label2idx.json").write_text(json.dumps(numbers))
    return folder


def avss_classes(k: int, labels: tuple[int, ...]) -> NDArray[np.uint8]:
    """The first label is the square, the second a stripe below it."""
    classes = square(k).astype(np.uint8) * np.uint8(labels[0])
    if len(labels) > 1:
        classes[30:36] = labels[1]
    return classes
