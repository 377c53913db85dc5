"""Masks as run-length codes (COCO): conversion, area and box.

A segmentation is what one frame of a track holds in AVISeg JSON: a list of polygons [x0, y0, x1, y1, …],
an RLE {"size": [H, W], "counts": …} with counts as a string (compressed) or as a list of run lengths, or None
(no mask). H: height, W: width, in pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.core.errors import AvisError

Segmentation: TypeAlias = Mapping[str, Any] | Sequence[Sequence[float]] | None


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask [H, W] as compressed RLE with counts as a string."""
    from pycocotools import mask as coco

    code = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(size) for size in code["size"]], "counts": code["counts"].decode("ascii")}


def decode(segmentation: Segmentation, height: int, width: int) -> NDArray[np.bool_]:
    """Decode a segmentation to a mask [H, W]; no mask gives zeros.

    Raises:
        AvisError: if it is malformed or of another size.
    """
    from pycocotools import mask as coco

    code = compress(segmentation, height, width)
    if code is None:
        return np.zeros((height, width), dtype=bool)
    mask: NDArray[np.bool_] = coco.decode(code).astype(bool)
    return mask


def is_empty(segmentation: Segmentation) -> bool:
    """Whether no pixel is set: None, an empty list and an RLE without ones are the same."""
    return area(segmentation) == 0


def area(segmentation: Segmentation, height: int | None = None, width: int | None = None) -> int:
    """Return the number of set pixels. Polygons are cut at height and width, if given.

    Raises:
        AvisError: if it is malformed.
    """
    from pycocotools import mask as coco

    code = compress(segmentation, height, width)
    return 0 if code is None else int(coco.area(code))


def bounding_box(
    segmentation: Segmentation, height: int | None = None, width: int | None = None
) -> list[float] | None:
    """Return [x, y, width, height] in pixels of the set pixels, None if there are none.

    Raises:
        AvisError: if it is malformed.
    """
    from pycocotools import mask as coco

    code = compress(segmentation, height, width)
    if code is None or int(coco.area(code)) == 0:
        return None
    return [float(value) for value in coco.toBbox(code)]


def check(segmentation: object, height: int, width: int) -> str | None:
    """Return what is wrong with a segmentation's form (its counts are not decoded), None if nothing is."""
    if segmentation is None:
        return None
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not (isinstance(size, Sequence) and list(size) == [height, width]):
            return f"RLE size is {size}, the video's is [{height}, {width}]"
        if isinstance(counts, str | bytes):
            return None if counts or height * width == 0 else "RLE counts are empty"
        if not isinstance(counts, list) or any(type(run) is not int or run < 0 for run in counts):
            return "RLE counts are neither a string nor a list of run lengths"
        if sum(counts) != height * width:
            return f"RLE counts cover {sum(counts)} of {height * width} pixels"
        return None
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                return "a polygon needs an even number of at least 6 coordinates"
            if not all(type(value) in (int, float) and abs(value) < 1e6 for value in polygon):
                return "a polygon's coordinates must be finite numbers"
        return None
    return f"a segmentation is polygons, an RLE or null, not {type(segmentation).__name__}"


def compress(segmentation: Segmentation, height: int | None, width: int | None) -> dict[str, Any] | None:
    """Return the segmentation as a checked, compressed RLE (counts as bytes); None for no mask.

    pycocotools reads and writes outside its buffers when counts do not fit the size: they are checked here.
    """
    from pycocotools import mask as coco

    if segmentation is None or (not isinstance(segmentation, Mapping) and len(segmentation) == 0):
        return None
    if isinstance(segmentation, Mapping):
        size = segmentation.get("size")
        if height is None or width is None:
            if not (
                isinstance(size, Sequence) and len(size) == 2 and all(type(n) is int and n >= 0 for n in size)
            ):
                raise AvisError(f"a mask's RLE has no valid size: {size!r}")
            height, width = size
        problem = check(segmentation, height, width)
        if problem:
            raise AvisError(f"a mask does not decode: {problem}")
        counts = segmentation["counts"]
        if isinstance(counts, list):
            code: dict[str, Any] = coco.frPyObjects(
                {"size": [height, width], "counts": counts}, height, width
            )
            return code
        text = counts.encode("ascii", "replace") if isinstance(counts, str) else bytes(counts)
        covered = _covered_pixels(text)
        if covered != height * width:
            found = "malformed" if covered is None else f"for {covered} pixels"
            raise AvisError(
                f"a mask does not decode: RLE counts are {found}, not for {height} x {width} pixels"
            )
        return {"size": [height, width], "counts": text}
    if height is None or width is None:
        flat = [polygon for polygon in segmentation if len(polygon) >= 2]
        height = int(max((max(polygon[1::2]) for polygon in flat), default=0)) + 2
        width = int(max((max(polygon[0::2]) for polygon in flat), default=0)) + 2
    problem = check(segmentation, height, width)
    if problem:
        raise AvisError(f"a mask does not decode: {problem}")
    merged: dict[str, Any] = coco.merge(coco.frPyObjects(segmentation, height, width))
    return merged


def _covered_pixels(counts: bytes) -> int | None:
    """Sum of the run lengths of compressed counts, None if malformed.

    Format (COCO API, maskApi.c): each run in base 32, low digits first, character = digit + 48; bit 32 says
    that more digits follow, bit 16 of the last digit is the sign; from the fourth run on, a run is stored as
    its difference to the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        digit = character - 48
        if not 0 <= digit < 64 or shift > 30:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value |= -1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            return None
        runs.append(value)
        value = shift = 0
    return None if shift else sum(runs)
