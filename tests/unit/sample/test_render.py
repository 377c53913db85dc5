from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.sample.kit import load_kit
from components.sample.labels import labelled
from components.sample.render import render_frame
from components.sample.scene import SceneSettings, plan_scene
from components.sample.scene_parts import Scene, SceneObject, View, Voice, Wave

STILL = (1.0, 1.0, 1.0)


def square(category: str, sprite: int, x: float, y: float, size: float, sounds: bool = True) -> SceneObject:
    voice = Voice(category, 0, 0, 0.0, 1.0, ((0.0, 4.0),) if sounds else ())
    return SceneObject(category, sprite, False, Wave(x), Wave(y), Wave(size), 0.0, STILL, 0.0, voice)


def scene_of(*objects: SceneObject) -> Scene:
    view = View(0, False, Wave(0.5), Wave(0.5), Wave(1.0), STILL)
    return Scene(0, 4, 16 / 9, view, objects, (), 0.0, 0.0)


def test_who_is_in_front_covers_exactly(own_kit: Path) -> None:
    kit = load_kit(own_kit)
    # 320x180: squares of 90 px; the front one, 45 px to the right and below, covers a quarter of the other.
    back, front = square("bell", 0, 0.5, 0.5, 0.5), square("horn", 0, 0.5 + 45 / 320, 0.75, 0.5)
    frame, seen = render_frame(kit, scene_of(back, front), 0.5, 320, 180)
    expected = np.zeros((180, 320), np.uint8)
    expected[45:135, 115:205] = 1
    expected[90:180, 160:250] = 2
    np.testing.assert_array_equal(seen, expected)
    blue, red = (kit.sprites[name][0].levels[0][0, 0, :3] for name in ("horn", "bell"))
    np.testing.assert_array_equal(frame[60, 130], red)
    np.testing.assert_array_equal(frame[100, 170], blue)
    np.testing.assert_array_equal(frame[10, 10], [128, 128, 128])
    _, other_way = render_frame(kit, scene_of(front, back), 0.5, 320, 180)
    assert (other_way == 2).sum() == 90 * 90
    assert (other_way == 1).sum() == 90 * 90 - 45 * 45


def test_leaning_turns_the_mask(own_kit: Path) -> None:
    kit = load_kit(own_kit)
    leaning = replace(square("bell", 0, 0.5, 0.5, 0.4), roll_deg=45.0)
    _, seen = render_frame(kit, scene_of(leaning), 0.5, 320, 180)
    rows = np.flatnonzero((seen == 1).any(1))
    assert len(rows) == pytest.approx(72 * np.sqrt(2), abs=2)
    assert (seen == 1).sum() == pytest.approx(72 * 72, rel=0.02)


def test_hidden_and_silent_objects_are_not_labelled(own_kit: Path) -> None:
    kit = load_kit(own_kit)
    hidden = square("bell", 0, 0.5, 0.5, 0.3)
    cover, silent = square("horn", 0, 0.5, 0.5, 0.4), square("bell", 1, 0.2, 0.5, 0.2, sounds=False)
    outside = square("bell", 1, 2.0, 0.5, 0.2)
    scene = scene_of(hidden, cover, silent, outside)
    _, seen = render_frame(kit, scene, 0.5, 320, 180)
    assert labelled(scene, seen, 0) == [False, True, False, False]


def test_any_size_shows_the_same_scene() -> None:
    kit = load_kit(Path("data/sample/kit"))
    for seed in range(12):
        scene = plan_scene(kit, seed, SceneSettings(split="train"))
        _, small = render_frame(kit, scene, 3.5, 320, 180)
        frame, large = render_frame(kit, scene, 3.5, 640, 360)
        assert frame.shape == (360, 640, 3)
        for i in range(len(scene.objects)):
            assert (large == i + 1).sum() == pytest.approx(4 * (small == i + 1).sum(), rel=0.1, abs=100)


def test_objects_are_large_and_mostly_visible() -> None:
    kit = load_kit(Path("data/sample/kit"))
    covered = 0
    areas = []
    for seed in range(40):
        scene = plan_scene(kit, seed, SceneSettings(split="train"))
        for time_s in (0.5, 5.5, 9.5):
            _, together = render_frame(kit, scene, time_s, 320, 180)
            for i, thing in enumerate(scene.objects):
                _, alone = render_frame(kit, replace(scene, objects=(thing,)), time_s, 320, 180)
                areas.append((alone == 1).sum())
                covered += (together == i + 1).sum() < 0.3 * (alone == 1).sum()
    assert np.median(areas) > 0.03 * 320 * 180
    assert covered < 0.05 * len(areas)
