"""Audacity label tracks, only written: when each track sounds, to be corrected in Audacity.

They come back through `--sound` of `avis convert` and annotate.sound.
"""

from pathlib import Path

from components.annotate.capabilities import PARTS
from components.annotate.formats import Format
from components.annotate.sound_labels import sounding_of
from components.core.records.annotations import AnnotationSet
from components.core.run.files import new_folder, write_text


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    intervals, lost = sounding_of(annotations)
    with new_folder(path) as folder:
        for video in annotations.videos:
            rows = sorted(
                (start, end, f"{annotations.categories[track.category_id]} {track.id}")
                for track in annotations.tracks
                if track.video_id == video.id
                for start, end in intervals[track.id]
            )
            lines = [f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n" for start, end, label in rows]
            write_text(folder / f"{video.name}.txt", "".join(lines))
    return lost


FORMAT = Format(
    name="audacity",
    description="Audacity labels: a folder of <video>.txt with lines start, end, `category track` (seconds)",
    recognise=lambda look: None,
    write=_write,
    holds=frozenset(PARTS),
)
