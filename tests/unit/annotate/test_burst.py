"""BURST, as its authors' annotation files have it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from components.annotate.clock import Clock
from components.annotate.exports import read_sources
from components.annotate.formats import Reading
from components.core.records.masks import decode
from components.core.run.errors import AvisError


def code(x: int) -> str:
    mask = np.zeros((6, 8), np.uint8, order="F")
    mask[1:3, x : x + 3] = 1
    return str(coco_mask.encode(mask)["counts"].decode())


def document() -> dict[str, Any]:
    every = [f"frame{k:04d}.jpg" for k in range(1, 152)]
    return {
        "split": "val",
        "categories": [
            {"id": 805, "name": "person", "synset": "person.n.01", "def": "", "synonyms": ["person"]},
            {"id": 371, "name": "dog", "synset": "dog.n.01", "def": "", "synonyms": ["dog"]},
        ],
        "sequences": [
            {
                "id": 3, "seq_name": "v_abc", "dataset": "HACS", "width": 8, "height": 6, "fps": 30,
                "all_image_paths": every, "annotated_image_paths": [every[k] for k in (0, 30, 60, 120)],
                "neg_category_ids": [], "not_exhaustive_category_ids": [],
                "track_category_ids": {"1": 371, "4": 805, "5": 805},
                "segmentations": [
                    {"1": {"rle": code(1), "is_gt": True}, "4": {"rle": code(4), "is_gt": True}},
                    {}, {"1": {"rle": code(2), "is_gt": True}}, {"1": {"rle": code(3), "is_gt": True}},
                ],
            },
            {
                "id": 4, "seq_name": "quiet", "dataset": "BDD", "width": 8, "height": 6, "fps": 30,
                "all_image_paths": every, "annotated_image_paths": [every[30], every[60]],
                "neg_category_ids": [], "not_exhaustive_category_ids": [371], "track_category_ids": {},
                "segmentations": [{}, {}],
            },
        ],
    }  # fmt: skip


def read(folder: Path, found: dict[str, Any]) -> Reading:
    (folder / "all_classes.json").write_text(json.dumps(found))
    (source,) = read_sources(folder / "all_classes.json")
    assert source.format.name == "burst"
    return source.reading


def test_its_tracks_are_read_at_the_annotated_frames(tmp_path: Path) -> None:
    reading = read(tmp_path, document())
    found = reading.annotations
    assert [(v.name, v.length, v.height, v.width) for v in found.videos] == [
        ("v_abc", 5, 6, 8),
        ("quiet", 2, 6, 8),
    ]
    names = [(track.id, found.categories[track.category_id]) for track in found.tracks]
    assert names == [(1, "dog"), (4, "person"), (5, "person")]
    areas = [[int(decode(s, 6, 8).sum()) for s in track.segmentations] for track in found.tracks]
    assert areas == [[6, 0, 6, 0, 6], [6, 0, 0, 0, 0], [0] * 5]
    assert reading.clocks == {"v_abc": Clock(0, 30), "quiet": Clock(30, 30)}
    assert reading.changes.line() == "1 frame filled, 1 video guessed"


def test_masks_made_by_a_program_are_said(tmp_path: Path) -> None:
    found = document()
    found["sequences"][0]["segmentations"][0]["1"] |= {"is_gt": False, "score": 0.8}
    assert "1 mask guessed" in read(tmp_path, found).changes.line()


def without(key: str) -> Any:
    return lambda sequence: sequence.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["segmentations"][0]["1"].update(point=[1, 1]), "first_frame_annotations.*all_classes"),
        (lambda s: s["track_category_ids"].pop("4"), r"not in track_category_ids.*'v_abc', frame 0, track 4"),
        (lambda s: s["track_category_ids"].update({"4": 9}), "category id 9 is not among the categories"),
        (lambda s: s["segmentations"].pop(), "4 annotated_image_paths and 3 segmentations"),
        (lambda s: s["annotated_image_paths"].__setitem__(1, "x.jpg"), "'x.jpg' is not in all_image_paths"),
        (lambda s: s["annotated_image_paths"].reverse(), "not in the order of all_image_paths"),
        (lambda s: s["segmentations"][0]["1"].update(rle="~"), "not decode.*'v_abc', track 1, frame 0"),
        (without("segmentations"), "'segmentations' is missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_message_with_its_place(tmp_path: Path, change: Any, message: str) -> None:
    found = document()
    change(found["sequences"][0])
    with pytest.raises(AvisError, match=message):
        read(tmp_path, found)
