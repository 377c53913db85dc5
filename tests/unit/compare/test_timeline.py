import numpy as np

from components.compare.strips import choose
from components.compare.timeline import Span, spans
from components.core.records import masks


def test_spans_count_objects_and_skip_empty_masks():
    full = masks.encode(np.ones((4, 6), dtype=bool))
    empty = masks.encode(np.zeros((4, 6), dtype=bool))
    one = [full, full, full, None, empty, full]
    two = [None, full, full, None, None, None]
    found = spans([one, two], length_s=6, height_px=4, width_px=6)
    assert found == [Span(0, 1, 1), Span(1, 3, 2), Span(5, 6, 1)]
    assert spans([], length_s=6, height_px=4, width_px=6) == []


def test_clips_are_spread_from_worst_to_best():
    scored = [("e", 90.0), ("a", 10.0), ("c", 50.0), ("b", 50.0), ("d", 70.0)]
    assert choose(scored, 3) == ["a", "c", "e"]
    assert choose(scored, 1) == ["c"]
    assert choose(scored, 9) == ["a", "b", "c", "d", "e"]
    assert choose(scored, 0) == []
