"""The kit: what scenes are made of. Cut-out photographs, recorded sounds, backgrounds.

Folder layout (any category names, several files each):
    sprites/<category>/*.png|webp    photographs cut out with an alpha channel
    sounds/<category>/*.ogg|wav|mp3|flac
    backgrounds/*.jpg|jpeg|png
    ATTRIBUTION.md                   optional; the `licence` column of its table goes into the manifest
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from components.core.run.errors import AvisError
from components.sample.loops import SOUND_RATE_HZ, periodic_resample, read_sound, room_noise, seamless_loop

Image = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]

SPRITE_SUFFIXES = (".png", ".webp")
SOUND_SUFFIXES = (".ogg", ".wav", ".mp3", ".flac")
BACKGROUND_SUFFIXES = (".jpg", ".jpeg", ".png")
LARGEST_SPRITE_PX = 512
LARGEST_BACKGROUND_PX = 1280
SMALLEST_LEVEL_PX = 24
PITCH_STEPS = (-4, -3, -2, -1, 0, 1, 2, 3, 4)  # percent


@dataclass(frozen=True)
class Picture:
    """An image with its halved copies, so that drawing it small neither flickers nor costs time."""

    name: str  # <category>/<file stem> for sprites, <file stem> for backgrounds
    levels: tuple[Image, ...]  # [H, W, 4] RGBA premultiplied or [H, W, 3] RGB; each half the one before

    @property
    def height(self) -> int:
        return int(self.levels[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.levels[0].shape[1])


@dataclass(frozen=True)
class Sound:
    """A recording without its silent ends, closed to a loop that has no audible seam."""

    name: str
    loop: Samples  # [n] mono at SOUND_RATE_HZ, root mean square LOOP_LEVEL
    _resampled: dict[tuple[int, int], Samples] = field(default_factory=dict, repr=False, compare=False)

    def at(self, rate_hz: int, pitch_percent: int = 0) -> Samples:
        """The loop at another sample rate, played faster by a few percent; computed once per process."""
        key = (rate_hz, pitch_percent)
        if key not in self._resampled:
            length = round(len(self.loop) * rate_hz / SOUND_RATE_HZ / (1 + pitch_percent / 100))
            self._resampled[key] = periodic_resample(self.loop, max(length, 1))
        return self._resampled[key]


@dataclass(frozen=True)
class Kit:
    """Everything read from one kit folder. Category ids are the positions of the sorted names, from 1."""

    folder: Path
    categories: tuple[str, ...]
    sprites: dict[str, tuple[Picture, ...]]
    sounds: dict[str, tuple[Sound, ...]]
    backgrounds: tuple[Picture, ...]
    room: Sound  # faint noise of an empty room
    licence: str | None

    def category_id(self, category: str) -> int:
        return self.categories.index(category) + 1

    def without(self, categories: Collection[str]) -> "Kit":
        """The kit as if it lacked these categories; the ids of the others close up.

        Raises:
            AvisError: it has no such category, or no other.
        """
        unknown = sorted(set(categories) - set(self.categories))
        if unknown:
            raise AvisError(
                f"the sample kit has no category {unknown[0]!r}",
                where=str(self.folder),
                fix=f"It has {', '.join(self.categories)}.",
            )
        kept = tuple(name for name in self.categories if name not in categories)
        if not kept:
            raise AvisError("no category of the sample kit is left", where=str(self.folder))
        return replace(
            self,
            categories=kept,
            sprites={name: self.sprites[name] for name in kept},
            sounds={name: self.sounds[name] for name in kept},
        )


def load_kit(folder: Path) -> Kit:
    """Read a kit folder.

    Raises:
        AvisError: a folder or a sound is missing, a file cannot be read, a sprite has no alpha channel.
    """
    fix = "point sample.kit at a folder with sprites/<category>/, sounds/<category>/ and backgrounds/"
    if not folder.is_dir():
        raise AvisError("the sample kit is missing", where=str(folder), fix=fix)
    sprite_files = _files_by_category(folder / "sprites", SPRITE_SUFFIXES, fix)
    sound_files = _files_by_category(folder / "sounds", SOUND_SUFFIXES, fix)
    for category in sorted(set(sprite_files) ^ set(sound_files)):
        missing = "sounds" if category in sprite_files else "sprites"
        suffixes = ", ".join(SOUND_SUFFIXES if missing == "sounds" else SPRITE_SUFFIXES)
        raise AvisError(
            f"category {category!r} of the sample kit has no {missing}",
            where=str(folder / missing / category),
            fix=f"add at least one file ({suffixes}) or remove the category",
        )
    background_files = _files(folder / "backgrounds", BACKGROUND_SUFFIXES)
    if not background_files:
        raise AvisError("the sample kit has no backgrounds", where=str(folder / "backgrounds"), fix=fix)
    return Kit(
        folder=folder,
        categories=tuple(sorted(sprite_files)),
        sprites={name: tuple(_read_sprite(file) for file in files) for name, files in sprite_files.items()},
        sounds={
            name: tuple(Sound(f"{name}/{file.stem}", seamless_loop(read_sound(file), file)) for file in files)
            for name, files in sound_files.items()
        },
        backgrounds=tuple(_read_background(file) for file in background_files),
        room=Sound("room", room_noise()),
        licence=_licence(folder / "ATTRIBUTION.md"),
    )


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.is_file())


def _files_by_category(folder: Path, suffixes: tuple[str, ...], fix: str) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise AvisError(f"the sample kit has no folder {folder.name}/", where=str(folder), fix=fix)
    found = {entry.name: _files(entry, suffixes) for entry in sorted(folder.iterdir()) if entry.is_dir()}
    found = {name: files for name, files in found.items() if files}
    if not found:
        raise AvisError(f"the sample kit's folder {folder.name}/ has no files", where=str(folder), fix=fix)
    return found


def _read_image(file: Path) -> Image:
    image = cv2.imdecode(np.frombuffer(file.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise AvisError(
            "an image of the sample kit cannot be read", where=str(file), fix="replace it by an 8-bit image"
        )
    return np.asarray(image)


def _read_sprite(file: Path) -> Picture:
    image = _read_image(file)
    if image.ndim != 3 or image.shape[2] != 4:
        raise AvisError(
            "a sprite of the sample kit has no alpha channel",
            where=str(file),
            fix="cut the object out and save it as RGBA",
        )
    alpha = image[..., 3]
    rows, columns = np.flatnonzero((alpha >= 128).any(1)), np.flatnonzero((alpha >= 128).any(0))
    if len(rows) < 8 or len(columns) < 8:
        raise AvisError("a sprite of the sample kit is (almost) fully transparent", where=str(file))
    image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    colours = image[..., 2::-1].astype(np.uint16) * image[..., 3:] // 255
    image = np.dstack([colours.astype(np.uint8), image[..., 3]])
    return Picture(f"{file.parent.name}/{file.stem}", _levels(image, LARGEST_SPRITE_PX))


def _read_background(file: Path) -> Picture:
    image = _read_image(file)
    if image.ndim == 2:
        image = np.dstack([image] * 3)
    return Picture(file.stem, _levels(np.ascontiguousarray(image[..., 2::-1]), LARGEST_BACKGROUND_PX))


def _levels(image: Image, largest_px: int) -> tuple[Image, ...]:
    height, width = image.shape[:2]
    shrink = min(1.0, largest_px / max(height, width))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    levels = [np.ascontiguousarray(image)]
    while min(levels[-1].shape[:2]) >= 2 * SMALLEST_LEVEL_PX:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half))
    return tuple(levels)


def _licence(file: Path) -> str | None:
    """The distinct entries of the `licence` column of the first Markdown table, joined by '; '."""
    if not file.is_file():
        return None
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith("|")
    ]
    if not rows:
        return None
    column = next((i for i, cell in enumerate(rows[0]) if cell.lower() in ("licence", "license")), None)
    if column is None:
        return None
    licences = [row[column] for row in rows[2:] if len(row) > column and row[column]]
    return "; ".join(dict.fromkeys(licences)) or None
