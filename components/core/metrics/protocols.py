"""The two protocols: what each takes for a detection and over which categories it averages.

`official` gives the published evaluator's numbers, `corrected` what the metrics' definitions say. From one
video's overlaps each makes a summary; all numbers are made of summaries, so that videos can be measured in
parallel and weighted in a bootstrap.

Letters: V videos, C categories of the ground-truth file, A thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from components.core.metrics import average_precision, fsla, hota
from components.core.metrics.average_precision import Detections
from components.core.metrics.fsla import FslaFrames
from components.core.metrics.overlaps import Booleans, Floats, Overlaps, Side, canonical

Protocol = Literal["official", "corrected"]
PROTOCOLS: tuple[Protocol, ...] = ("corrected", "official")


@dataclass(frozen=True, slots=True)
class Summary:
    """One video under one protocol: per category its detections and HOTA sums [7, A], and its frames."""

    detections: dict[int, Detections]
    hota: dict[int, Floats]
    frames: FslaFrames


def summarise(overlaps: Overlaps, categories: Sequence[int], protocol: Protocol) -> Summary:
    """Reduce one video to what adds up over videos."""
    if protocol == "corrected":
        video = canonical(overlaps)
        frames = fsla.corrected_frames(video)
    else:
        video = _as_published(overlaps)
        frames = fsla.official_frames(video)
    detections, sums = {}, {}
    for category in categories:
        part = video.category(category)
        if protocol == "corrected":
            truth_present, predicted_present = part.truth.areas > 0, part.predicted.areas > 0
        else:
            truth_present, predicted_present = part.truth.listed, part.predicted.listed
        sums[category] = hota.hota_sums(part, truth_present, predicted_present).stacked()
        detections[category] = average_precision.match(
            part,
            _mean_area(part.truth, truth_present),
            _mean_area(part.predicted, part.predicted.areas > 0),
            first_row_takes=protocol == "corrected",
        )
    return Summary(detections, sums, frames)


def _as_published(overlaps: Overlaps) -> Overlaps:
    """Return the video with every predicted track listed on every frame: null (which crashes the published
    evaluator) is taken for the empty mask that it would have written."""
    listed = np.ones_like(overlaps.predicted.listed)
    return replace(overlaps, predicted=replace(overlaps.predicted, listed=listed))


def _mean_area(side: Side, present: Booleans) -> Floats:
    """Mean area in pixels over the frames with a mask, per track."""
    means: Floats = side.areas.sum(1) / np.maximum(present.sum(1), 1)
    return means
