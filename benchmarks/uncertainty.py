"""Do intervals hold the true number as often as they say, and does the paired test call noise a difference?

Run from the repository root: python benchmarks/uncertainty.py

Sets of 60 made-up clips with the results of two systems that are equally good. The true number is that of one
system on 6,000 clips.
"""

from collections import Counter

import numpy as np

from components.core.metrics.bootstrap import confidence_intervals
from components.core.metrics.paired import paired_differences
from components.core.metrics.score import score
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.results import Result

HEIGHT, WIDTH, FRAMES, CATEGORIES = 12, 16, 2, 3
CLIPS, SETS, DRAWS = 60, 200, 300
NAMES = ("mAP", "HOTA", "FSLA")


def main() -> None:
    """Print how often each interval and the test were right."""
    annotations, (results, _) = world(np.random.default_rng(10**6), 6000)
    true = score(annotations, results, ["corrected"]).protocols["corrected"].values
    held, zero, called = Counter[str](), Counter[str](), Counter[str]()
    below: dict[str, list[float]] = {name: [] for name in NAMES}
    for number in range(SETS):
        annotations, both = world(np.random.default_rng(number), CLIPS)
        one, other = (score(annotations, part, ["corrected"]).protocols["corrected"].counts for part in both)
        intervals = confidence_intervals(one, resamples=DRAWS, seed=number)
        differences = paired_differences(one, other, resamples=DRAWS, seed=number)
        for name in NAMES:
            low, high = intervals[name]
            difference = differences[name]
            held[name] += low <= (true[name] or 0.0) <= high
            if difference is None or difference.low is None or difference.high is None:
                continue
            zero[name] += difference.low <= 0 <= difference.high
            called[name] += difference.is_clear
            below[name].append(difference.p or 0.0)
    print(f"corrected, {SETS} sets of {CLIPS} clips, {DRAWS} draws; in percent of the sets")
    for name in NAMES:
        small, half = (100 * np.mean(np.array(below[name]) < limit) for limit in (0.05, 0.5))
        print(
            f"{name:5} interval holds the true number {100 * held[name] / SETS:.1f}, "
            f"interval of the difference holds zero {100 * zero[name] / SETS:.1f}, "
            f"p below 0.05 {small:.1f}, below 0.5 {half:.1f}, "
            f"called different {100 * called[name] / SETS:.1f}"
        )


def world(chance: np.random.Generator, clips: int) -> tuple[AnnotationSet, tuple[list[Result], list[Result]]]:
    """Make clips of zero to two squares, easy and hard ones, and what two systems find in them."""
    pool = [_square(y, x) for y in range(0, 9, 2) for x in range(0, 13, 2)]
    videos, tracks = [], []
    found: tuple[list[Result], list[Result]] = ([], [])
    for clip in range(1, clips + 1):
        files = [f"c{clip}/{frame}.jpg" for frame in range(FRAMES)]
        videos.append(Video(clip, f"c{clip}", files, FRAMES, HEIGHT, WIDTH))
        hardness = chance.random()
        for _ in range(chance.integers(0, 3)):
            category = int(chance.integers(CATEGORIES))
            shown = [pool[place] for place in chance.integers(len(pool), size=FRAMES)]
            tracks.append(Track(len(tracks) + 1, clip, category, list(shown)))
            for system in found:
                if chance.random() < 0.7 * hardness:
                    continue
                named = category if chance.random() < 0.8 else int(chance.integers(CATEGORIES))
                seen = [mask if chance.random() < 0.8 else pool[chance.integers(len(pool))] for mask in shown]
                system.append(Result(clip, named, float(chance.random()), seen))
        for system in found:
            if chance.random() < 0.3:
                false = [pool[chance.integers(len(pool))], None]
                system.append(
                    Result(clip, int(chance.integers(CATEGORIES)), 0.7 * float(chance.random()), false)
                )
    return AnnotationSet({number: f"c{number}" for number in range(CATEGORIES)}, videos, tracks), found


def _square(y: int, x: int) -> dict[str, object]:
    picture = np.zeros((HEIGHT, WIDTH), dtype=bool)
    picture[y : y + 4, x : x + 4] = True
    return masks.encode(picture)


if __name__ == "__main__":
    main()
