"""Files that CVAT 2.15's own exporters wrote (Datumaro's for COCO, Datumaro and MOTS PNG), of made tasks.

Of the project clip_a has every second frame of its video from 3 on, clip_a and clip_b are of one subset, and
clip_d is two jobs that share a frame.
"""

from pathlib import Path

import numpy as np
import pytest

from components.annotate.clock import Clock
from components.annotate.exports import read_sources
from components.core.records.masks import decode
from components.core.run.errors import AvisError

EXPORTS = Path(__file__).parents[2] / "data" / "annotation_exports" / "cvat_2.15"
Box = tuple[int, int, int, int]  # left, top, right, bottom; the latter two are outside
DOG_A = dict.fromkeys((0, 3, 4), (2, 3, 6, 8))
CELLO_A = {k: (8 + 2 * k, 20, 22 + 2 * k, 25) for k in (1, 2, 3)}  # two polygons in a group
CELLO_B = dict.fromkeys((1, 4, 5), (5, 4, 9, 9))
DOG_B = {k: (1 + 2 * min(k, 4), 15, 5 + 2 * min(k, 4), 20) for k in range(6)}
PROJECT = {
    "clip_a": [("cello", CELLO_A), ("dog", DOG_A)],
    "clip_b": [("cello", CELLO_B), ("dog", DOG_B)],
    "clip_c": [("dog", {2: (8, 8, 12, 13)})],
}
CELLO_OF_TRACKS = {k: (8 + 2 * k, 2, 12 + 2 * k, 7) for k in (1, 2, 3)}
TRACKS = {"clip_b": [("cello", CELLO_OF_TRACKS), ("dog", DOG_B)]}
LENGTHS = {"clip_a": 5, "clip_b": 6, "clip_c": 4, "clip_d": 7}


def objects(path: Path) -> dict[str, list[tuple[str, dict[int, Box]]]]:
    """By video: the category and the boxes of the masks by frame, of each track."""
    found: dict[str, list[tuple[str, dict[int, Box]]]] = {}
    for source in read_sources(path, sizes={"clip_b": (30, 40)}):  # Datumaro's tells none
        annotations = source.reading.annotations
        for video in annotations.videos:
            assert video.length == LENGTHS[video.name]
            found[video.name] = []
        names = {video.id: video for video in annotations.videos}
        for track in annotations.tracks:
            video, boxes = names[track.video_id], {}
            for frame, segmentation in enumerate(track.segmentations):
                rows, columns = np.nonzero(decode(segmentation, video.height, video.width))
                if len(rows):
                    left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
                    boxes[frame] = (int(left), int(top), int(right) + 1, int(bottom) + 1)
            found[video.name].append((annotations.categories[track.category_id], boxes))
    return {name: sorted(tracks, key=str) for name, tracks in found.items()}


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("project_video.xml", PROJECT),
        ("project_images.xml", PROJECT),
        ("clip_b_coco.json", TRACKS),
        ("clip_b_datumaro.json", TRACKS),
        ("clip_b_mots.zip", TRACKS),
    ],
)
def test_every_object_is_where_it_was_drawn(
    tmp_path: Path, name: str, right: dict[str, list[tuple[str, dict[int, Box]]]]
) -> None:
    video = "clip_b" if name.startswith("clip_b") else "project"
    path = tmp_path / f"{video}{Path(name).suffix}"
    path.write_bytes((EXPORTS / name).read_bytes())
    assert objects(path) == right


def test_jobs_are_put_together(tmp_path: Path) -> None:
    for job in (1, 2):
        name = f"clip_d.job_{job}.xml"
        (tmp_path / name).write_bytes((EXPORTS / name).read_bytes())
    dog = {k: (1 + 2 * min(k, 5), 3, 5 + 2 * min(k, 5), 8) for k in range(1, 7)}
    assert objects(tmp_path) == {"clip_d": [("dog", dog)]}


def test_start_and_step_of_a_task_are_told() -> None:
    (source,) = read_sources(EXPORTS / "project_video.xml")
    assert source.reading.clocks["clip_a"] == Clock(first=3, step=2)


@pytest.mark.parametrize("name", ["two_numberings_coco.json", "two_numberings_datumaro.json"])
def test_a_track_of_cvat_and_a_shape_of_its_number_are_not_one_object(name: str) -> None:
    """CVAT's number of a track, 0, hides the attribute `track_id` that labels have: "0" is another object."""
    with pytest.raises(AvisError, match=r"track_id 0 .*two objects of one number") as caught:
        read_sources(EXPORTS / name, sizes={Path(name).stem: (30, 40)})
    assert "CVAT for video" in str(caught.value.fix)
