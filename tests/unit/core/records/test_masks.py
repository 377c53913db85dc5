import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from components.core.records import masks
from components.core.run.errors import AvisError

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def uncompressed(mask: np.ndarray) -> dict:
    """RLE by its definition: run lengths in column order, zeros first."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int))).tolist()
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": runs}


@given(MASKS)
def test_both_rle_forms_hold_the_mask(mask: np.ndarray) -> None:
    height, width = mask.shape
    for code in (masks.encode(mask), uncompressed(mask)):
        assert (masks.decode(code, height, width) == mask).all()
        assert masks.area(code) == mask.sum()
        assert masks.is_empty(code) == (not mask.any())
        assert masks.check(code, height, width) is None
        box = masks.bounding_box(code)
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert box == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
        else:
            assert box is None


@given(st.text(max_size=30), st.integers(1, 30), st.integers(1, 30))
def test_any_text_as_counts_decodes_or_is_refused(counts: str, height: int, width: int) -> None:
    try:
        mask = masks.decode({"size": [height, width], "counts": counts}, height, width)
    except AvisError:
        return
    assert masks.decode(masks.encode(mask), height, width).shape == (height, width)


def test_polygons() -> None:
    square = [[2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]]
    mask = masks.decode(square, 10, 10)
    assert mask[1:4, 2:6].all()
    assert mask.sum() == 12 == masks.area(square) == masks.area(square, 10, 10)
    assert masks.area(square, 10, 4) == 6  # cut at the frame
    assert masks.bounding_box(square, 10, 10) == [2.0, 1.0, 4.0, 3.0]


@pytest.mark.parametrize("nothing", [None, [], {"size": [720, 1280], "counts": "PPTl0"}])
def test_no_mask_has_three_forms(nothing: object) -> None:
    assert masks.is_empty(nothing)
    assert not masks.decode(nothing, 720, 1280).any()
    assert masks.bounding_box(nothing) is None


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [4, 5], "counts": [20]}, r"size is \[4, 5\], the video's is \[4, 4\]"),
        ({"size": [4, 4], "counts": [3]}, "cover 3 of 16"),
        ({"size": [4, 4], "counts": [17, -1]}, "run lengths"),
        ({"size": [4, 4], "counts": None}, "run lengths"),
        ({"size": [4, 4]}, "run lengths"),
        ({"size": [4, 4], "counts": "é"}, "malformed|pixels"),
        ({"size": [4, 4], "counts": "PPTl0"}, "pixels"),
        ([[0, 0, 1]], "at least 6"),
        ([[0, 0, 1, 1, 2, float("nan")]], "finite"),
        ("mask", "polygons, an RLE or null"),
    ],
)
def test_a_malformed_mask_says_why(segmentation: object, reason: str) -> None:
    with pytest.raises(AvisError, match=reason):
        masks.decode(segmentation, 4, 4)


def test_a_polygon_left_of_the_picture_is_empty() -> None:
    assert masks.is_empty([[-50.0, 10, -10, 10, -10, 50]]) and masks.is_empty([[-1e5] * 6])


@pytest.mark.parametrize("segmentation", [[None], [1.5], [["a", 1, 2, 3, 4, 5]], [[1, 2, [], 3, 4, 5]], "x"])
def test_malformed_polygons_without_a_size_are_one_error(segmentation: object) -> None:
    with pytest.raises(AvisError, match="does not decode"):
        masks.is_empty(segmentation)  # type: ignore[arg-type]


def test_equal_coordinates_are_one_object_and_no_number_changes() -> None:
    polygons = [[float(f"{k}.25") for k in range(6)], [0.25, 0.0, -0.0, 1, 1.0, 2.5]]
    first, second = (masks.compact(copy.deepcopy(polygons), 9, 9) for _ in range(2))
    assert json.dumps(first) == json.dumps(polygons)
    assert first[0][3] is second[0][3] and first[0][0] is second[1][0]


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([-999_999.0, -999_999.0, 999_999.0, 999_999.0] * 2000, id="far"),
        pytest.param([float(k * 37 % 90) for k in range(200_000)], id="many"),
    ],
)
def test_outlines_that_would_fill_the_memory_are_refused(points: list[float]) -> None:
    """pycocotools keeps each of their points, and ends the process where it finds no room."""
    assert masks.check([points], 100, 100) == "the outlines of its polygons are longer than 2,000,000 pixels"
    with pytest.raises(AvisError, match="longer than 2,000,000 pixels"):
        masks.area([points])


def test_a_long_outline_of_a_large_frame_is_a_mask() -> None:
    comb = [float(v) for k in range(100) for v in (2 * k, 0, 2 * k, 9000, 2 * k + 1, 9000, 2 * k + 1, 0)]
    assert masks.check([comb], 9216, 16384) is None
    assert masks.area([comb], 9216, 16384) == pytest.approx(100 * 9000, rel=0.02)


def test_an_rle_beyond_any_frame_has_no_valid_size() -> None:
    with pytest.raises(AvisError, match="no valid size"):
        masks.area({"size": [10**6, 10**6], "counts": [10**12]})
