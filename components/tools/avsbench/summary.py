"""From the scores of videos to those of a data set, in two protocols, in percent, with intervals.

`official` averages as the published test scripts do, `corrected` leaves out what has nothing to find:

| | official | corrected |
|---|---|---|
| M_F of a video in which no frame has an object | 0 | the video does not count |
| AVSS, videos of 5 frames | lengthened to 10 with background | as they are |
| AVSS, a class that is never true | counts as 0 in the means | does not count |
| AVSS, the means "noBg" | without the last class | without the background |

Letters: V videos, C classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.metrics.bootstrap import interval_around, video_draws
from components.tools.avsbench.binary import BinaryScore
from components.tools.avsbench.semantic import ClassSums

Values = dict[str, float | None]


def summarise_binary(
    scores: Sequence[BinaryScore], *, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """M_J and M_F with their 95 % intervals by protocol, in percent.

    Args:
        scores: of the videos, at least one.
        resamples: draws of the bootstrap over videos; 0 leaves the intervals out.
        seed: of the draws.
    """
    ious = np.array([score.mask_iou for score in scores])
    measures = np.array([score.f_measure or 0.0 for score in scores])
    has_object = np.array([score.f_measure is not None for score in scores])

    def official(weights: NDArray[np.float64]) -> Values:
        return {"M_J": _mean(ious, weights), "M_F": _mean(measures, weights)}

    def corrected(weights: NDArray[np.float64]) -> Values:
        return {"M_J": _mean(ious, weights), "M_F": _mean(measures, weights * has_object)}

    return {
        name: _with_intervals(statistic, len(scores), resamples, seed)
        for name, statistic in (("official", official), ("corrected", corrected))
    }


def summarise_classes(
    official: Sequence[ClassSums],
    corrected: Sequence[ClassSums],
    names: list[str],
    *,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The means over classes with their 95 % intervals, and `classes`, by protocol, in percent.

    Args:
        official: of the videos lengthened to 10 frames.
        corrected: of the videos as they are, in the same order.
        names: by class id, the background first.
        resamples, seed: as for `summarise_binary`.
    """
    summary: dict[str, dict[str, Any]] = {}
    for protocol, sums in (("official", official), ("corrected", corrected)):
        stacked = _stack(sums)
        statistic = _class_means(stacked, protocol == "official")
        summary[protocol] = _with_intervals(statistic, len(sums), resamples, seed)
        summary[protocol]["classes"] = _class_table(stacked, names)
    return summary


def class_means_of_video(sums: ClassSums) -> Values:
    """Means over the classes that are true or predicted in a video."""
    occurs = sums.frames > 0
    return {
        "M_J": _percent(float((sums.iou[occurs] / sums.frames[occurs]).mean())),
        "M_F": _percent(float((sums.f_measure[occurs] / sums.frames[occurs]).mean())),
    }


def percent_of_video(score: BinaryScore, protocol: str) -> Values:
    """A video's numbers as the protocol has them."""
    measure = score.f_measure
    if measure is None and protocol == "official":
        measure = 0.0
    return {"M_J": _percent(score.mask_iou), "M_F": None if measure is None else _percent(measure)}


def _stack(sums: Sequence[ClassSums]) -> ClassSums:
    """The sums of all videos, each [V, C]."""
    return ClassSums(
        np.stack([one.iou for one in sums]),
        np.stack([one.f_measure for one in sums]),
        np.stack([one.frames for one in sums]),
        np.stack([one.true_frames for one in sums]),
    )


def _class_means(stacked: ClassSums, official: bool) -> Callable[[NDArray[np.float64]], Values]:
    def means(weights: NDArray[np.float64]) -> Values:
        frames = weights @ stacked.frames
        iou = weights @ stacked.iou / np.maximum(frames, 1)  # [C]
        measure = weights @ stacked.f_measure / np.maximum(frames, 1)
        counts = np.ones(len(frames), bool) if official else weights @ stacked.true_frames > 0
        objects = counts.copy()
        objects[-1 if official else 0] = False
        return {
            "M_J": float(iou[counts].mean()),
            "M_F": float(measure[counts].mean()),
            "M_J_noBg": float(iou[objects].mean()) if objects.any() else None,
            "M_F_noBg": float(measure[objects].mean()) if objects.any() else None,
        }

    return means


def _class_table(stacked: ClassSums, names: list[str]) -> dict[str, dict[str, float | int]]:
    """The classes that are true or predicted anywhere."""
    frames = stacked.frames.sum(0)
    iou, measure = stacked.iou.sum(0), stacked.f_measure.sum(0)
    return {
        name: {
            "IoU": _percent(float(iou[number] / frames[number])),
            "F": _percent(float(measure[number] / frames[number])),
            "frames": int(frames[number]),
            "true_frames": int(stacked.true_frames[:, number].sum()),
        }
        for number, name in enumerate(names)
        if frames[number]
    }


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    total = weights.sum()
    return float(values @ weights / total) if total else None


def _with_intervals(
    statistic: Callable[[NDArray[np.float64]], Values], videos: int, resamples: int, seed: int
) -> dict[str, Any]:
    """The statistic of all videos, and `intervals` of drawn ones; none of a single video."""
    values = statistic(np.ones(videos))
    summary: dict[str, Any] = {
        name: None if value is None else _percent(value) for name, value in values.items()
    }
    draws = video_draws(videos, resamples=resamples if videos > 1 else 0, seed=seed)
    drawn = [statistic(weights) for weights in draws]
    intervals = {}
    for name, value in values.items():
        found = np.array([draw[name] for draw in drawn], np.float64)  # None becomes nan
        interval = interval_around(np.nan if value is None else value, found)
        if interval is not None:
            intervals[name] = [_percent(max(interval[0], 0.0)), _percent(min(interval[1], 1.0))]
    summary["intervals"] = intervals
    return summary


def _percent(fraction: float) -> float:
    return 100 * fraction
