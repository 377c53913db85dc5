"""Where objects go: smooth paths that cross and cover each other, but leave everyone mostly visible."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.sample.scene_parts import Wave

Place = tuple[Wave, Wave, Wave]  # x, y, size as SceneObject has them
Array = npt.NDArray[np.float64]

TRIES = 12
LARGEST_HEIGHT = 0.75  # share of the frame's height
LARGEST_WIDTH = 0.62  # share of the frame's height, too
MEAN_VISIBLE = 0.78
LEAST_VISIBLE = 0.35


def place(
    generator: np.random.Generator, shapes: Sequence[float], aspect: float, duration_s: float
) -> list[Place]:
    """Paths for objects of the given shapes (width / height), back to front.

    Tries some layouts and takes the first in which everyone is mostly visible, or else the best.
    """
    best: tuple[float, list[Place]] | None = None
    times = np.arange(0.5, duration_s, 1.0)
    for _ in range(TRIES):
        places = _propose(generator, shapes, aspect)
        visible = _visible(places, shapes, aspect, times)
        score = min(float(visible.mean(1).min()) / MEAN_VISIBLE, float(visible.min()) / LEAST_VISIBLE)
        if best is None or score > best[0]:
            best = (score, places)
        if score >= 1:
            break
    assert best is not None  # noqa: S101  TRIES is positive
    return best[1]


def _propose(generator: np.random.Generator, shapes: Sequence[float], aspect: float) -> list[Place]:
    count = len(shapes)
    columns = generator.permutation(count)
    places = []
    for shape, column in zip(shapes, columns, strict=True):
        largest = min(LARGEST_HEIGHT * math.sqrt(shape), LARGEST_WIDTH / math.sqrt(shape))
        low, high = (0.4, 0.6) if count <= 2 else (0.35, 0.48)
        size = min(float(generator.uniform(low, high)), 0.88 * largest)
        width, height = size * math.sqrt(shape) / aspect, size / math.sqrt(shape)
        x = (column + 0.5 + float(generator.uniform(-0.3, 0.3))) / count
        x = min(max(x, width / 2), 1 - width / 2)
        y = float(generator.uniform(height / 2, 1 - height / 2)) if height < 1 else 0.5
        y = 0.5 * y + 0.5 * float(generator.uniform(0.4, 0.65))
        reach = float(generator.uniform(0.03, 0.28))
        places.append(
            (
                _wander(generator, x, reach, 0.5 * width),
                _wander(generator, y, float(generator.uniform(0.02, 0.12)), 0.5 * height),
                Wave(size, ((size * float(generator.uniform(0.03, 0.14)), *_period(generator, 5, 14)),)),
            )
        )
    return places


def _wander(generator: np.random.Generator, centre: float, reach: float, half: float) -> Wave:
    """Around a centre, going out of the frame by at most a third of the object."""
    low, high = 0.65 * half, 1 - 0.65 * half
    reach = min(reach, max(0.0, (high - low) / 2))
    centre = min(max(centre, low + reach), high - reach)
    return Wave(
        centre,
        (
            (0.75 * reach, *_period(generator, 7, 18)),
            (0.25 * reach, *_period(generator, 3, 6)),
        ),
    )


def _period(generator: np.random.Generator, low_s: float, high_s: float) -> tuple[float, float]:
    return float(generator.uniform(low_s, high_s)), float(generator.uniform(0, 2 * math.pi))


def _visible(places: list[Place], shapes: Sequence[float], aspect: float, times: Array) -> Array:
    """[objects, times] share of each object's box that is inside the frame and not behind later boxes."""
    values = np.array([[_along(wave, times) for wave in waves] for waves in places])  # [N, 3, T]
    x, y, size = values[:, 0] * aspect, values[:, 1], values[:, 2]
    root = np.sqrt(np.asarray(shapes))[:, None]
    half_width, half_height = size * root / 2, size / root / 2
    area = 4 * half_width * half_height
    left, right = np.clip(x - half_width, 0, aspect), np.clip(x + half_width, 0, aspect)
    top, bottom = np.clip(y - half_height, 0, 1), np.clip(y + half_height, 0, 1)
    visible = (right - left) * (bottom - top) / area
    for i in range(len(places)):
        for j in range(i + 1, len(places)):
            across = np.minimum(right[i], right[j]) - np.maximum(left[i], left[j])
            down = np.minimum(bottom[i], bottom[j]) - np.maximum(top[i], top[j])
            visible[i] -= np.maximum(across, 0) * np.maximum(down, 0) / area[i]
    return np.asarray(visible)


def _along(wave: Wave, times: Array) -> Array:
    return np.asarray(wave.centre + sum(a * np.sin(2 * np.pi * times / p + f) for a, p, f in wave.sines))
