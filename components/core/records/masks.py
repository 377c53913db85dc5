"""Masks as run-length codes (COCO): conversion, area and box.

A segmentation is what one frame of a track holds in AVISeg JSON: a list of polygons [x0, y0, x1, y1, …],
an RLE {"size": [H, W], "counts": …} with counts as a string (compressed) or as a list of run lengths, or None
(no mask). H: height, W: width, in pixels.
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.core.records.run_lengths import MALFORMED, covered_pixels
from components.core.run.errors import AvisError

MOST_PIXELS = 1 << 27  # of a frame: 16384 x 8192
_LONGEST_OUTLINE_PX = 2_000_000  # of a frame's polygons; every pixel of a 16k frame's edge makes 50,000

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


def boxes_of(codes: Sequence[Mapping[str, Any] | None]) -> list[list[float] | None]:
    """`bounding_box` of each of `compress_all`'s codes, faster than one by one."""
    from pycocotools import mask as coco

    seen = [code for code in codes if code is not None]
    found = iter(coco.toBbox(seen).tolist() if seen else ())
    boxes = [None if code is None else next(found) for code in codes]
    return [box if box is not None and box[2] and box[3] else None for box in boxes]


def box_of_text(segmentation: Mapping[str, Any]) -> list[float] | None:
    """`bounding_box` of run lengths that `check` took, any where they do not decode. A twentieth of the time.

    None where there is no pixel, where counts are no text, and where their last number goes on: the C code
    would read on behind it.
    """
    from pycocotools import mask as coco

    counts = segmentation["counts"]
    if not isinstance(counts, str) or not counts.isascii() or not counts or (ord(counts[-1]) - 48) & 0x20:
        return None
    box: list[float] = coco.toBbox({"size": segmentation["size"], "counts": counts.encode()}).tolist()
    return box if box[2] and box[3] else None


def check(segmentation: object, height: int, width: int) -> str | None:
    """Return what is wrong with a segmentation's form (its counts are not decoded), None if nothing is."""
    if segmentation is None:
        return None
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not (isinstance(size, Sequence) and list(size) == [height, width]):
            return f"RLE size is {reprlib.repr(size)}, the video's is [{height}, {width}]"
        if isinstance(counts, str | bytes):
            return None if counts or height * width == 0 else "RLE counts are empty"
        if not isinstance(counts, list) or any(type(run) is not int or run < 0 for run in counts):
            return "RLE counts are neither a string nor a list of run lengths"
        if sum(counts) != height * width:
            return f"RLE counts cover {reprlib.repr(sum(counts))} of {height * width} pixels"
        return None
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                return "a polygon needs an even number of at least 6 coordinates"
            if not all(type(value) in (int, float) and abs(value) < 1e6 for value in polygon):
                return "a polygon's coordinates must be finite numbers"
        if _too_long(segmentation):
            return f"the outlines of its polygons are longer than {_LONGEST_OUTLINE_PX:,} pixels"
        return None
    return f"a segmentation is polygons, an RLE or null, not {type(segmentation).__name__}"


def _too_long(polygons: list[list[float]]) -> bool:
    """Whether pycocotools, which keeps every point of an outline five times as fine, would need gigabytes."""
    points = sum(len(polygon) for polygon in polygons) // 2
    if (
        points * (max(map(max, polygons), default=0) - min(map(min, polygons), default=0) + 1)
        < _LONGEST_OUTLINE_PX
    ):
        return False
    steps = 0.0
    for polygon in polygons:
        corners = np.asarray(polygon).reshape(-1, 2)
        steps += float(np.abs(corners - np.roll(corners, 1, axis=0)).max(1).sum()) + len(corners)
    return steps > _LONGEST_OUTLINE_PX


def compress(segmentation: Segmentation, height: int | None, width: int | None) -> dict[str, Any] | None:
    """Return the segmentation as a checked, compressed RLE (counts as bytes); None for no mask.

    Raises:
        AvisError: if it is malformed or of another size.
    """
    code, problem = _unchecked(segmentation, height, width)
    if problem is None and code is not None and isinstance(segmentation, Mapping):
        problem = _count_problems([code])[0]
    if problem is not None:
        raise AvisError(problem)
    return code


# A float takes 24 bytes beside the 8 of its place in a list, and tools round coordinates to few decimals.
_coordinates: dict[float, float] = {}
_MOST_COORDINATES = 250_000


def _shared(coordinate: float) -> float:
    """The same number, as one object wherever it is."""
    if type(coordinate) is not float or not coordinate:  # 1 equals 1.0, and 0.0 equals -0.0
        return coordinate
    if len(_coordinates) < _MOST_COORDINATES:
        return _coordinates.setdefault(coordinate, coordinate)
    return _coordinates.get(coordinate, coordinate)


def compact(segmentation: Any, height: int, width: int) -> Any:
    """Return a checked segmentation in less memory: run lengths as a string, equal numbers as one object."""
    from pycocotools import mask as coco

    if isinstance(segmentation, list):
        return [[_shared(x) for x in polygon] for polygon in segmentation]
    if not isinstance(segmentation, dict) or not isinstance(segmentation["counts"], list):
        return segmentation
    size = [height, width]
    code = coco.frPyObjects({"size": size, "counts": segmentation["counts"]}, height, width)
    return {"size": size, "counts": code["counts"].decode("ascii")}


def compress_all(
    segmentations: Sequence[Segmentation], height: int, width: int
) -> tuple[list[dict[str, Any] | None], dict[int, str]]:
    """Compress the frames of a track, as `compress` but faster than one by one.

    Returns:
        a code or None per frame, and what is wrong with the frames that are malformed, by frame.
    """
    codes: list[dict[str, Any] | None] = [None] * len(segmentations)
    problems: dict[int, str] = {}
    coded: list[tuple[int, dict[str, Any]]] = []
    for frame, segmentation in enumerate(segmentations):
        if segmentation is None:  # as in most frames
            continue
        code, problem = _unchecked(segmentation, height, width)
        codes[frame] = code
        if problem is not None:
            problems[frame] = problem
        if code is not None and isinstance(segmentation, Mapping):
            coded.append((frame, code))
    for (frame, _), problem in zip(coded, _count_problems([code for _, code in coded]), strict=True):
        if problem is not None:
            codes[frame] = None
            problems[frame] = problem
    return codes, problems


def seen_codes(segmentations: Sequence[Segmentation], height: int, width: int) -> list[dict[str, Any] | None]:
    """Compressed codes of a track's frames, None where no pixel is set.

    Raises:
        AvisError: if one is malformed or of another size; it names the frame.
    """
    from pycocotools import mask as coco

    codes, problems = compress_all(segmentations, height, width)
    for frame, problem in problems.items():
        raise AvisError(problem, where=f"frame {frame}")
    return [code if code is not None and coco.area(code) else None for code in codes]


def clip_overlap(one: Sequence[dict[str, Any] | None], other: Sequence[dict[str, Any] | None]) -> float:
    """Intersection over union of two tracks' codes, their pixels counted over all frames."""
    from pycocotools import mask as coco

    common = union = 0
    for mine, theirs in zip(one, other, strict=True):
        areas = (int(coco.area(mine)) if mine else 0) + (int(coco.area(theirs)) if theirs else 0)
        both = int(coco.area(coco.merge([mine, theirs], intersect=True))) if mine and theirs else 0
        common, union = common + both, union + areas - both
    return common / union if union else 0.0


def _unchecked(
    segmentation: Segmentation, height: int | None, width: int | None
) -> tuple[dict[str, Any] | None, str | None]:
    """Return a compressed RLE whose counts may not fit its size yet, and what is wrong with the rest."""
    from pycocotools import mask as coco

    if segmentation is None or (isinstance(segmentation, Sequence) and len(segmentation) == 0):
        return None, None
    if isinstance(segmentation, Mapping) and (height is None or width is None):
        size = segmentation.get("size")
        if not (
            isinstance(size, Sequence)
            and len(size) == 2
            and all(type(n) is int and n >= 0 for n in size)
            and size[0] * size[1] <= MOST_PIXELS
        ):
            return None, f"a mask's RLE has no valid size: {reprlib.repr(size)}"
        height, width = size
    elif height is None or width is None:
        problem = check(segmentation, 1, 1)  # of polygons, or of what is neither: the size does not matter
        if problem:
            return None, f"a mask does not decode: {problem}"
        flat = [polygon for polygon in segmentation if len(polygon) >= 2]
        height = max(0, int(max((max(polygon[1::2]) for polygon in flat), default=0))) + 2
        width = max(0, int(max((max(polygon[0::2]) for polygon in flat), default=0))) + 2
    problem = check(segmentation, height, width)
    if problem:
        return None, f"a mask does not decode: {problem}"
    if not isinstance(segmentation, Mapping):
        return coco.merge(coco.frPyObjects(segmentation, height, width)), None
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width), None
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else bytes(counts)
    return {"size": [height, width], "counts": text}, None


def _count_problems(codes: Sequence[dict[str, Any]]) -> list[str | None]:
    """Tell which codes have counts that do not fit their size: pycocotools would leave its buffers."""
    problems: list[str | None] = []
    for code, covered in zip(codes, covered_pixels([code["counts"] for code in codes]), strict=True):
        height, width = code["size"]
        found = "malformed" if covered == MALFORMED else f"for {covered} pixels"
        fits = covered == height * width
        problems.append(
            None
            if fits
            else f"a mask does not decode: RLE counts are {found}, not for {height} x {width} pixels"
        )
    return problems
