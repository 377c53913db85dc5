"""The classes of AVSS: their names, and the colours that stand for them in its masks."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.run.errors import AvisError
from components.tools.avsbench.semantic import CLASSES

LABELS = "label2idx.json"
UNKNOWN = 255  # a colour that is no class


def read_class_names(folder: Path) -> list[str]:
    """Names by class id, the background first, from the download's label2idx.json.

    Its numbers are consecutive; the one for the background is the lowest.

    Raises:
        AvisError: the file is missing or damaged, or holds other than 71 classes.
    """
    path = folder / LABELS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AvisError(
            f"there is no {LABELS}, which names the classes",
            where=str(folder),
            fix="It belongs to the download of AVSBench-semantic.",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise AvisError(f"the file is not valid JSON: {error}", where=str(path)) from None
    if not isinstance(content, dict) or any(type(number) is not int for number in content.values()):
        raise AvisError("the file does not give each class a number", where=str(path))
    names = sorted(content, key=lambda name: content[name])
    numbers = [content[name] for name in names]
    if len(names) != CLASSES or numbers != list(range(numbers[0], numbers[0] + CLASSES)):
        raise AvisError(f"the file does not number {CLASSES} classes one after the other", where=str(path))
    if names[0] != "background":
        raise AvisError(f"the first class is {names[0][:60]!r}, not the background", where=str(path))
    return names


def palette() -> NDArray[np.uint8]:
    """The colour of each class [C, 3]: the colour map of PASCAL VOC.

    Bit 3i + c of a class's number is bit 7 - i of channel c.
    """
    numbers = np.arange(CLASSES)
    colours = np.zeros((CLASSES, 3), np.uint8)
    for place in range(3):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> (3 * place + channel)) & 1) << (7 - place)).astype(np.uint8)
    return colours


def classes_of_colours(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours [..., 3] to class ids [...]; UNKNOWN where the colour is no class."""
    codes = _codes(palette())
    order = np.argsort(codes)
    wanted = _codes(colours)
    places = order[np.searchsorted(codes[order], wanted).clip(max=CLASSES - 1)]
    return np.where(codes[places] == wanted, places, UNKNOWN).astype(np.uint8)


def _codes(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """One number for each colour [..., 3]."""
    wide = colours.astype(np.int32)
    codes: NDArray[np.int32] = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return codes
