"""Thresholds chosen on clips whose truth is known, and how far scores can be believed."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from components.core.calibration.candidates import ClipCandidates, find_candidates
from components.core.calibration.reliability import reliability, silence
from components.core.calibration.thresholds import choose_thresholds, mean_fsla
from components.core.disturbance.clips import Clips
from components.core.inference.extracted_clips import clip_moments
from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.metrics.overlaps import Overlaps, Side, VideoMasks, measure
from components.core.records.annotations import read_annotations
from components.core.run.paths import Paths
from models.inference.offline import Evidence
from tests.support.tiny_model import write_finder, write_square_set


def side(categories: list[int], areas: list[list[int]], scores: list[float] | None = None) -> Side:
    area = np.array(areas, np.int64).reshape(len(categories), len(areas[0]) if areas else 2)
    return Side(
        np.arange(len(categories)),
        np.array(categories, np.int64),
        np.array(scores or [1.0] * len(categories)),
        np.zeros(len(categories), bool),
        area,
        area > 0,
    )


def clip_of(
    truth: list[list[int]], candidates: list[tuple[float, list[float]]], heard: list[float] | None = None
) -> ClipCandidates:
    """One category; each candidate (probability, presence per frame) lies on the true track of its number, or
    beside all where there is none. `heard`: of the category in each frame, by the sound alone."""
    frames = len(truth[0])
    evidence = [
        Evidence(
            probability=probability,
            presence=logit(np.array(presence)).astype(np.float32),
            heard=np.full(frames, np.inf, np.float32) if heard is None else logit(heard).astype(np.float32),
            foreground=np.full(frames, 100.0),
            pixels=np.full(frames, 100),
        )
        for probability, presence in candidates
    ]
    intersections = np.zeros((frames, len(truth), len(candidates)), np.int64)
    for row, areas in enumerate(truth[: len(candidates)]):
        intersections[:, row, row] = areas
    predicted = side([1] * len(candidates), [[100] * frames] * len(candidates))
    overlaps = Overlaps("clip", 20, 20, side([1] * len(truth), truth), predicted, intersections)
    return ClipCandidates(overlaps, evidence)


def test_candidates_under_thresholds_are_what_predict_keeps(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    write_square_set(paths, "val")
    annotations = read_annotations(paths.annotations / "val.json")
    folder = write_finder(tmp_path / "model", presence_head=True)
    every = PredictParams(most_tracks=6)
    clips = find_candidates(Predictor.load(folder, every), annotations, paths.media, label="test")
    presences = np.concatenate([one.presence for clip in clips for one in clip.evidence])
    middle = float(1 / (1 + np.exp(-np.median(presences))))
    scores = np.concatenate([clip.under(0.0, middle).predicted.scores for clip in clips])
    cut = float(np.median(scores)) + 1e-5
    kept = 0
    heard = np.concatenate([one.heard for clip in clips for one in clip.evidence])
    half_heard = float(1 / (1 + np.exp(-np.median(heard))))
    for score, presence, hearing in (
        (0.0, 0.5, 0.0), (cut, 0.5, 0.0), (0.0, middle, 0.0), (cut, middle, 0.0), (0.0, 0.0, half_heard),
        (0.01, middle, half_heard),
    ):  # fmt: skip
        thresholds = {"score_threshold": score, "presence_threshold": presence, "hearing_threshold": hearing}
        params = every.model_copy(update=thresholds)
        predictor = Predictor.load(folder, params)
        for video, clip in zip(annotations.videos, clips, strict=True):
            moments = partial(clip_moments, predictor, Clips(paths.media), video)
            results = predictor.predict(video.id, moments, height=video.height, width=video.width)
            wanted = measure(VideoMasks(video, [], list(enumerate(results)))).predicted
            found = clip.under(score, presence, hearing).predicted
            order = np.argsort(-found.scores, kind="stable")
            np.testing.assert_array_equal(found.areas[order], wanted.areas)
            np.testing.assert_array_equal(found.categories[order], wanted.categories)
            np.testing.assert_allclose(found.scores[order], wanted.scores, atol=1e-6)
            kept += len(results)
    assert 0 < kept < 6 * 6 * len(clips)


def test_thresholds_are_those_with_the_most_right_frames() -> None:
    """A sure object that falls silent at a presence of 0.6, and an unsure one that is not there."""
    truth = [[100, 100, 0, 0]]
    clips = [clip_of(truth, [(0.9, [0.95, 0.9, 0.6, 0.6]), (0.55, [0.99, 0.99, 0.99, 0.99])])] * 2
    assert mean_fsla(clips, 0.3, 0.5, 0.0) == 0
    assert mean_fsla(clips, 0.6, 0.5, 0.0) == pytest.approx(50)
    chosen = choose_thresholds(clips)
    assert (chosen.score, chosen.presence) == (0.7, 0.7)  # all of 0.6 to 0.9, 0.6 to 0.8 are right
    assert (chosen.fsla, chosen.published_fsla, chosen.hearing) == (pytest.approx(100), 0, 0)


def test_what_is_not_heard_is_silent_where_that_makes_more_frames_right() -> None:
    truth, seen = [[100, 100, 0, 0]], [(0.9, [0.95] * 4)]  # by its presence it never falls silent
    unheard = choose_thresholds([clip_of(truth, seen, heard=[0.9, 0.9, 0.01, 0.01])] * 2)
    assert (unheard.hearing, unheard.fsla) == (0.05, pytest.approx(100))
    wrong = choose_thresholds([clip_of(truth, seen, heard=[0.01, 0.01, 0.9, 0.9])] * 2)
    assert (wrong.hearing, wrong.fsla) == (0, pytest.approx(50))
    assert choose_thresholds([clip_of(truth, seen, heard=[0.9] * 4)] * 2).hearing == 0  # all the same


def test_where_all_is_alike_the_published_thresholds_stay() -> None:
    chosen = choose_thresholds([clip_of([[0, 0]], [])])
    assert (chosen.score, chosen.presence, chosen.fsla) == (0.3, 0.5, 100)


def test_scores_are_compared_with_how_often_they_are_right() -> None:
    truth = side([1, 2], [[10, 10], [10, 10]])
    found = side([1, 1, 2, 2], [[10, 10]] * 4, [0.95, 0.85, 0.55, 0.51])
    intersections = np.zeros((2, 2, 4), np.int64)
    intersections[:, 0, 0] = intersections[:, 0, 1] = 10  # two on one object: the surer one counts
    intersections[:, 1, 2] = 4  # too little
    intersections[:, 0, 3] = 10  # another category
    checked = reliability([Overlaps("clip", 10, 10, truth, found, intersections)])
    assert [(one.low, one.tracks, one.right_share) for one in checked.bins] == [
        (0.5, 2, 0.0),
        (0.8, 1, 0.0),
        (0.9, 1, 1.0),
    ]
    assert checked.expected_error == pytest.approx((2 * 0.53 + 0.85 + 0.05) / 4)
    assert reliability([]).bins == []


def test_silence_is_counted_in_frames() -> None:
    clip = clip_of([[100, 0, 0, 100]], [(0.9, [0.9, 0.9, 0.1, 0.1])])
    said = silence([clip.under(0.0, 0.5)])
    assert (said.true_frames, said.predicted_frames, said.precision, said.recall) == (2, 2, 0.5, 0.5)
    assert silence([clip.under(1.0, 0.5)]).recall == 1 and silence([]).precision is None
