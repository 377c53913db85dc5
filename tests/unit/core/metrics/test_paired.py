"""Intervals and the paired test: the fast draws give what one draw at a time gives; noise is called noise."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.metrics.accumulate import (
    HEADLINES,
    add_up,
    all_values,
    headlines_of_draws,
    joined,
    of_videos,
)
from components.core.metrics.bootstrap import confidence_intervals, video_draws
from components.core.metrics.counts_file import read_counts, write_counts
from components.core.metrics.paired import paired_differences
from components.core.metrics.score import score
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.results import Result
from tests.unit.core.metrics.test_corrected import HEIGHT, WIDTH, encoded, scenes


def counts_of(lengths, truth, predicted, protocol):
    annotations = AnnotationSet(
        {1: "c1", 2: "c2"},
        [
            Video(
                number + 1, f"v{number}", [f"v{number}/{k}.jpg" for k in range(length)], length, HEIGHT, WIDTH
            )
            for number, length in enumerate(lengths)
        ],
        [
            Track(number, video + 1, category, [encoded(picture) for picture in shown])
            for number, (video, category, shown) in enumerate(truth)
        ],
    )
    results = [
        Result(video + 1, category, confidence, [encoded(picture) for picture in shown])
        for video, category, confidence, shown in predicted
    ]
    return score(annotations, results, [protocol]).protocols[protocol].counts


def headlines(counts, weights):
    """One draw by the functions that make the published numbers."""
    values = all_values(add_up(counts, weights))
    return {name: np.nan if values[name] is None else values[name] for name in HEADLINES}


@given(scenes(), st.sampled_from(["corrected", "official"]), st.data())
def test_many_draws_at_once_are_the_same_as_one_by_one(scene, protocol, data):
    counts = counts_of(*scene, protocol)
    videos = len(counts.hota)
    draw = st.lists(st.integers(0, 3), min_size=videos, max_size=videos)
    weights = np.array(data.draw(st.lists(draw, min_size=1, max_size=4)), dtype=float)
    found = headlines_of_draws(counts, weights)
    for place, drawn in enumerate(weights):
        expected = headlines(counts, drawn)
        if expected["mAP"] == -100:  # the published evaluator's sign for no tracks
            expected["mAP"] = np.nan
        for name in HEADLINES:
            assert found[name][place] == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


@given(scenes(), st.sampled_from(["corrected", "official"]), st.data())
def test_some_videos_alone_count_what_they_weigh(scene, protocol, data):
    counts = counts_of(*scene, protocol)
    videos = len(counts.hota)
    places = sorted(data.draw(st.sets(st.integers(0, videos - 1), min_size=1)))
    weights = np.zeros((1, videos))
    weights[0, places] = data.draw(st.lists(st.integers(1, 3), min_size=len(places), max_size=len(places)))
    some = of_videos(counts, np.array(places))
    for kept, whole in zip(some.rankings, counts.rankings, strict=True):
        assert [places[video] for video in kept.videos] == [n for n in whole.videos if n in places]
    alone = headlines_of_draws(some, weights[:, places])
    for name, expected in headlines_of_draws(counts, weights).items():
        assert alone[name] == pytest.approx(expected, abs=1e-9, nan_ok=True), name


@given(scenes(), scenes(), st.sampled_from(["corrected", "official"]))
def test_two_results_joined_can_be_taken_apart(scene, other, protocol):
    lengths, truth, predicted = scene
    rows = [row for row in other[2] if row[0] < len(lengths) and len(row[3]) == lengths[row[0]]]
    first, second = counts_of(lengths, truth, predicted, protocol), counts_of(lengths, truth, rows, protocol)
    ones, zeros = np.ones((1, len(lengths))), np.zeros((1, len(lengths)))
    both = joined(first, second)
    for counts, weights in ((first, [ones, zeros]), (second, [zeros, ones])):
        alone = headlines_of_draws(counts, ones)
        apart = headlines_of_draws(both, np.concatenate(weights, axis=1))
        for name in HEADLINES:
            assert apart[name] == pytest.approx(alone[name], abs=1e-9, nan_ok=True), name


SQUARE = np.zeros((HEIGHT, WIDTH), dtype=bool)
SQUARE[2:8, 2:8] = True


def clips(number):
    return [1] * number, [(video, 1, [SQUARE]) for video in range(number)]


def found(right, number, *, silent=()):
    """One prediction per clip, right or missing its object."""
    missed = np.roll(SQUARE, 8, axis=1)
    return [
        (video, 1, 0.9, [SQUARE if video in right else missed])
        for video in range(number)
        if video not in silent
    ]


def test_a_result_against_itself_is_no_difference():
    lengths, truth = clips(6)
    counts = counts_of(lengths, truth, found({0, 3}, 6), "corrected")
    for name in ("mAP", "HOTA", "FSLA", "FSLAs"):
        difference = paired_differences(counts, counts, resamples=50, seed=0)[name]
        assert (difference.difference, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
        assert not difference.is_clear
    assert paired_differences(counts, counts, resamples=50, seed=0)["FSLAn"] is None  # no silent frames


def test_p_is_that_of_all_tosses():
    """Right in 5 of 6 clips against 0 of 6: all 64 tosses worked out by hand from the FSLA of each clip."""
    lengths, truth = clips(6)
    better = counts_of(lengths, truth, found(range(5), 6), "corrected")
    worse = counts_of(lengths, truth, found((), 6), "corrected")
    difference = paired_differences(better, worse, resamples=20_000, seed=0)["FSLA"]
    per_clip = np.array([1, 1, 1, 1, 1, 0])
    tosses = [abs(np.array(signs) @ per_clip) for signs in itertools.product((-1, 1), repeat=6)]
    assert difference.p == pytest.approx(np.mean(np.array(tosses) >= 5), abs=0.005)
    assert difference.difference == pytest.approx(100 * 5 / 6)
    assert difference.low > 0 and not difference.is_clear  # 2 of 32: with so few clips it may be chance


@pytest.mark.parametrize("protocol", ["corrected", "official"])
def test_a_clear_difference_and_one_inside_the_noise(protocol):
    lengths, truth = clips(30)
    much = counts_of(lengths, truth, found(range(25), 30), protocol)
    little = counts_of(lengths, truth, found(range(6), 30), protocol)
    hardly = counts_of(lengths, truth, found(range(5, 12), 30), protocol)
    for name in ("mAP", "HOTA", "FSLA"):
        clear = paired_differences(much, little, resamples=400, seed=1)[name]
        assert clear.is_clear and clear.p < 0.01 and 0 < clear.low <= clear.difference <= clear.high
        back = paired_differences(little, much, resamples=400, seed=1)[name]
        assert back.is_clear and back.difference == pytest.approx(-clear.difference)
        noise = paired_differences(hardly, little, resamples=400, seed=1)[name]
        assert not noise.is_clear and noise.p > 0.2 and noise.low < 0 < noise.high


def test_an_interval_surrounds_its_number_and_shrinks_with_the_root_of_the_clips():
    """Two predictions for each object, of which either may score higher: drawing clips twice flatters mAP."""
    widths = []
    for number in (40, 160):
        lengths, truth = clips(number)
        chance = np.random.default_rng(0)
        missed = np.roll(SQUARE, 8, axis=1)
        shown = [
            (video, 1, float(score), [picture])
            for video in range(number)
            for score, picture in zip(chance.random(2), (SQUARE, missed), strict=True)
        ]
        counts = counts_of(lengths, truth, shown, "corrected")
        value = headlines(counts, None)["mAP"]
        draws = headlines_of_draws(counts, video_draws(number, resamples=1000, seed=0))["mAP"]
        assert draws.mean() - value > 0.15 * draws.std()  # the bias is there
        low, high = confidence_intervals(counts, resamples=1000, seed=0)["mAP"]
        assert low < value < high and (low + high) / 2 == pytest.approx(value, abs=0.1 * (high - low))
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.2)


def test_one_video_gives_numbers_without_a_test():
    lengths, truth = clips(1)
    counts = counts_of(lengths, truth, found({0}, 1), "corrected")
    other = counts_of(lengths, truth, [], "corrected")
    difference = paired_differences(counts, other, resamples=50, seed=0)["FSLA"]
    assert (difference.value, difference.other) == (100, 0)
    assert (difference.low, difference.p, difference.is_clear) == (None, None, False)


@given(scenes())
def test_counts_are_kept_in_a_file(tmp_path, scene):
    counts = {protocol: counts_of(*scene, protocol) for protocol in ("corrected", "official")}
    names = [f"v{number}" for number in range(len(scene[0]))]
    path = tmp_path / "counts.safetensors"
    write_counts(path, counts, videos=names, categories=["c1", "c2"])
    first = path.read_bytes()
    kept = read_counts(path, stage="evaluate@x")
    assert (kept.videos, kept.categories) == (names, ["c1", "c2"])
    for protocol, found in counts.items():
        assert all_values(add_up(kept.counts[protocol])) == all_values(add_up(found))
    write_counts(path, kept.counts, videos=names, categories=["c1", "c2"])
    assert path.read_bytes() == first
