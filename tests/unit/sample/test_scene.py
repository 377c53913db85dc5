import itertools
from collections import Counter
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.sample.kit import Kit, load_kit
from components.sample.mix import sounding
from components.sample.scene import (
    HELD_OUT_SPRITES,
    SceneSettings,
    Split,
    check_held_out,
    plan_scene,
    scene_seed,
)

KIT = Path("data/sample/kit")


@pytest.fixture(scope="module")
def kit() -> Kit:
    return load_kit(KIT)


def scenes(kit: Kit, split: Split, count: int) -> list:
    return [plan_scene(kit, scene_seed(1, split, i), SceneSettings(split=split)) for i in range(count)]


def test_the_seed_alone_decides(kit: Kit) -> None:
    settings = SceneSettings(split="train")
    assert plan_scene(kit, 7, settings) == plan_scene(load_kit(KIT), 7, settings)
    assert plan_scene(kit, 7, settings) != plan_scene(kit, 8, settings)


def test_no_two_splits_share_a_seed() -> None:
    splits: list[Split] = ["pretrain", "train", "val", "test"]
    seeds = [scene_seed(base, split, i) for base in (1, 2) for split in splits for i in range(3000)]
    assert len(set(seeds)) == len(seeds)


def test_held_out_sprites_are_seen_in_test_clips_only(kit: Kit) -> None:
    def shown(split: Split) -> Counter[str]:
        return Counter(
            kit.sprites[thing.category][thing.sprite].name
            for scene in scenes(kit, split, 300)
            for thing in scene.objects
        )

    for split in ("pretrain", "train", "val"):
        assert not set(HELD_OUT_SPRITES) & set(shown(split))
    in_test = shown("test")
    for held_out, usual in (
        ("cow/zebu", "cow/cow"),
        ("pig/pig_golden", "pig/pig"),
        ("duck/drake", "duck/duck"),
    ):
        assert 0.3 < in_test[held_out] / (in_test[held_out] + in_test[usual]) < 0.7


def test_labels_are_about_as_many_as_planned(kit: Kit) -> None:
    sources: Counter[int] = Counter()
    ambiguous = 0
    composed = scenes(kit, "train", 400)
    for scene in composed:
        labels = [sounding(scene, k) for k in range(scene.duration_s)]
        sources.update(min(sum(row), 2) for row in labels)
        ambiguous += any(any(row) and not all(row) for row in labels)
    shares = {count: number / sources.total() for count, number in sources.items()}
    assert 0.12 < shares[0] < 0.23
    assert 0.4 < shares[1] < 0.55
    assert 0.25 < shares[2] < 0.42
    assert ambiguous > 0.8 * len(composed), "the picture tells too often who sounds"


def test_sounds_and_gaps_last_a_second_and_begin_away_from_the_frames_instants(kit: Kit) -> None:
    for scene in scenes(kit, "train", 200):
        for voice in (*(thing.voice for thing in scene.objects), *scene.off_screen):
            edges = [edge for span in voice.intervals for edge in span]
            assert all(b - a >= 1 for a, b in itertools.pairwise(edges))
            assert all(abs(edge % 1 - 0.5) >= 0.149 for edge in edges)
        for k in range(scene.duration_s):
            at_instant = [thing.voice.interval_at(k + 0.5) is not None for thing in scene.objects]
            assert sounding(scene, k) == at_instant


def test_only_one_of_two_of_a_kind_leans_and_only_while_it_sounds(kit: Kit) -> None:
    pairs = 0
    for scene in scenes(kit, "train", 300):
        numbers = Counter(thing.category for thing in scene.objects)
        assert max(numbers.values()) <= 2
        twins = [thing for thing in scene.objects if numbers[thing.category] == 2]
        pairs += bool(twins)
        for thing in scene.objects:
            assert bool(thing.lean_deg) == (thing in twins)
            for step in range(scene.duration_s * 12):
                time_s = step / 12
                span = thing.voice.interval_at(time_s)
                angle = abs(thing.angle_deg(time_s) - thing.roll_deg)
                if not thing.lean_deg or span is None:
                    assert angle == 0
                elif min(time_s - span[0], span[1] - time_s) >= 0.1:
                    assert 17 <= angle <= 33
        for k in range(scene.duration_s):
            assert sum(thing.voice.interval_at(k + 0.5) is not None for thing in twins) <= 1
        for voice in scene.off_screen:
            assert voice.category not in numbers
    assert 40 <= pairs <= 90


def test_a_held_out_sprite_must_exist_and_leave_another(kit: Kit) -> None:
    check_held_out(kit, HELD_OUT_SPRITES)
    with pytest.raises(AvisError, match="cow/buffalo"):
        check_held_out(kit, ("cow/buffalo",))
    with pytest.raises(AvisError, match="'horse'"):
        check_held_out(kit, ("horse/horse",))


def test_a_kit_with_two_categories_is_enough(own_kit: Path) -> None:
    small = load_kit(own_kit)
    settings = SceneSettings(split="train", min_duration_s=2, max_duration_s=5, held_out_sprites=())
    for seed in range(200):
        scene = plan_scene(small, seed, settings)
        assert 1 <= len(scene.objects) <= 3
        assert 2 <= scene.duration_s <= 5
