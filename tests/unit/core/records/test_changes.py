"""What readers changed: counted by reason, shown with examples, refused where it is too much."""

from typing import Any

import pytest

from components.core.records.changes import Changes, Kind, changes_of_text
from components.core.run.errors import AvisError

OUTSIDE = "it lies outside the frame"


def some() -> Changes:
    changes = Changes()
    for frame in range(7):
        changes.add(Kind.DROPPED, "mask", OUTSIDE, example=f"clip, frame {frame}")
    changes.add(Kind.MERGED, "mask", "its track has another one in the same frame", count=2)
    changes.add(Kind.RENAMED, "category", "the map says so", example="Dog to dog")
    changes.add(Kind.FILLED, "frame", "nothing happened", count=0)
    return changes


def test_equal_reasons_are_counted_together_and_the_first_examples_kept() -> None:
    changes = some()
    assert changes.sentences() == [
        "7 masks dropped: it lies outside the frame (clip, frame 0, clip, frame 1, clip, frame 2, …)",
        "2 masks merged: its track has another one in the same frame",
        "1 category renamed: the map says so (Dog to dog)",
    ]
    assert changes.line() == "7 masks dropped, 2 masks merged, 1 category renamed"
    assert Changes().line() == "nothing" and not Changes()
    assert changes.report() == [
        "changed on reading: 7 masks dropped, 2 masks merged, 1 category renamed",
        *(f"  {sentence}" for sentence in changes.sentences()),
    ]
    assert len(changes.rows()[0]["examples"]) == 5
    assert changes.metrics() == {
        "changed.dropped.mask": 7.0, "changed.merged.mask": 2.0, "changed.renamed.category": 1.0,
    }  # fmt: skip


def test_a_text_column_gives_the_same_changes_back() -> None:
    changes = some()
    assert changes_of_text(changes.text()).rows() == changes.rows()
    assert Changes().text() == "" and not changes_of_text("")


def test_changes_of_several_sources_name_their_source() -> None:
    together = Changes()
    together.extend(some(), "a.xml")
    together.extend(some(), "b.xml")
    first, second, _ = together
    assert first.count == 14 and first.examples[0] == "a.xml: clip, frame 0"
    assert second.examples == ["a.xml", "b.xml"]


def test_too_much_is_an_error_that_names_the_cause() -> None:
    changes = some()
    how: dict[str, Any] = {"strict": False, "where": "a.xml", "setting": "annotate.max_changed_share"}
    changes.refuse({"mask": 700}, max_share=0.01, **how)
    with pytest.raises(AvisError) as error:
        changes.refuse({"mask": 699}, max_share=0.01, **how)
    for part in ("7 of 699 masks (1.0%)", OUTSIDE, "clip, frame 0", "a.xml", "annotate.max_changed_share"):
        assert part in str(error.value)
    with pytest.raises(AvisError, match="strict reading was asked for: 7 masks dropped"):
        changes.refuse({"mask": 10_000}, max_share=0.01, **{**how, "strict": True})
    Changes().refuse({"mask": 0}, max_share=0.0, **{**how, "strict": True})
