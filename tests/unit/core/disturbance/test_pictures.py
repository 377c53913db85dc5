"""What happens to pictures, against its definition."""

import cv2
import numpy as np
import pytest

from components.core.disturbance.params import DisturbParams
from components.core.disturbance.pictures import darken, disturb_picture, last_that_came


def chance() -> np.random.Generator:
    return np.random.default_rng(3)


def picture() -> np.ndarray:
    grey = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    return cv2.GaussianBlur(grey, (0, 0), 2)


@pytest.mark.parametrize("light", [1.0, 0.3, 0.05])
def test_so_much_light_is_left_and_its_noise_is_that_of_the_photons(light: float) -> None:
    dark = darken(np.full((300, 300, 3), 200, np.uint8), light, chance())
    linear = (dark / 255.0) ** 2.2
    expected = (200 / 255) ** 2.2 * light
    assert linear.mean() == pytest.approx(expected, rel=0.02)
    assert linear.std() == pytest.approx(np.sqrt(expected / 1000), rel=0.1)


def test_a_blur_is_as_wide_as_it_says() -> None:
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    spread = disturb_picture(point, DisturbParams(blur_px=1.0), chance())[..., 0].astype(float)
    rows = np.arange(61) - 30
    assert np.sqrt((spread.sum(1) * rows**2).sum() / spread.sum()) == pytest.approx(1.0, abs=0.05)


def test_fewer_bytes_are_further_from_the_picture_and_colours_stay() -> None:
    source = picture()
    source[..., 0] = np.minimum(source[..., 0].astype(int) + 90, 255)
    off = [
        np.abs(
            disturb_picture(source, DisturbParams(jpeg_quality=quality), chance()).astype(int) - source
        ).mean()
        for quality in (95, 30, 3)
    ]
    assert off == sorted(off) and off[0] < 5
    coded = disturb_picture(source, DisturbParams(jpeg_quality=30), chance())
    assert coded[..., 0].mean() - coded[..., 2].mean() == pytest.approx(
        source[..., 0].mean() - source[..., 2].mean(), abs=5
    )
    assert np.array_equal(disturb_picture(source, DisturbParams(), chance()), source)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_so_many_frames_are_lost_and_the_one_before_stays(share: float) -> None:
    shown = [last_that_came(index, 20, share, chance()) for index in range(20)]
    assert sum(frame != index for index, frame in enumerate(shown)) == round(20 * share)
    came = -1
    for index, frame in enumerate(shown):
        came = index if frame == index else came
        assert frame == came
    assert last_that_came(0, 1, 0.9, chance()) == 0
