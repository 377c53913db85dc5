"""How often the check constant_shift finds labels that were shifted in time, and how often it is wrong.

Composes as many clips as the demo has, of seeds of its own. Run from the repository root:
PYTHONPATH=. python benchmarks/constant_shift.py
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from components.core.clips.index import read_media_index
from components.core.records.annotations import SPLITS
from components.core.run.paths import Paths
from components.qa.checked_clip import Clip, Crop
from components.qa.checks.constant_shift import ConstantShift
from components.qa.dataset import ClipFacts, facts_of
from components.qa.label_files import read_split
from tests.support.composed_set import compose_set

SHIFTS = [shift for shift in range(-5, 6) if shift]
CHECK = ConstantShift()


def main() -> None:
    """Print a table for exact labels, one for rough ones, and one for labels of other clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11, help="of the clips")
    parser.add_argument("--draws", type=int, default=200, help="sets that are drawn of each size")
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder))
        compose_set(paths, (80, 8, 40), seed=arguments.seed, width=640, height=360)
        index = read_media_index(paths.media / "index.parquet")
        items = [
            item
            for split in SPLITS
            for item in read_split(paths.annotations / f"{split}.json", split, paths.media, index).clips
        ]
        clips = [Clip(item) for item in items]
        exact = [[list(track.crops) for track in clip.tracks] for clip in clips]
        rough = [
            [[crop and roughened(crop, clip, random) for crop in track] for track in tracks]
            for clip, tracks in zip(clips, exact, strict=True)
        ]
        for title, labels in (("exact masks", exact), ("rough masks", rough)):
            facts = [
                {shift: remembered(clip, tracks, shift) for shift in [0, *SHIFTS]}
                for clip, tracks in tqdm(zip(clips, labels, strict=True), total=len(clips), desc=title)
            ]
            report(title, facts, random, arguments.draws)
        strange = [
            {0: remembered(clip, of_another, 0)}
            for clip, of_another in zip(clips, exact[1:] + exact[:1], strict=True)
        ]
        report("labels of another clip", strange, random, arguments.draws)


def roughened(crop: Crop, clip: Clip, random: np.random.Generator) -> Crop | None:
    """The mask as drawn in a hurry: up to 4 px too wide or narrow, few corners, up to 3 px off."""
    mask = np.zeros((clip.height, clip.width), np.uint8)
    mask[crop.y : crop.box[3], crop.x : crop.box[2]] = crop.pixels
    size = 2 * int(random.integers(1, 5)) + 1
    change = cv2.dilate if random.random() < 0.7 else cv2.erode
    mask = change(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    mask = np.zeros_like(mask)
    cv2.drawContours(mask, [cv2.approxPolyDP(outline, 4, True) for outline in outlines], -1, 1, -1)
    mask = np.roll(mask, random.integers(-3, 4, 2), (0, 1))
    x, y, w, h = cv2.boundingRect(mask)
    if not w:
        return None
    return Crop(x, y, mask[y : y + h, x : x + w].astype(bool), int(mask.sum()))


def remembered(clip: Clip, tracks: list[list[Crop | None]], shift: int) -> ClipFacts:
    """What the check keeps of the clip when each of these masks stands `shift` frames later."""
    given = list(clip.tracks)
    made = []
    for number, crops in enumerate(tracks):
        if number < len(given):
            padded = [crops[k] if k < len(crops) else None for k in range(clip.length)]
            moved = [padded[k - shift] if 0 <= k - shift < clip.length else None for k in range(clip.length)]
            track = given[number]
            track.crops = moved
            track.__dict__.pop("present", None)
            made.append(track)
    clip.__dict__["tracks"] = made
    clip.__dict__.pop("labelled", None)
    facts = facts_of(clip)
    facts.remembered[CHECK.name] = CHECK.remember(clip)
    clip.__dict__["tracks"] = given
    return facts


def report(title: str, facts: list[dict[int, ClipFacts]], random: np.random.Generator, draws: int) -> None:
    """Print what is found of each planted shift, and of none, in sets of several sizes and clips."""
    print(f"\n{title}\n")
    print("| clips | by | wrong without a shift | found, least of 10 shifts | on average | another shift |")
    print("|---|---|---|---|---|---|")
    for size in (1, 5, 10, 20, 40, len(facts)):
        for kind in ("pictures",) if size == 1 else ("pictures", "sound", "either"):
            count = len(facts) if size == 1 else 1 if size == len(facts) else draws
            of_shift = {shift: [0, 0] for shift in facts[0]}
            for draw in range(count):
                chosen = [draw] if size == 1 else random.choice(len(facts), size, replace=False).tolist()
                for shift, tally in of_shift.items():
                    told = shifts_told([facts[place][shift] for place in chosen], kind)
                    tally[0] += bool(shift) and -shift in told
                    tally[1] += any(one != -shift for one in told)
            wrong = of_shift[0][1] / count
            found = [tally[0] / count for shift, tally in of_shift.items() if shift]
            others = [tally[1] / count for shift, tally in of_shift.items() if shift]
            numbers = (
                [f"{n:.1%}" for n in (min(found), np.mean(found), np.mean(others))] if found else [""] * 3
            )
            print(f"| {size} | {kind} | {wrong:.1%} | {' | '.join(numbers)} |")


def shifts_told(facts: list[ClipFacts], kind: str) -> set[int]:
    """The shifts that the check finds: by its pictures, its sound, or either; of one clip its own."""
    if len(facts) == 1:
        own: Any = facts[0].remembered[CHECK.name]["own"]
        return set() if own is None else {own.frames}
    return {
        frames
        for frames, shifts in CHECK.told(facts).items()
        if kind == "either" or kind in {of for of, _ in shifts}
    }


if __name__ == "__main__":
    main()
