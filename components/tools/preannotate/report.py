"""The diff report: tables of what people changed, and a page with the largest changes drawn."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import cv2

from components.core.records.annotations import AnnotationSet, Track
from components.core.reports.page import percent, render_page
from components.core.reports.pictures import jpeg_uri, read_picture, scaled_mask
from components.core.reports.tables import csv_text
from components.core.run.files import write_csv, write_text
from components.tools.preannotate.corrections import KINDS, Change, Corrections

_DRAWN = 24
_WIDTH_PX = 480
_COLOURS = {"draft": (213, 94, 0), "corrected": (0, 158, 115)}  # vermilion and green of Okabe and Ito


def write_report(
    folder: Path, corrections: Corrections, draft: AnnotationSet, corrected: AnnotationSet, frames: Path
) -> None:
    """Write corrections.csv (a row per track), categories.csv and report.html to a folder.

    frames: folder with <video>/00000.jpg …; what is not there is not drawn.
    """
    columns = [field.name for field in fields(Change)]
    write_csv(folder / "corrections.csv", columns, map(asdict, corrections.changes))
    categories = corrections.by_category()
    columns = ["category", *KINDS, "frames_added", "frames_removed", "frames_redrawn", "overlap", "taken_for"]
    rows = [
        {
            "category": name,
            **{kind: found.tracks[kind] for kind in KINDS},
            "frames_added": found.frames_added,
            "frames_removed": found.frames_removed,
            "frames_redrawn": found.frames_redrawn,
            "overlap": found.overlap,
            "taken_for": "; ".join(f"{other} {count}" for other, count in found.taken_for.most_common()),
        }
        for name, found in categories.items()
    ]
    write_text(folder / "categories.csv", csv_text(rows, columns, decimals=4))
    page = render_page(
        "tools/preannotate/report.html",
        corrections=corrections,
        columns=[
            ("category", "category"),
            *((kind, kind) for kind in KINDS),
            ("seconds added", "frames_added"),
            ("removed", "frames_removed"),
            ("redrawn", "frames_redrawn"),
            ("overlap", "overlap"),
            ("taken for", "taken_for", "text"),
        ],
        categories=[
            {name: value or "" for name, value in row.items()}
            | {
                "overlap": "" if found.overlap is None else percent(100 * found.overlap, 0),
                "taken_for": " ".join(f"{other} ({count})" for other, count in found.taken_for.most_common()),
            }
            for row, found in zip(rows, categories.values(), strict=True)
        ],
        colours=_COLOURS,
        pictures=_pictures(corrections.changes, draft, corrected, frames),
    )
    write_text(folder / "report.html", page)


def _pictures(
    changes: Sequence[Change], draft: AnnotationSet, corrected: AnnotationSet, frames: Path
) -> list[tuple[Change, str]]:
    """The largest changes with a JPEG each, as a data URI."""
    before: dict[int | None, Track] = {track.id: track for track in draft.tracks}
    after: dict[int | None, Track] = {track.id: track for track in corrected.tracks}
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
        picture = read_picture(frames / change.video / f"{k:05d}.jpg", width_px=_WIDTH_PX)
        if picture is None:
            continue
        tracks = {"draft": before.get(change.draft), "corrected": after.get(change.corrected)}
        for name, track in tracks.items():
            segmentation = track.segmentations[k] if track else None
            if segmentation:
                mask = scaled_mask(segmentation, *sizes[change.video], picture).astype("uint8")
                outline, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(picture, outline, -1, _COLOURS[name], 2, cv2.LINE_AA)
        pictures.append((change, jpeg_uri(picture, quality=80)))
    return pictures
