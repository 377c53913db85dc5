"""When each object sounds: a table of seconds, subtitles (WebVTT) and a diarisation (RTTM)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.files import write_csv, write_text
from components.tools.prediction.names import plain_name
from components.tools.prediction.saving import Saver

if TYPE_CHECKING:
    from components.core.video.tracks import FoundObject, VideoTracks

_COLUMNS = (
    *("video", "object", "category", "score", "start_s", "end_s", "sounds"),
    *("area_px", "x_px", "y_px", "width_px", "height_px"),
)


def _write_csv(folder: Path, found: VideoTracks) -> None:
    from components.core.records.masks import area, bounding_box

    def rows() -> Iterator[dict[str, object]]:
        for thing in found.objects:
            for frame, mask in enumerate(thing.masks):
                start_s, end_s = (f"{k / found.rate_hz:g}" for k in (frame, frame + 1))
                box = bounding_box(mask)
                cells = (
                    *(found.name, thing.number, thing.category, thing.score, start_s, end_s),
                    *(int(mask is not None), area(mask)),
                    *((f"{value:g}" for value in box) if box else ("",) * 4),
                )
                yield dict(zip(_COLUMNS, cells, strict=True))

    write_csv(folder / "seconds.csv", _COLUMNS, rows())


def _write_vtt(folder: Path, found: VideoTracks) -> None:
    """Cues in the order of time; the text between < and & is escaped as WebVTT wants it."""
    cues = [
        f"{number}\n{_stamp(start_s)} --> {_stamp(end_s)}\n{_cue(thing)}\n"
        for number, (start_s, end_s, thing) in enumerate(_events(found), start=1)
    ]
    write_text(folder / "sounds.vtt", "\n".join(["WEBVTT\n", *cues]))


def _write_rttm(folder: Path, found: VideoTracks) -> None:
    name = plain_name(Path(found.name).stem)
    lines = [
        f"SPEAKER {name} 1 {start_s:.3f} {end_s - start_s:.3f} <NA> <NA> {plain_name(thing.name)} "
        f"{thing.score:.6f} <NA>\n"
        for start_s, end_s, thing in _events(found)
    ]
    write_text(folder / "sounds.rttm", "".join(lines))


def _events(found: VideoTracks) -> Iterator[tuple[float, float, FoundObject]]:
    rows = [(start_s, end_s, thing) for thing in found.objects for start_s, end_s in thing.intervals_s]
    return iter(sorted(rows, key=lambda row: (row[0], row[1], row[2].number)))


def _cue(thing: FoundObject) -> str:
    text = f"{thing.name} ({thing.score:.2f})"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _stamp(time_s: float) -> str:
    milliseconds = round(time_s * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


SAVERS = (
    Saver("csv", "seconds.csv: a row per object and computed frame, with area and box", _write_csv),
    Saver("vtt", "sounds.vtt: WebVTT subtitles of who sounds when", _write_vtt),
    Saver("rttm", "sounds.rttm: the same as a diarisation", _write_rttm),
)
