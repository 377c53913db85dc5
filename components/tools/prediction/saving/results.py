"""results.json: the official results format of AVISeg, of one video whose id is 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.files import replace_file
from components.tools.prediction.saving import Saver

if TYPE_CHECKING:
    from components.core.video.tracks import VideoTracks


def _write(folder: Path, found: VideoTracks) -> None:
    """As `core.records.results.write_results`, piece by piece; an empty mask stays an RLE, as there."""
    import numpy as np

    from components.core.records.masks import encode

    silent = json.dumps(encode(np.zeros((found.height, found.width), bool)), separators=(",", ":"))
    with (
        replace_file(folder / "results.json") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write("[")
        for place, thing in enumerate(found.objects):
            row = {"video_id": 1, "score": thing.score, "category_id": thing.category_id}
            text = json.dumps(row, separators=(",", ":"))[:-1]
            file.write(f'{"," if place else ""}{text},"segmentations":[')
            for frame, mask in enumerate(thing.masks):
                code = silent if mask is None else json.dumps(mask, separators=(",", ":"))
                file.write(("," if frame else "") + code)
            file.write("]}")
        file.write("]\n")


SAVERS = (Saver("results", "results.json: AVISeg's results format, of a video with the id 1", _write),)
