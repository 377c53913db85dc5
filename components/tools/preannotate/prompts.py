"""Boxes and points that people gave, a CSV: what a SAM-family model turns into tracks."""

import csv
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import safe_name
from components.core.video.frame_prompt import FramePrompt

COLUMNS = ("video_id", "track", "category", "frame", "left", "top", "right", "bottom", "x", "y", "inside")
_BOX = ("left", "top", "right", "bottom")


@dataclass(slots=True)
class TrackPrompts:
    """One object: its category, and its prompts by frame."""

    category: str
    frames: dict[int, FramePrompt] = field(default_factory=dict)


def read_prompts(path: Path) -> dict[str, dict[str, TrackPrompts]]:
    """Read a CSV of boxes and points: prompts by video and by the track's name.

    A row is a box (left, top, right, bottom) or a point (x, y; `inside` is 1, or 0 for a point beside the
    object). Rows with the same video_id and track are one object.

    Raises:
        AvisError: it names file, row and field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AvisError("There is no such file of prompts", where=str(path)) from None
    except UnicodeDecodeError:
        raise AvisError("The prompts are not UTF-8 text", where=str(path)) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    given = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = given
    for name in ("video_id", "track", "category", "frame"):
        if name not in given:
            raise AvisError(
                f"The column {name!r} is missing",
                where=f"{path}, row 1",
                fix=f"Columns: {', '.join(COLUMNS)}.",
            )
    unknown = [name for name in given if name not in COLUMNS]
    if unknown:
        raise AvisError(
            f"The column {unknown[0]!r} is unknown",
            where=f"{path}, row 1",
            fix=f"Columns: {', '.join(COLUMNS)}.",
        )
    videos: dict[str, dict[str, TrackPrompts]] = {}
    try:
        for row in reader:
            cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
            _add(videos, cells, f"{path}, row {reader.line_num}")
    except csv.Error as error:
        raise AvisError(f"Not valid CSV: {error}", where=f"{path}, row {reader.line_num}") from None
    if not videos:
        raise AvisError("The file has no prompts", where=str(path), fix="Add a row for each box or point.")
    return videos


def _add(videos: dict[str, dict[str, TrackPrompts]], cells: dict[str, str], where: str) -> None:
    try:
        video = safe_name(cells["video_id"])
    except AvisError as error:
        raise AvisError(error.what, where=f"{where}, field video_id", fix=error.fix) from None
    for name in ("track", "category"):
        if not cells[name]:
            raise AvisError(f"{name} is missing", where=where)
    if not re.fullmatch(r"[0-9]{1,7}", cells["frame"]):
        raise AvisError(f"{cells['frame'][:40]!r} is no frame number", where=f"{where}, field frame")
    track = videos.setdefault(video, {}).setdefault(cells["track"], TrackPrompts(cells["category"]))
    if track.category != cells["category"]:
        raise AvisError(
            f"The track {cells['track']!r} is a {track.category} in an earlier row",
            where=f"{where}, field category",
        )
    prompt = track.frames.setdefault(int(cells["frame"]), FramePrompt())
    given = [name for name in _BOX if cells[name]]
    if given and (len(given) < 4 or cells["x"] or cells["y"] or cells["inside"]):
        raise AvisError(
            "A row is either a whole box or a point",
            where=where,
            fix="Write the point into a row of its own.",
        )
    if all(cells[name] for name in _BOX):
        left, top, right, bottom = (_number(cells, name, where) for name in _BOX)
        if right <= left or bottom <= top:
            raise AvisError("The box has no area: right <= left or bottom <= top", where=where)
        if prompt.box is not None:
            raise AvisError("The track has two boxes on this frame", where=where)
        prompt.box = left, top, right, bottom
    elif cells["x"] and cells["y"]:
        if cells["inside"] not in ("", "0", "1"):
            raise AvisError(f"inside is {cells['inside'][:40]!r}, not 1 or 0", where=where)
        prompt.points.append((_number(cells, "x", where), _number(cells, "y", where), cells["inside"] != "0"))
    else:
        raise AvisError(
            "The row has neither a whole box nor a point",
            where=where,
            fix="Fill in left, top, right, bottom or x, y.",
        )


def _number(cells: dict[str, str], name: str, where: str) -> float:
    try:
        value = float(cells[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AvisError(f"{cells[name][:40]!r} is no number of pixels", where=f"{where}, field {name}")
    return value
