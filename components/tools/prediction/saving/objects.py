"""objects.json: what was found and when, with a mask per computed frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.files import replace_file
from components.tools.prediction.saving import Saver

if TYPE_CHECKING:
    from components.core.video.tracks import VideoTracks


def _write(folder: Path, found: VideoTracks) -> None:
    """Piece by piece: the masks of an hour of fifty objects are never in memory together."""
    head = {
        "video": found.name,
        "frame_rate_hz": found.rate_hz,
        "frames": found.frames,
        "width": found.width,
        "height": found.height,
        "score_threshold": found.score_threshold,
        "is_deaf": found.is_deaf,
    }
    with (
        replace_file(folder / "objects.json") as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(json.dumps(head, indent=1, ensure_ascii=False)[:-2] + ',\n "objects": [')
        for place, thing in enumerate(found.objects):
            row = {
                "object": thing.number,
                "category": thing.category,
                "category_id": thing.category_id,
                "score": thing.score,
                "intervals_s": thing.intervals_s,
            }
            text = json.dumps(row, ensure_ascii=False)[:-1]
            file.write(f'{"," if place else ""}\n  {text}, "segmentations": [')
            for frame, mask in enumerate(thing.masks):
                file.write((", " if frame else "") + json.dumps(mask))
            file.write("]}")
        file.write("\n ]\n}\n" if found.objects else "]\n}\n")


SAVERS = (Saver("objects", "objects.json: category, score, intervals and a mask per computed frame", _write),)
