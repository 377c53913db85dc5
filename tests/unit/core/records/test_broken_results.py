"""Files broken at random: one message of one line, or numbers; never a traceback."""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.metrics.score import score_files
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.run.errors import AvisError

MASK = masks.encode(np.eye(6, 8, dtype=bool))
POLYGON = [[0, 0, 4, 0, 4, 4]]
UNCOMPRESSED = {"size": [6, 8], "counts": [3, 5, 40]}
RESULTS = [
    {"video_id": 7, "category_id": 1, "score": 0.5, "segmentations": [MASK, None]},
    {"video_id": 7, "category_id": 2, "score": 0.25, "segmentations": [POLYGON, UNCOMPRESSED], "id": "b"},
]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, 9000 * "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=5,
)


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "test.json"
    video = Video(7, "clip", ["clip/0.jpg", "clip/1.jpg"], 2, 6, 8)
    tracks = [Track(1, 7, 1, [MASK, None]), Track(2, 7, 2, [POLYGON, UNCOMPRESSED])]
    write_annotations(path, AnnotationSet({1: "violin", 2: "cat"}, [video], tracks))
    return path


def places(value, path=()):
    """Every place in a JSON document, as the keys that lead there."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def replaced(document, path, value):
    if not path:
        return value
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def check(truth, results):
    for lenient in (False, True):
        try:
            scores = score_files(truth, results, lenient=lenient)
        except AvisError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 2000
        else:
            for part in scores.protocols.values():
                values = [value for value in part.values.values() if value is not None]
                assert all(math.isfinite(value) for value in values)
            assert lenient or not scores.left_out


@given(place=st.sampled_from(list(places(RESULTS))), value=ANYTHING)
def test_any_value_anywhere_in_the_results(tmp_path, truth, place, value):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(replaced(RESULTS, place, value)))
    check(truth, path)


@given(data=st.data())
def test_any_value_anywhere_in_the_ground_truth(tmp_path, truth, data):
    document = json.loads(truth.read_text())
    place = data.draw(st.sampled_from(list(places(document))))
    path, results = tmp_path / "broken.json", tmp_path / "results.json"
    path.write_text(json.dumps(replaced(document, place, data.draw(ANYTHING))))
    results.write_text(json.dumps(RESULTS))
    check(path, results)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_any_byte_anywhere(tmp_path, truth, at, byte, cut):
    text = bytearray(json.dumps(RESULTS).encode())
    at %= len(text)
    text[at:] = bytes([byte]) + (b"" if cut else text[at + 1 :])
    path = tmp_path / "results.json"
    path.write_bytes(bytes(text))
    check(truth, path)
