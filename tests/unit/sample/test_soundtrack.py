from pathlib import Path

import numpy as np

from components.sample.kit import load_kit
from components.sample.mix import mix, sounding
from components.sample.scene import SceneSettings, plan_scene
from components.sample.scene_parts import Scene, SceneObject, View, Voice, Wave


def test_any_window_has_the_same_samples() -> None:
    kit = load_kit(Path("data/sample/kit"))
    for seed in range(5):
        scene = plan_scene(kit, seed, SceneSettings(split="train"))
        whole = mix(kit, scene, 0, scene.duration_s, 16_000)
        assert whole.dtype == np.float32
        assert len(whole) == scene.duration_s * 16_000
        for start_s, end_s in ((0, 1), (2, 3), (3.25, 7.125), (9, 10)):
            window = mix(kit, scene, start_s, end_s, 16_000)
            np.testing.assert_array_equal(window, whole[round(start_s * 16_000) : round(end_s * 16_000)])


def test_each_voice_is_heard_in_its_interval_and_nowhere_else(own_kit: Path) -> None:
    kit = load_kit(own_kit)
    still, colours = Wave(0.5), (1.0, 1.0, 1.0)

    def thing(category: str, *intervals: tuple[float, float]) -> SceneObject:
        voice = Voice(category, 0, 0, 0.3, 1.0, intervals)
        return SceneObject(category, 0, False, still, still, Wave(0.3), 0.0, colours, 0.0, voice)

    view = View(0, False, still, still, Wave(1.0), colours)
    objects = (thing("bell", (0.0, 1.8), (4.2, 6.0)), thing("horn", (1.3, 3.0)))
    off_screen = (Voice("horn", 0, 0, 0.0, 1.0, ((4.0, 5.0),)),)
    scene = Scene(0, 6, 16 / 9, view, objects, off_screen, 0.0, 0.0)
    assert [sounding(scene, k) for k in range(6)] == [
        [True, False],
        [True, True],
        [False, True],
        [False, False],
        [True, False],
        [True, False],
    ]
    samples = mix(kit, scene, 0, 6, 16_000)
    assert not samples[3 * 16_000 : 4 * 16_000].any()

    def power(frequency_hz: int, second: int) -> float:
        window = samples[second * 16_000 : (second + 1) * 16_000] * np.hanning(16_000)
        return float(np.abs(np.fft.rfft(window))[frequency_hz - 30 : frequency_hz + 30].max())

    assert [power(440, k) > 100 for k in range(6)] == [True, True, False, False, True, True]
    assert [power(1200, k) > 100 for k in range(6)] == [False, True, True, False, True, False]
