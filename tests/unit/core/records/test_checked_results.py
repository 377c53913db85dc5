"""Bad results files: one message that names row, video and frame; lenient reading counts and goes on."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.metrics.score import numbers, score_files
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.records.results_on_disk import Rows, scan
from components.core.run.errors import AvisError

FULL = masks.encode(np.ones((6, 8), dtype=bool))
OTHER_SIZE = masks.encode(np.ones((8, 6), dtype=bool))


def row(**changes):
    return {"video_id": 7, "category_id": 1, "score": 0.5, "segmentations": [FULL, None]} | changes


@pytest.fixture
def ground_truth(tmp_path) -> Path:
    path = tmp_path / "test.json"
    video = Video(7, "clip", ["clip/0.jpg", "clip/1.jpg"], 2, 6, 8)
    write_annotations(path, AnnotationSet({1: "violin"}, [video], [Track(1, 7, 1, [FULL, None])]))
    return path


def results(tmp_path, rows) -> Path:
    path = tmp_path / "results.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        (row(video_id=8), ["row 1", "video 8", "video_id"]),
        (row(video_id="7"), ["row 1", "'7'"]),
        (row(category_id=2), ["row 1", "'clip'", "category 2", "1 violin"]),
        (row(score=1.5), ["row 1", "'clip'", "1.5", "score"]),
        (row(score=10**400), ["row 1", "'clip'", "score"]),
        (row(score=float("nan")), ["row 1", "'clip'", "nan", "score"]),
        (row(score=True), ["row 1", "True"]),
        (row(segmentations=[FULL]), ["row 1", "'clip'", "1 masks for 2 frames"]),
        (row(segmentations=None), ["row 1", "'clip'", "segmentations"]),
        (row(segmentations=[None, OTHER_SIZE]), ["row 1", "'clip'", "frame 1", "[8, 6]", "[6, 8]"]),
        (row(segmentations=[{"size": [6, 8], "counts": "~~~"}, None]), ["row 1", "'clip'", "frame 0"]),
        (row(segmentations=[{"size": [6, 8], "counts": [5]}, None]), ["row 1", "frame 0", "5 of 48"]),
        (row(segmentations=[3, None]), ["row 1", "'clip'", "frame 0"]),
        (row(score=0.25), ["row 1", "'clip'", "row 0"]),
        ("text", ["row 1", "JSON object"]),
    ],
)
def test_a_wrong_row(tmp_path, ground_truth, bad, parts):
    path = results(tmp_path, [row(score=0.25), bad, row(score=0.75)])
    with pytest.raises(AvisError) as error:
        score_files(ground_truth, path)
    message = str(error.value)
    assert "\n" not in message
    for part in [str(path), *parts]:
        assert part in message
    lenient = score_files(ground_truth, path, lenient=True)
    assert len(lenient.left_out) == 1
    values = lenient.protocols["corrected"].values
    assert (values["FSLAs"], values["FSLAn"]) == (0, 100)  # two masks on one: both right rows are there
    assert numbers(lenient, lenient=True)["official"]["left_out"] == 1


def test_two_rows_with_one_id(tmp_path, ground_truth):
    path = results(tmp_path, [row(id=3), row(id=3, score=0.7)])
    with pytest.raises(AvisError, match="row 0"):
        score_files(ground_truth, path)


@pytest.mark.parametrize("block_bytes", [7, 1 << 24])
def test_a_cut_off_file(tmp_path, ground_truth, monkeypatch, block_bytes):
    monkeypatch.setattr("components.core.records.results_on_disk._BLOCK_BYTES", block_bytes)
    whole = json.dumps([row(), row(score=0.7), row(score=0.8)])
    ends = [whole.index("}, {") + 1, whole.index("}, {") + 2, whole.index("0.7") + 1, len(whole) - 20]
    for end in [*ends, len(whole) - 1]:
        path = results(tmp_path, whole[:end])
        with pytest.raises(AvisError, match=r"not valid JSON.*row [12].*cut off|not valid JSON.*row 3"):
            score_files(ground_truth, path)
        lenient = score_files(ground_truth, path, lenient=True)  # the rows before the cut are scored
        assert len(lenient.left_out) == 1 and "what follows is left out" in lenient.left_out[0]
        assert lenient.protocols["corrected"].values["AR"] == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("video_id,score\n", "does not begin with"),
        ('{"a": 1}', "JSON list"),
        ("[" * 100_000, "nested too deeply"),
        ("[{} 2]", "not in the ground truth"),
        ("[ 2 ]", "JSON object.*row 0"),
        ("[] []", "the file goes on"),
    ],
)
def test_a_file_that_is_no_list(tmp_path, ground_truth, text, message):
    with pytest.raises(AvisError, match=message):
        score_files(ground_truth, results(tmp_path, text))


@given(
    st.lists(
        st.fixed_dictionaries({"text": st.text(), "number": st.floats(allow_nan=False) | st.integers()})
        | st.integers(),  # no row, but cut in two it would be another
        max_size=6,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.integers(1, 30),
)
def test_rows_are_found_wherever_the_blocks_end(tmp_path, monkeypatch, rows, indent, ascii_only, block_bytes):
    monkeypatch.setattr("components.core.records.results_on_disk._BLOCK_BYTES", block_bytes)
    path = tmp_path / "rows.json"
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    spans = [(number, start, end) for number, (start, end, _) in enumerate(scan(path))]
    texts = Rows(path, spans)
    for one in (list(texts), pickle.loads(pickle.dumps(texts)), [texts[n] for n in range(len(texts))]):
        assert [(number, json.loads(text.decode("utf-8", "surrogatepass"))) for number, text in one] == list(
            enumerate(rows)
        )


def test_missing_file_and_wrong_kind(tmp_path, ground_truth):
    with pytest.raises(AvisError, match="no results"):
        score_files(ground_truth, tmp_path / "nothing.json")
    with pytest.raises(AvisError, match="JSON list"):
        score_files(ground_truth, results(tmp_path, {"a": 1}))


def test_every_form_of_mask_is_read(tmp_path, ground_truth):
    polygons = [[0, 0, 8, 0, 8, 6, 0, 6]]
    uncompressed = {"size": [6, 8], "counts": [0, 48]}
    for form in (polygons, uncompressed, FULL):
        path = results(tmp_path, [row(segmentations=[form, None])])
        values = numbers(score_files(ground_truth, path, ["corrected"]))
        assert list(values) == ["corrected"]
        assert values["corrected"]["FSLA"] == values["corrected"]["mAP"] == 100.0


def test_ground_truth_without_videos(tmp_path):
    path = tmp_path / "empty.json"
    path.write_text('{"categories": [], "videos": [], "annotations": []}')
    with pytest.raises(AvisError, match="nothing to score"):
        score_files(path, results(tmp_path, []))
