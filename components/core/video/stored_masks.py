"""Masks kept on disk: a video of any length with any number of objects needs no memory for them."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from components.core.records.masks import encode

EMPTY = -1  # where there is no pixel
MEMORY_BYTES = 4_000_000


class MaskFile:
    """A nameless file, gone even after kill -9 where the system allows that; small ones stay in memory.

    folder: where it lies; None: in the system's folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        place = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=place)  # noqa: SIM115, gone with the object
        self._size = 0
        self.size_px: tuple[int, int] = (0, 0)  # height and width of the masks

    def add(self, mask: NDArray[np.bool_]) -> int:
        """Keep a mask [H, W]; returns where it lies, EMPTY for one without a pixel."""
        self.size_px = (mask.shape[0], mask.shape[1])
        if not mask.any():
            return EMPTY
        line = json.dumps(encode(mask), separators=(",", ":")).encode() + b"\n"
        place, self._size = self._size, self._size + len(line)
        self._file.seek(place)
        self._file.write(line)
        return place

    def read(self, place: int) -> dict[str, Any] | None:
        """The compressed RLE of a mask, None for EMPTY."""
        if place == EMPTY:
            return None
        self._file.seek(place)
        found: dict[str, Any] = json.loads(self._file.readline())
        return found


class StoredMasks(Sequence[dict[str, Any] | None]):
    """The masks of a track, an RLE or None per frame, read when they are asked for."""

    def __init__(self, file: MaskFile, places: Sequence[int]) -> None:
        self._file, self._places = file, np.asarray(places, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any] | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any] | None]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._file.read(int(place)) for place in self._places[index]]
        return self._file.read(int(self._places[index]))

    def __iter__(self) -> Iterator[dict[str, Any] | None]:
        return (self._file.read(int(place)) for place in self._places)

    def on(self) -> list[bool]:
        """Whether there is a mask, per frame."""
        shown: list[bool] = (self._places != EMPTY).tolist()
        return shown
