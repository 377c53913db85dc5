"""ELAN files, only written: a tier for each track, an annotation for each interval in which it sounds.

They come back through `--sound` of `avis convert` and annotate.sound.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent  # builds; never parses

from components.annotate.capabilities import PARTS
from components.annotate.formats import Format
from components.annotate.sound_labels import sounding_of
from components.core.records.annotations import AnnotationSet, Track, tracks_by_video
from components.core.run.files import new_folder


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    intervals, lost = sounding_of(annotations)
    tracks_of = tracks_by_video(annotations)
    with new_folder(path) as folder:
        for video in annotations.videos:
            root = _document(tracks_of[video.id], annotations.categories, intervals)
            indent(root)
            ElementTree(root).write(folder / f"{video.name}.eaf", encoding="utf-8", xml_declaration=True)
    return lost


def _document(
    tracks: Sequence[Track], categories: Mapping[int, str], intervals: dict[int, list[tuple[float, float]]]
) -> Element:
    root = Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE="1970-01-01T00:00:00Z", FORMAT="3.0", VERSION="3.0")
    SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    order = SubElement(root, "TIME_ORDER")
    slots = annotation_number = 0
    for track in tracks:
        category = categories[track.category_id]
        tier = SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default", TIER_ID=f"{category} {track.id}")
        for interval in intervals[track.id]:
            references = {}
            for side, time_s in enumerate(interval, start=1):
                slots += 1
                SubElement(
                    order, "TIME_SLOT", TIME_SLOT_ID=f"ts{slots}", TIME_VALUE=str(round(time_s * 1000))
                )
                references[f"TIME_SLOT_REF{side}"] = f"ts{slots}"
            annotation_number += 1
            references["ANNOTATION_ID"] = f"a{annotation_number}"
            aligned = SubElement(SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", references)
            SubElement(aligned, "ANNOTATION_VALUE").text = category
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default", "TIME_ALIGNABLE": "true"}
    SubElement(root, "LINGUISTIC_TYPE", kind)
    return root


FORMAT = Format(
    name="elan",
    description="ELAN: a folder of <video>.eaf, a tier `category track` for each track",
    recognise=lambda look: None,
    write=_write,
    holds=frozenset(PARTS),
)
