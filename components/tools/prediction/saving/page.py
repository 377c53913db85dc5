"""page.html: plays the film, with a timeline that one can click; one file, readable anywhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.files import replace_file
from components.tools.prediction.saving import Saver
from components.tools.prediction.saving.film import FILM

if TYPE_CHECKING:
    from components.core.video.tracks import VideoTracks

_MOST_INSIDE_BYTES = 100_000_000  # of the film; a browser holds the text of a page in memory
_FILM_HERE = "FILM-GOES-HERE"
_PIECE = 3 * 2**20  # of three bytes base64 makes four letters, with nothing left over


def _write(folder: Path, found: VideoTracks) -> None:
    from components.core.reports.overlay import track_colours
    from components.core.reports.page import render_page

    film = folder / FILM
    inside = film.stat().st_size <= _MOST_INSIDE_BYTES
    colours = track_colours([thing.category_id for thing in found.objects])
    length_s = found.frames / found.rate_hz
    page = render_page(
        "tools/prediction/saving/page.html",
        title=found.name,
        found=found,
        length_s=length_s,
        objects=[
            {
                "name": thing.name,
                "score": thing.score,
                "colour": "rgb({}, {}, {})".format(*colour),
                "spans": [
                    {
                        "start_s": start_s,
                        "end_s": end_s,
                        "left": round(100 * start_s / length_s, 3),
                        "width": round(100 * (end_s - start_s) / length_s, 3),
                    }
                    for start_s, end_s in thing.intervals_s
                ],
            }
            for thing, colour in zip(found.objects, colours, strict=True)
        ],
        axis_s=[f"{part * length_s / 4:.{1 if length_s < 20 else 0}f} s" for part in range(5)],
        poster=_poster(film, next((thing.intervals_s[0][0] for thing in found.objects), 0.0)),
        film=_FILM_HERE if inside else FILM,
        inside=inside,
    )
    head, _, tail = page.partition(_FILM_HERE)
    with (
        replace_file(folder / "page.html") as temporary,
        temporary.open("wb") as file,
        film.open("rb") as source,
    ):
        file.write(head.encode(errors="backslashreplace"))
        if inside:
            file.write(b"data:video/mp4;base64,")
            while piece := source.read(_PIECE):
                file.write(base64.b64encode(piece))
        file.write(tail.encode(errors="backslashreplace"))


def _poster(film: Path, begin_s: float) -> str:
    """The film's first picture at a time, a JPEG in base64: what a page shows before somebody plays it."""
    import cv2
    import numpy as np

    from components.core.media.container import open_media

    with open_media(film) as container:
        container.seek(int(begin_s * 1e6))
        pictures = container.decode(video=0)
        picture = next(pictures)
        while (picture.time or 0.0) < begin_s and (later := next(pictures, None)) is not None:
            picture = later
        coded = cv2.imencode(".jpg", np.ascontiguousarray(picture.to_ndarray(format="bgr24")))[1]
    return base64.b64encode(coded.tobytes()).decode("ascii")


SAVERS = (Saver("page", "page.html: plays the film, with a timeline to click", _write, after=("film",)),)
