"""Boxes become masks: which box goes on where, when an object sounds, what the evaluator says."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.core.records.annotations import Video, read_annotations
from components.core.records.masks import decode
from components.core.records.results import read_results
from components.core.run.paths import Paths
from components.core.video.frame_prompt import FramePrompt
from components.mllm.params import MllmParams
from components.mllm.segments import linked, mask_scores, mask_tracks, segmented, sounding_seconds
from components.mllm.sounding import Sounding
from components.mllm.stage import mllm
from tests.support.chat_server import true_sounding
from tests.support.tiny_sam import write_sam

A, NEAR_A, B = (0.0, 0.0, 400.0, 400.0), (50.0, 0.0, 450.0, 400.0), (500.0, 500.0, 900.0, 900.0)


def fill(frames, prompts):
    """A segmenter that fills the boxes that it is told, and holds the last one."""
    found = []
    for told in prompts:
        track, box = [], next(iter(sorted(told.items())))[1].box
        for second, frame in enumerate(frames):
            box = told[second].box if second in told else box
            mask = np.zeros(frame.shape[:2], bool)
            left, top, right, bottom = (round(side) for side in box)
            mask[top:bottom, left:right] = True
            track.append(mask)
        found.append(track)
    return found


def test_a_box_goes_on_where_it_overlaps_the_last_of_its_category():
    boxes = {
        0: (("dog", A), ("dog", B), ("cat", A)),
        1: (("dog", B), ("dog", NEAR_A)),
        3: (("dog", NEAR_A), ("cat", B)),
    }
    assert linked(Sounding(4, {}, {}, boxes)) == [
        ("dog", {0: A, 1: NEAR_A, 3: NEAR_A}),
        ("dog", {0: B, 1: B}),
        ("cat", {0: A}),
        ("cat", {3: B}),  # elsewhere: another one
    ]
    assert linked(Sounding(4, {"dog": 1}, {}, None)) == []


def test_a_second_without_any_box_of_the_category_counts_where_it_is_said_to_sound():
    boxes = {0: (("dog", A), ("dog", B)), 1: (("dog", A),)}
    answer = Sounding(4, {}, {"dog": frozenset({0, 1, 2})}, boxes)
    assert sounding_seconds(answer, "dog", {0: A, 1: A}) == {0, 1, 2}
    assert sounding_seconds(answer, "dog", {0: B}) == {0, 2}  # in 1 it is the other one


def test_boxes_are_told_in_pixels_and_masks_kept_where_it_sounds():
    told: list[dict[int, FramePrompt]] = []

    def segment(frames, prompts):
        told.extend(prompts)
        return fill(frames, prompts)

    video = Video(7, "a", [], 3, 40, 80)
    answer = Sounding(3, {}, {"dog": frozenset({1})}, {1: (("dog", (500.0, 250.0, 1000.0, 500.0)),)})
    frames = [np.zeros((40, 80, 3), np.uint8)] * 3
    (result,) = mask_tracks(answer, video, frames, {"dog": 5}, segment)
    assert told[0][1].box == (40.0, 10.0, 80.0, 20.0)
    assert (result.video_id, result.category_id, result.score) == (7, 5, 1.0)
    assert [s is None for s in result.segmentations] == [True, False, True]
    mask = decode(result.segmentations[1], 40, 80)
    assert mask.sum() == 400 and mask[10:20, 40:].all()


def test_right_boxes_score_full_by_the_evaluator_and_half_of_them_half(workplace):
    annotations = read_annotations(workplace / "data" / "annotations" / "test.json")
    paths = Paths(workplace / "data")
    every = {f"clip{k}": true_sounding(k) for k in range(4)}
    results = segmented(every, annotations, fill, paths)
    perfect = mask_scores(results, annotations, list(every))
    assert perfect["corrected_mAP"] == perfect["corrected_HOTA"] == perfect["corrected_FSLA"] == 100.0
    two = segmented({**every, "clip2": None, "clip3": None}, annotations, fill, paths)
    half = mask_scores(two, annotations, list(every))
    assert half["corrected_FSLA"] == pytest.approx(100 * 8 / 12)  # the third second is silent in each
    assert half["corrected_FSLAs"] == 50.0
    # a clip without reply is no wrong answer
    assert mask_scores(two, annotations, ["clip0", "clip1"])["corrected_FSLA"] == 100.0
    assert mask_scores([], annotations, []) == {}


@pytest.mark.slow
def test_the_stage_scores_a_language_model_with_a_real_segmenter(workplace, server, tmp_path_factory):
    sam = write_sam(tmp_path_factory.mktemp("sam"))
    model = {"name": "listener", "model": "m", "base_url": server.url, "modalities": ["video", "audio"]}
    paths = Paths(workplace / "data")
    params = MllmParams.model_validate({"models": [model], "segmenter": str(sam)})
    metrics = mllm(params, ["good"], paths)
    values = metrics["listener/video"]
    assert values["box_fsla"] == 100.0 and 0 <= values["corrected_FSLA"] <= 100.0
    assert "corrected_FSLA" not in metrics["listener/audio"]
    file = paths.mllm / "listener" / "masks-video.json"
    results = read_results(file)
    assert sorted(result.video_id for result in results) == [1, 2, 3, 4]
    assert {len(result.segmentations) for result in results} == {3}
    assert all(result.segmentations[2] is None for result in results)  # nothing sounds there
    written = file.read_bytes()
    mllm(params, ["good"], paths)
    assert file.read_bytes() == written and json.loads(written)
    assert isinstance(params.segmenter, Path)
