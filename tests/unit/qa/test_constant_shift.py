"""Labels that lie some frames beside the media are found in composed clips, and nothing in right ones.

benchmarks/constant_shift.py does the same with many more clips, rough masks, and sets of several sizes.
"""

import numpy as np
import pytest

from components.core.clips.index import read_media_index
from components.core.run.paths import Paths
from components.qa.checked_clip import Clip
from components.qa.checks.constant_shift import ConstantShift
from components.qa.dataset import Dataset, facts_of
from components.qa.label_files import read_split
from components.qa.label_summary import LabelSummary
from components.qa.time_shift import SHIFTS, best_shift
from tests.support.composed_set import compose_set

CLIPS = 24


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    paths = Paths(tmp_path_factory.mktemp("composed"))
    compose_set(paths, (CLIPS, 0, 0), seed=3, width=320, height=180, longest_s=12)
    index = read_media_index(paths.media / "index.parquet")
    items = read_split(paths.annotations / "train.json", "train", paths.media, index).clips
    return [Clip(item) for item in items]


def findings_with(clips: list[Clip], shift_of: dict[str, int], origins: dict[str, str]) -> list[str]:
    """What the check says when these clips' masks stand some frames later."""
    check = ConstantShift()
    dataset = Dataset({}, {}, labels=LabelSummary(origins))
    for original in clips:
        clip = Clip(original.item)
        clip._pictures = original._pictures  # decoded once
        shift = shift_of.get(clip.name, 0)
        for track in clip.tracks:
            at = [k - shift for k in range(clip.length)]
            track.crops = [track.crops[k] if 0 <= k < clip.length else None for k in at]
        facts = facts_of(clip)
        facts.remembered[check.name] = check.remember(clip)
        dataset.clips.append(facts)
    return [f"{finding.video}: {finding.message}".removeprefix(": ") for finding in check.check_set(dataset)]


def test_right_labels_are_right(clips: list[Clip]) -> None:
    assert findings_with(clips, {}, {}) == []


@pytest.mark.parametrize("shift", [1, 3, -2, 5, -4])
def test_a_source_that_lies_beside_its_media_is_named_and_the_other_is_not(
    clips: list[Clip], shift: int
) -> None:
    names = [clip.name for clip in clips]
    origins = {name: "right (cvat)" if n < 4 else "wrong (davis)" for n, name in enumerate(names)}
    found = findings_with(clips, dict.fromkeys(names[4:], shift), origins)
    frames = f"{abs(shift)} frame{'s' if abs(shift) > 1 else ''} too {'late' if shift > 0 else 'early'}"
    (finding,) = found
    assert finding.startswith(f"the labels of wrong (davis) (20 clips) come {frames}, by the pictures")


def test_a_single_shifted_clip_is_named(clips: list[Clip]) -> None:
    name = max(clips, key=lambda clip: int((clip.labelled > 0).sum())).name
    assert findings_with(clips, {name: 1}, {}) == [
        f"{name}: the masks come 1 frame too late, by the pictures"
    ]


def test_sound_alone_tells_where_the_pictures_stand_still(clips: list[Clip]) -> None:
    check = ConstantShift()
    for shift in (0, 2):
        dataset = Dataset({}, {})
        for original in clips:
            clip = Clip(original.item)
            clip._pictures = dict.fromkeys(range(clip.length), original.picture(0))
            assert clip.sound is not None
            clip.__dict__["sound"] = np.roll(clip.sound, shift * 16_000)
            facts = facts_of(clip)
            facts.remembered[check.name] = check.remember(clip)
            dataset.clips.append(facts)
        words = [finding.message for finding in check.check_set(dataset)]
        assert words == (
            ["the labels of the set (24 clips) come 2 frames too early, by the sound"] if shift else []
        )


def test_chance_is_not_taken_for_a_shift() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        gains = random.normal(0, 1, (6, len(SHIFTS)))
        gains[:, len(SHIFTS) // 2] = 0
        shift = best_shift(gains, fewest=5, least_gain=0.05)
        alarms += shift is not None and shift.chance < 0.001
    assert alarms <= 1
    assert best_shift(np.full((9, len(SHIFTS)), np.nan), fewest=5, least_gain=0.05) is None
    assert best_shift(np.zeros((0, len(SHIFTS))), fewest=5, least_gain=0.05) is None
