"""Scored predictions of composed squares whose quality is chosen, for tests of champion and challenger."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from components.core.metrics.counts_file import CountsFile, write_counts
from components.core.metrics.score import Scores, score
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import encode
from components.core.records.results import Result

LENGTH, SIDE = 4, 16
CATEGORIES = {1: "bell", 2: "horn"}


def clip_name(number: int) -> str:
    return f"clip-{number:03d}"


def scores_of(found: Mapping[int, int], *, clips: int) -> Scores:
    """Score predictions on clips with one square each, of the categories in turn.

    Args:
        found: by clip, in how many of its four frames its square is found.
        clips: how many there are.
    """
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:12, 4:12] = True
    square = encode(mask)
    videos = [
        Video(n, clip_name(n), [f"{clip_name(n)}/{k:05d}.jpg" for k in range(LENGTH)], LENGTH, SIDE, SIDE)
        for n in range(1, clips + 1)
    ]
    tracks = [Track(n, n, n % 2 + 1, [square] * LENGTH) for n in range(1, clips + 1)]
    results = [
        Result(n, n % 2 + 1, 0.9, [square if k < frames else None for k in range(LENGTH)])
        for n, frames in found.items()
        if frames
    ]
    return score(AnnotationSet(CATEGORIES, videos, tracks), results)


def counts_of(found: Mapping[int, int], *, clips: int) -> CountsFile:
    """The counts behind scores_of."""
    scores = scores_of(found, clips=clips)
    names = [clip_name(n) for n in range(1, clips + 1)]
    counts = {name: part.counts for name, part in scores.protocols.items()}
    return CountsFile(names, list(CATEGORIES.values()), counts)


def write_scores(folder: Path, counts: CountsFile) -> None:
    """Write counts.safetensors as the evaluate stage does."""
    write_counts(
        folder / "counts.safetensors", counts.counts, videos=counts.videos, categories=counts.categories
    )
