"""From a seed to a scene: who is there, what it looks like, how it moves, when it sounds.

Seeds: scene_seed hashes the split's name with the base seed and the index, so no two splits (pretraining
has its own) ever compose the same scene.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.core.run.errors import AvisError
from components.sample.activity import Flags, loosen, on_and_off, share_out, tidy
from components.sample.kit import PITCH_STEPS, Kit
from components.sample.layout import place
from components.sample.scene_parts import Scene, SceneObject, View, Voice, Wave

Split = Literal["pretrain", "train", "val", "test"]

HELD_OUT_SPRITES = ("cow/zebu", "pig/pig_golden", "duck/drake")

COUNT_SHARES = (0.12, 0.38, 0.32, 0.18)  # of scenes with one, two, three, four visible objects
PAIR_SHARE = 0.22  # of scenes: two objects of one category, of which at most one sounds at a time
OFF_SCREEN_SHARE = 0.18
MUTE_SHARE = 0.2  # of scenes with some seconds in which nothing sounds
SILENT_OBJECT_SHARE = 0.3  # of objects beside others: never sound
SOURCES_AT_ONCE = 1.7  # aimed at, in a scene of several objects
LARGEST_ON_SHARE = 0.8
LEAN_DEG = (23.0, 27.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSettings:
    """What a caller chooses; everything else follows from the seed."""

    split: Split
    width: int = 640
    height: int = 360
    min_duration_s: int = 10
    max_duration_s: int = 20
    held_out_sprites: tuple[str, ...] = HELD_OUT_SPRITES  # shown in test scenes only


def scene_seed(base_seed: int, split: Split, index: int) -> int:
    """63 bits of SHA-256 over 'base_seed/split/index'."""
    digest = hashlib.sha256(f"{base_seed}/{split}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def check_held_out(kit: Kit, held_out_sprites: tuple[str, ...]) -> None:
    """Raise AvisError if a held-out sprite is not in the kit, or leaves its category without a sprite."""
    known = {sprite.name for sprites in kit.sprites.values() for sprite in sprites}
    for name in held_out_sprites:
        if name not in known:
            raise AvisError(
                f"held-out sprite {name!r} is not in the kit",
                where="params.yaml, sample.held_out_sprites",
                fix=f"use names of {kit.folder}/sprites as <category>/<file without suffix>, or []",
            )
    for category, sprites in kit.sprites.items():
        if all(sprite.name in held_out_sprites for sprite in sprites):
            raise AvisError(
                f"every sprite of category {category!r} is held out",
                where="params.yaml, sample.held_out_sprites",
                fix="leave at least one for training",
            )


def plan_scene(kit: Kit, seed: int, settings: SceneSettings) -> Scene:
    """The scene of this seed; the same kit, seed and settings give the same scene."""
    generator = np.random.Generator(np.random.PCG64(seed))
    seconds = int(generator.integers(settings.min_duration_s, settings.max_duration_s + 1))
    aspect = settings.width / settings.height
    count = int(generator.choice(len(COUNT_SHARES), p=COUNT_SHARES)) + 1
    pair = count >= 2 and generator.random() < PAIR_SHARE / (1 - COUNT_SHARES[0])
    order = [kit.categories[i] for i in generator.permutation(len(kit.categories))]
    names = [order[0], *order[: count - 1]] if pair else order[:count]
    mute = _mute(generator, seconds)
    flags = _activity(generator, mute, len(names), pair)
    sprites = [_choose_sprite(generator, kit, name, settings) for name in names]
    shown = [kit.sprites[name][sprite] for name, sprite in zip(names, sprites, strict=True)]
    depth = [int(i) for i in generator.permutation(len(names))]  # from the back to the front
    places = place(generator, [shown[i].width / shown[i].height for i in depth], aspect, seconds)
    objects = tuple(
        SceneObject(
            category=names[i],
            sprite=sprites[i],
            flipped=bool(generator.random() < 0.5),
            x=x,
            y=y,
            size=size,
            roll_deg=float(generator.uniform(-4, 4)),
            tint=_tint(generator, 0.18),
            lean_deg=_lean(generator) if pair and i < 2 else 0.0,
            voice=_voice(generator, kit, names[i], flags[i]),
        )
        for i, (x, y, size) in zip(depth, places, strict=True)
    )
    absent = order[len(set(names)) :]
    off_screen: tuple[Voice, ...] = ()
    if absent and generator.random() < OFF_SCREEN_SHARE:
        heard = tidy(on_and_off(generator, seconds, 0.45) & ~mute)
        off_screen = (_voice(generator, kit, absent[0], heard),)
    return Scene(
        seed=seed,
        duration_s=seconds,
        aspect=aspect,
        view=_view(generator, len(kit.backgrounds)),
        objects=objects,
        off_screen=off_screen,
        room_gain=float(generator.uniform(0.01, 0.04)),
        room_offset_s=float(generator.uniform(0, 5)),
    )


def _mute(generator: np.random.Generator, seconds: int) -> Flags:
    """[seconds] bool: where the whole scene is silent; in most scenes nowhere."""
    mute = np.zeros(seconds, bool)
    if generator.random() < MUTE_SHARE:
        start = int(generator.integers(0, max(1, seconds - 1)))
        mute[start : start + int(generator.integers(2, 5))] = True
    return mute


def _activity(generator: np.random.Generator, mute: Flags, count: int, pair: bool) -> list[Flags]:
    """Who sounds in which second, per object; the first two share one pattern if they are a pair."""
    groups = count - 1 if pair else count
    sounding = generator.random(groups) >= SILENT_OBJECT_SHARE
    sounding[int(generator.integers(groups))] = True
    on_share = min(LARGEST_ON_SHARE, SOURCES_AT_ONCE / int(sounding.sum()))
    flags = [tidy(on_and_off(generator, len(mute), on_share) & ~mute & bool(sounds)) for sounds in sounding]
    return [*share_out(generator, flags[0], 2), *flags[1:]] if pair else flags


def _choose_sprite(generator: np.random.Generator, kit: Kit, name: str, settings: SceneSettings) -> int:
    """Held-out sprites never outside test scenes, and there about half of the time."""
    held_out = [i for i, sprite in enumerate(kit.sprites[name]) if sprite.name in settings.held_out_sprites]
    usual = [i for i in range(len(kit.sprites[name])) if i not in held_out]
    take_held_out = generator.random() < 0.5
    choices = held_out if held_out and take_held_out and settings.split == "test" else usual
    return choices[int(generator.integers(len(choices)))]


def _voice(generator: np.random.Generator, kit: Kit, name: str, flags: Flags) -> Voice:
    return Voice(
        category=name,
        sound=int(generator.integers(len(kit.sounds[name]))),
        pitch_percent=PITCH_STEPS[int(generator.integers(len(PITCH_STEPS)))],
        offset_s=float(generator.uniform(0, 10)),
        gain=float(10 ** (generator.uniform(-6, 2) / 20)),
        intervals=loosen(generator, flags),
    )


def _lean(generator: np.random.Generator) -> float:
    return float(generator.uniform(*LEAN_DEG)) * (1.0 if generator.random() < 0.5 else -1.0)


def _tint(generator: np.random.Generator, brightness: float) -> tuple[float, float, float]:
    light = float(generator.uniform(1 - brightness, 1 + brightness))
    red, green, blue = (light * float(generator.uniform(0.95, 1.05)) for _ in range(3))
    return red, green, blue


def _view(generator: np.random.Generator, backgrounds: int) -> View:
    def wave(low: float, high: float, reach: float) -> Wave:
        sine = (reach, float(generator.uniform(9, 25)), float(generator.uniform(0, 6.28)))
        return Wave(float(generator.uniform(low + reach, high - reach)), (sine,))

    return View(
        background=int(generator.integers(backgrounds)),
        flipped=bool(generator.random() < 0.5),
        x=wave(0, 1, 0.25),
        y=wave(0, 1, 0.25),
        share=wave(0.45, 0.98, 0.06),
        tint=_tint(generator, 0.25),
    )
