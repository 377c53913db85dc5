import numpy as np

from components.core.reports.timeline import Span, outline, spans


def test_spans_are_of_frames_with_the_same_number_of_objects() -> None:
    assert spans([1, 2, 2, 0, 0, 1]) == [Span(0, 1, 1), Span(1, 3, 2), Span(5, 6, 1)]
    assert spans([True, True, False, True], first=7) == [Span(7, 9), Span(10, 11)]
    assert spans([]) == []


def test_the_outline_is_high_where_the_sound_is_loud() -> None:
    samples = np.zeros(1000, dtype=np.int16)
    samples[500:] = -32768  # has no positive counterpart in 16 bit
    points = [tuple(map(float, point.split(","))) for point in outline(samples, columns=10).split()]
    assert len(points) == 20
    assert [y for _, y in points[:10]] == [49.0] * 5 + [2.0] * 5
    assert points[-1] == (5.0, 51.0)  # the lower edge goes back to the left
    assert outline(samples[:3]).startswith("0.25,49.0")  # too short to draw
