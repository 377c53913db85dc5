"""What people changed of a draft."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.tools.preannotate.corrections import compare
from components.tools.preannotate.report import write_report

HEIGHT, WIDTH, FRAMES = 40, 60, 4
CATEGORIES = {1: "dog", 2: "cello"}


def square(x: int, y: int = 5, side: int = 20) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    return encode(mask)


def labels(*tracks: tuple[int, list[Any]], name: str = "clip", categories: Any = CATEGORIES) -> AnnotationSet:
    video = Video(1, name, [f"{name}/{k:05d}.jpg" for k in range(FRAMES)], FRAMES, HEIGHT, WIDTH)
    return AnnotationSet(
        categories,
        [video],
        [Track(i, 1, category, masks) for i, (category, masks) in enumerate(tracks, start=1)],
    )


LEFT, RIGHT = [square(2)] * 4, [square(35)] * 4


def test_what_came_back_untouched_was_kept_whatever_its_new_number() -> None:
    found = compare(labels((1, LEFT), (2, RIGHT)), labels((2, RIGHT), (1, LEFT)))
    assert [change.kind for change in found.changes] == ["kept", "kept"]
    assert [change.overlap for change in found.changes] == [1, 1]


def test_each_kind_of_correction_is_told_apart() -> None:
    draft = labels((1, LEFT), (2, RIGHT), (1, [square(20, 25, 10), None, None, None]))
    moved = [square(2), square(4), None, square(2)]
    corrected = labels((2, [*RIGHT[:3], None]), (2, moved), (1, [None, None, None, square(50, 30, 8)]))
    found = compare(draft, corrected)
    by_kind = {change.kind: change for change in found.changes}
    assert [change.kind for change in found.changes] == ["relabelled", "redrawn", "removed", "added"]
    relabelled, redrawn = by_kind["relabelled"], by_kind["redrawn"]
    assert (relabelled.draft_category, relabelled.corrected_category) == ("dog", "cello")
    assert (relabelled.frames_redrawn, relabelled.frames_removed, relabelled.worst_frame) == (1, 1, 1)
    # of 400 pixels 360 are common: 360 / 440; the other two frames are the same
    assert relabelled.overlap == pytest.approx((2 + 360 / 440) / 3)
    assert (redrawn.frames_removed, redrawn.frames_added, redrawn.worst_frame) == (1, 0, 3)
    assert (by_kind["removed"].frames_removed, by_kind["added"].frames_added) == (1, 1)
    categories = found.by_category()
    assert list(categories) == ["cello", "dog"]
    assert categories["cello"].taken_for == {"dog": 1}
    assert categories["dog"].tracks == {"removed": 1, "added": 1}


def test_categories_are_compared_by_name(tmp_path: Path) -> None:
    found = compare(labels((1, LEFT)), labels((9, LEFT), categories={9: "dog"}))
    assert found.changes[0].kind == "kept"


def test_videos_that_only_one_side_has_are_named() -> None:
    found = compare(labels((1, LEFT)), labels((1, LEFT), name="other"))
    assert (found.videos, found.pending, found.unknown, found.changes) == (0, ["clip"], ["other"], [])


def test_another_length_is_refused() -> None:
    other = labels((1, LEFT))
    other.videos[0].length = 3
    with pytest.raises(AvisError, match=r"3 frames of 60x40, the draft 4"):
        compare(labels((1, LEFT)), other)


def test_the_report_draws_what_changed_and_escapes_names(tmp_path: Path) -> None:
    categories = {1: "<b>dog", 2: "cello"}
    draft = labels((1, LEFT), (2, RIGHT), categories=categories)
    corrected = labels((1, [square(4)] * 4), categories=categories)
    (tmp_path / "frames" / "clip").mkdir(parents=True)
    for k in range(FRAMES):
        cv2.imwrite(
            str(tmp_path / "frames" / "clip" / f"{k:05d}.jpg"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        )
    write_report(tmp_path / "out", compare(draft, corrected), draft, corrected, tmp_path / "frames")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>dog" not in page and "&lt;b&gt;dog" in page
    assert page.count("data:image/jpeg;base64,") == 2
    rows = (tmp_path / "out" / "categories.csv").read_text().splitlines()
    assert rows[0].startswith("category,kept,redrawn,relabelled,removed,added")
    assert "cello,0,0,0,1,0,0,4,0,," in rows
    assert len((tmp_path / "out" / "corrections.csv").read_text().splitlines()) == 3
