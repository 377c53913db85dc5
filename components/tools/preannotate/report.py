"""The diff report: tables of what people changed, and a page with the largest changes drawn."""

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from components.core.records.annotations import AnnotationSet
from components.core.records.masks import decode
from components.core.run.files import write_text
from components.tools.preannotate.corrections import KINDS, Change, Corrections

_DRAWN = 24
_WIDTH_PX = 480
_DRAFT, _CORRECTED = (0, 94, 213), (115, 158, 0)  # blue, green, red: vermilion and green of Okabe and Ito


def write_report(
    folder: Path, corrections: Corrections, draft: AnnotationSet, corrected: AnnotationSet, frames: Path
) -> None:
    """Write corrections.csv (a row per track), categories.csv and report.html to a folder.

    frames: folder with <video>/00000.jpg …; what is not there is not drawn.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    names = [field.name for field in fields(Change)]
    rows = [["" if value is None else value for value in astuple(change)] for change in corrections.changes]
    _write_csv(folder / "corrections.csv", names, rows)
    categories = corrections.by_category()
    _write_csv(
        folder / "categories.csv",
        ["category", *KINDS, "frames_added", "frames_removed", "frames_redrawn", "overlap", "taken_for"],
        [
            [
                name,
                *(found.tracks[kind] for kind in KINDS),
                found.frames_added,
                found.frames_removed,
                found.frames_redrawn,
                "" if found.overlap is None else round(found.overlap, 4),
                "; ".join(f"{other} {count}" for other, count in found.taken_for.most_common()),
            ]
            for name, found in categories.items()
        ],
    )
    environment = Environment(
        loader=PackageLoader("components.tools.preannotate", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html").render(
        corrections=corrections,
        kinds=KINDS,
        categories=categories,
        pictures=_pictures(corrections.changes, draft, corrected, frames),
    )
    write_text(folder / "report.html", page)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _pictures(
    changes: Sequence[Change], draft: AnnotationSet, corrected: AnnotationSet, frames: Path
) -> list[tuple[Change, str]]:
    """The largest changes with a JPEG each, as a data URI."""
    before = {track.id: track for track in draft.tracks}
    after = {track.id: track for track in corrected.tracks}
    sizes = {video.name: (video.height, video.width) for video in draft.videos}
    order = ("added", "removed", "relabelled", "redrawn")
    # what the model missed or made up first, then what overlaps least
    chosen = sorted(
        (change for change in changes if change.kind in order and change.worst_frame is not None),
        key=lambda change: (change.overlap is not None, change.overlap or 0.0, order.index(change.kind)),
    )
    pictures = []
    for change in chosen[:_DRAWN]:
        k = change.worst_frame
        assert k is not None  # noqa: S101
        path = frames / change.video / f"{k:05d}.jpg"
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
        if picture is None:
            continue
        height = max(1, round(picture.shape[0] * _WIDTH_PX / picture.shape[1]))
        picture = cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        for track, colour in (
            (before.get(-1 if change.draft is None else change.draft), _DRAFT),
            (after.get(-1 if change.corrected is None else change.corrected), _CORRECTED),
        ):
            segmentation = track.segmentations[k] if track else None
            if not segmentation:
                continue
            mask = decode(segmentation, *sizes[change.video]).astype(np.uint8)
            mask = cv2.resize(mask, (_WIDTH_PX, height), interpolation=cv2.INTER_NEAREST)
            outline, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, outline, -1, colour, 2, cv2.LINE_AA)
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
        pictures.append((change, "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()))
    return pictures
