import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from components.core.run.errors import AvisError
from components.sample.kit import load_kit
from components.sample.loops import LOOP_LEVEL

KIT = Path("data/sample/kit")
SECOND_KIT = Path("data/sample/second-kit")


def test_the_kit_of_the_repository_is_complete() -> None:
    kit = load_kit(KIT)
    assert len(kit.categories) == 13
    assert [kit.category_id(name) for name in kit.categories] == list(range(1, 14))
    assert kit.categories == tuple(sorted(kit.categories))
    assert kit.licence == "GPL-2 (see LICENSE); GPL-2 or later"
    for category in kit.categories:
        for sprite in kit.sprites[category]:
            colours, alpha = sprite.levels[0][..., :3], sprite.levels[0][..., 3:]
            assert (colours <= alpha).all(), f"{sprite.name} is not premultiplied"


def test_the_second_kit_shares_nothing_with_the_first() -> None:
    kits = [load_kit(KIT), load_kit(SECOND_KIT)]
    assert not set(kits[0].categories) & set(kits[1].categories)
    first, second = ({file.read_bytes() for file in kit.folder.rglob("*.*g")} for kit in kits)
    assert len(first) > 40 and len(second) > 40
    assert not first & second, "the same picture or recording is in both"
    for category in kits[1].categories:
        assert len(kits[1].sprites[category]) >= 3, category
        assert len(kits[1].sounds[category]) >= 2, category
    assert kits[1].licence is not None
    assert "CC-BY-SA-4.0" in kits[1].licence and "public domain" in kits[1].licence


@pytest.mark.parametrize("folder", [KIT, SECOND_KIT])
def test_loops_are_loud_throughout_and_have_no_seam(folder: Path) -> None:
    kit = load_kit(folder)
    for sounds in kit.sounds.values():
        for sound in sounds:
            twice = np.concatenate([sound.loop, sound.loop])
            assert np.sqrt(np.mean(twice**2)) == pytest.approx(LOOP_LEVEL, rel=0.15), sound.name
            half_second = 44_100 // 2
            for start in range(0, max(1, len(twice) - half_second), 4410):
                level = np.sqrt(np.mean(twice[start : start + half_second] ** 2))
                assert level > 0.1 * LOOP_LEVEL, f"{sound.name} pauses at {start / 44_100:.1f} s"
            seam = np.abs(np.diff(twice))[len(sound.loop) - 20 : len(sound.loop) + 20].max()
            assert seam <= np.abs(np.diff(sound.loop)).max() * 1.01, f"{sound.name} clicks where it repeats"


def test_a_resampled_tone_keeps_its_pitch_and_closes(own_kit: Path) -> None:
    sound = load_kit(own_kit).sounds["horn"][0]
    for percent in (-4, 0, 4):
        loop = np.tile(sound.at(16_000, percent), 4)[:16_000]
        peak_hz = np.argmax(np.abs(np.fft.rfft(loop * np.hanning(len(loop))))) * 16_000 / len(loop)
        assert peak_hz == pytest.approx(1200 * (1 + percent / 100), abs=3)


def damage(kit: Path, what: str) -> None:
    match what:
        case "no kit":
            shutil.rmtree(kit)
        case "no sprites":
            shutil.rmtree(kit / "sprites")
        case "no backgrounds":
            shutil.rmtree(kit / "backgrounds")
        case "no sound":
            shutil.rmtree(kit / "sounds/horn")
        case "no sprite":
            shutil.rmtree(kit / "sprites/horn")
        case "empty sound":
            (kit / "sounds/horn/tone.wav").write_bytes(b"")
        case "text as sound":
            (kit / "sounds/horn/tone.wav").write_text("no sound")
        case "video without sound":
            (kit / "sounds/horn/tone.wav").write_bytes((kit / "sprites/horn/blue.png").read_bytes())
        case "empty sprite":
            (kit / "sprites/horn/blue.png").write_bytes(b"")
        case "truncated sprite":
            (kit / "sprites/horn/blue.png").write_bytes((kit / "sprites/horn/blue.png").read_bytes()[:40])
        case "no alpha":
            cv2.imwrite(str(kit / "sprites/horn/blue.png"), np.zeros((64, 64, 3), np.uint8))
        case "transparent":
            cv2.imwrite(str(kit / "sprites/horn/blue.png"), np.zeros((64, 64, 4), np.uint8))


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("no kit", "kit"),
        ("no sprites", "sprites"),
        ("no backgrounds", "backgrounds"),
        ("no sound", "'horn'"),
        ("no sprite", "'horn'"),
        ("empty sound", "tone.wav"),
        ("text as sound", "tone.wav"),
        ("video without sound", "tone.wav"),
        ("empty sprite", "blue.png"),
        ("truncated sprite", "blue.png"),
        ("no alpha", "blue.png"),
        ("transparent", "blue.png"),
    ],
)
def test_a_bad_kit_is_one_clear_message(own_kit: Path, what: str, named: str) -> None:
    damage(own_kit, what)
    with pytest.raises(AvisError) as caught:
        load_kit(own_kit)
    assert named in str(caught.value)
