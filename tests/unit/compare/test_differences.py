import numpy as np
import pytest

from components.compare.differences import paired_difference


def test_the_difference_is_the_weighted_mean():
    found = paired_difference(
        np.array([50.0, 0.0]), np.array([60.0, 40.0]), np.array([30.0, 10.0]), samples=200, seed=1
    )
    assert found.value == pytest.approx((10 * 30 + 40 * 10) / 40)
    assert found.clips == 2
    assert found.low >= 10.0 and found.high <= 40.0  # nothing outside what the clips show can be drawn


def test_alike_models_do_not_differ_clearly():
    generator = np.random.default_rng(3)
    first = generator.uniform(0, 100, 40)
    noise = generator.normal(0, 5, 20)
    other = first + np.concatenate([noise, -noise])
    found = paired_difference(first, other, np.ones(40), samples=2000, seed=1)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.low < 0 < found.high and not found.is_clear
    assert found.p == 1.0


def test_a_steady_gain_is_clear():
    generator = np.random.default_rng(3)
    first = generator.uniform(0, 80, 40)
    found = paired_difference(first, first + generator.normal(12, 4, 40), np.ones(40), samples=2000, seed=1)
    # normal theory: 12 ± 1.96 * 4 / sqrt(40) = 12 ± 1.24
    assert found.low == pytest.approx(12 - 1.24, abs=1.0) and found.high == pytest.approx(12 + 1.24, abs=1.0)
    assert found.is_clear and found.p < 0.001


def test_the_permutation_test_counts_signs():
    """Three clips, all better by 1: of 8 signs 2 are as extreme, p = 1/4."""
    found = paired_difference(np.zeros(3), np.ones(3), np.ones(3), samples=20_000, seed=1)
    assert found.p == pytest.approx(0.25, abs=0.01)
    assert (found.low, found.high) == (1.0, 1.0)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(5).uniform(0, 100, (2, 12))
    one, two = (paired_difference(*values, np.ones(12), samples=500, seed=4) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("clips", [0, 1])
def test_one_clip_has_no_spread(clips):
    assert paired_difference(np.zeros(clips), np.ones(clips), np.ones(clips), samples=10, seed=1) is None
