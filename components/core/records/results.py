"""Predicted tracks in the official results format, read and written as a whole.

Files from elsewhere, which may be large or wrong, are read by checked_results.
"""

import json
import reprlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.records.json_rows import whole_number
from components.core.run.errors import AvisError
from components.core.run.files import write_text


@dataclass(slots=True)
class Result:
    """One predicted track: per frame an RLE or None."""

    video_id: int
    category_id: int
    score: float
    segmentations: list[dict[str, Any] | None]


def read_results(path: Path) -> list[Result]:
    """Read predicted tracks in the official results format.

    Raises:
        AvisError: if the file is missing or malformed; it names the file, the row and the field.
    """
    try:
        document = json.loads(path.read_bytes())  # not msgspec: NaN for a score is named with its row
    except FileNotFoundError:
        raise AvisError("there are no results", where=str(path)) from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of too many digits
        raise AvisError(
            f"not valid JSON: {error}", where=str(path), fix="Perhaps the file is cut off: make it again."
        ) from None
    if not isinstance(document, list):
        raise AvisError("results must be a JSON list", where=str(path))
    results = []
    for index, row in enumerate(document):
        where = f"{path}, row {index}"
        if not isinstance(row, dict):
            row = {}
        video_id = whole_number(row.get("video_id"), where, "video_id")
        category_id = whole_number(row.get("category_id"), where, "category_id")
        score: Any = row.get("score")
        if type(score) not in (int, float) or not abs(score) <= sys.float_info.max:
            raise AvisError(f"{reprlib.repr(score)} is no score", where=f"{where}, field score")
        segmentations = row.get("segmentations")
        if not isinstance(segmentations, list):
            raise AvisError("the list is missing", where=f"{where}, field segmentations")
        for frame, segmentation in enumerate(segmentations):
            valid = isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation
            if segmentation is not None and not valid:
                raise AvisError(
                    "neither an RLE nor null", where=f"{where}, field segmentations, frame {frame}"
                )
        results.append(Result(video_id, category_id, float(score), segmentations))
    return results


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write predicted tracks in the official results format; equal results give equal bytes."""
    rows = [
        {
            "video_id": result.video_id,
            "score": float(result.score),
            "category_id": result.category_id,
            "segmentations": list(result.segmentations),
        }
        for result in results
    ]
    write_text(path, json.dumps(rows, separators=(",", ":"), allow_nan=False) + "\n")
