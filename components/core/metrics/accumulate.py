"""The numbers of one protocol, from the summaries of all videos.

Letters: V videos, C categories of the ground-truth file, S sizes, A thresholds, R recalls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.metrics import average_precision, fsla, hota
from components.core.metrics.average_precision import Curves, Ranking
from components.core.metrics.overlaps import Booleans, Floats, Integers
from components.core.metrics.protocols import Protocol, Summary

HEADLINES = ("mAP", "HOTA", "FSLA", "FSLAn", "FSLAs", "FSLAm")
_DRAWS_AT_ONCE = 250  # bounds what is held of HOTA's sums
NO_TRACKS = -100.0  # what the published evaluator prints for a size without tracks
_IOU_50, _IOU_75 = 0, 5  # places in average_precision.THRESHOLDS

Value = float | int | None
Row = dict[str, Value | str]


@dataclass(frozen=True, slots=True)
class Counts:
    """All that is counted, ready to be added up over videos.

    rankings: one per category; hota: [V, C, 7, A]; fsla: [V, 3, A + 1].
    """

    protocol: Protocol
    rankings: list[Ranking]
    hota: Floats
    fsla: Floats


def count(summaries: Sequence[Summary], categories: Sequence[int], protocol: Protocol) -> Counts:
    """Collect the summaries of all videos (at least one), in the ground truth's order."""
    together = protocol == "corrected"
    return Counts(
        protocol,
        [
            average_precision.rank(
                [summary.detections[category] for summary in summaries], equal_scores_together=together
            )
            for category in categories
        ],
        np.array([[summary.hota[category] for category in categories] for summary in summaries]),
        np.stack([summary.frames.sums() for summary in summaries]),
    )


@dataclass(frozen=True, slots=True)
class Added:
    """Counts added up over videos, as fractions.

    precision: one Curves per category; hota: by field [C, A]; fsla: by kind of frame [A], NaN without frames;
    counted: [C] categories that enter averages.
    """

    protocol: Protocol
    precision: list[Curves]
    hota: dict[str, Floats]
    fsla: dict[str, Floats]
    frames: dict[str, tuple[float, float]]
    counted: Booleans


def add_up(counts: Counts, weights: Floats | None = None) -> Added:
    """Add up over videos; `weights` [V] says how often each counts (once if not given)."""
    video_weights = np.ones(len(counts.hota)) if weights is None else weights
    corrected = counts.protocol == "corrected"
    hota_sums = np.tensordot(video_weights, counts.hota, axes=1)  # [C, 7, A]
    in_truth = (hota_sums[:, 0] + hota_sums[:, 1])[:, 0] > 0
    fsla_sums = np.tensordot(video_weights, counts.fsla, axes=1)  # [3, A + 1]
    by_kind = {"FSLA": fsla_sums.sum(0)} | {
        f"FSLA{kind}": fsla_sums[index] for index, kind in enumerate(fsla.KINDS)
    }
    return Added(
        counts.protocol,
        [average_precision.curves(ranking, video_weights) for ranking in counts.rankings],
        hota.hota_values(hota_sums, location_without_matches=np.nan if corrected else 1.0),
        {
            name: sums[:-1] / sums[-1] if sums[-1] else np.full(len(sums) - 1, np.nan)
            for name, sums in by_kind.items()
        },
        {name: (float(sums[:-1].mean()), float(sums[-1])) for name, sums in by_kind.items()},
        in_truth if corrected else np.ones_like(in_truth),
    )


def headlines_of_draws(counts: Counts, weights: Floats) -> dict[str, Floats]:
    """Return each headline number for many weightings of the videos, in percent, NaN where there is none.

    Args:
        counts: of one protocol.
        weights: [N, V] how often each video counts.

    Returns:
        by name, [N]: what `all_values(add_up(counts, weights[n]))` has, in a fraction of the time.
    """
    draws, videos = weights.shape
    values = {name: np.full(draws, np.nan) for name in HEADLINES}
    for first in range(0, draws, _DRAWS_AT_ONCE):
        part = slice(first, first + _DRAWS_AT_ONCE)
        drawn = weights[part]
        sums = (drawn @ counts.hota.reshape(videos, -1)).reshape(len(drawn), *counts.hota.shape[1:])
        found = hota.hota_values(sums, location_without_matches=1.0)["HOTA"].mean(-1)  # [N, C]
        counted = np.ones_like(found)
        if counts.protocol == "corrected":
            counted = ((sums[:, :, 0] + sums[:, :, 1])[:, :, 0] > 0).astype(np.float64)
        with np.errstate(invalid="ignore"):
            values["HOTA"][part] = (found * counted).sum(1) / counted.sum(1)
            frames = (drawn @ counts.fsla.reshape(videos, -1)).reshape(len(drawn), *counts.fsla.shape[1:])
            right, total = frames[:, :, :-1].mean(-1), frames[:, :, -1]  # [N, 3]
            values["FSLA"][part] = right.sum(1) / total.sum(1)
            for index, kind in enumerate(fsla.KINDS):
                values[f"FSLA{kind}"][part] = right[:, index] / total[:, index]
            precisions = np.stack(
                [average_precision.average_precisions(ranking, drawn) for ranking in counts.rankings]
            )  # [C, N]
            values["mAP"][part] = np.nansum(precisions, 0) / (~np.isnan(precisions)).sum(0)
    return {name: 100 * found for name, found in values.items()}


def joined(first: Counts, second: Counts) -> Counts:
    """Return the counts of two results for the same V videos as if they were 2 V videos, `second` last.

    Weights then choose, video by video, whose result counts.
    """
    together = first.protocol == "corrected"
    return Counts(
        first.protocol,
        [
            average_precision.join(one, other, equal_scores_together=together)
            for one, other in zip(first.rankings, second.rankings, strict=True)
        ],
        np.concatenate([first.hota, second.hota]),
        np.concatenate([first.fsla, second.fsla]),
    )


def of_videos(counts: Counts, places: Integers) -> Counts:
    """Return the counts of some videos only, in the given order: places [N] in the V videos, none twice."""
    together = counts.protocol == "corrected"
    return Counts(
        counts.protocol,
        [
            average_precision.of_videos(ranking, places, equal_scores_together=together)
            for ranking in counts.rankings
        ],
        counts.hota[places],
        counts.fsla[places],
    )


def all_values(added: Added) -> dict[str, Value]:
    """Return every number of the protocol in percent, and the frames behind FSLA."""
    values: dict[str, Value] = {}
    precisions = [curve.precision for curve in added.precision]
    parts = {
        "mAP": [precision[0] for precision in precisions],
        "AP50": [precision[0, _IOU_50] for precision in precisions],
        "AP75": [precision[0, _IOU_75] for precision in precisions],
    }
    for index, size in enumerate(average_precision.SIZES[1:], start=1):
        parts[f"AP_{size}"] = [precision[index] for precision in precisions]
    parts["AR"] = [curve.recall[0] for curve in added.precision]
    for name, part in parts.items():
        values[name] = _mean_over_categories(part, added.protocol)
    for name in hota.FIELDS:
        values[name] = _percent(hota_curve(added, name))
    values["LocA"] = _location(added.hota["LocA"][added.counted])
    for name, curve in added.fsla.items():
        values[name] = _percent(curve)
    for name, (right, frames) in added.frames.items():
        values[f"{name}_right_frames"] = int(right)  # the mean over thresholds, cut
        values[f"{name}_frames"] = int(frames)
    return values


def category_values(added: Added, place: int) -> dict[str, float | None]:
    """Return one category's numbers in percent; None for those it has no ground truth for."""
    curve = added.precision[place]
    values = {
        "AP": _percent(curve.precision[0]),
        "AP50": _percent(curve.precision[0, _IOU_50]),
        "AR": _percent(curve.recall[0]),
    }
    for name in ("HOTA", "DetA", "AssA", "LocA"):
        values[name] = _percent(added.hota[name][place]) if values["AP"] is not None else None
    if values["AP"] is not None:
        values["LocA"] = _location(added.hota["LocA"][place : place + 1])
    return values


def hota_curve(added: Added, name: str) -> Floats:
    """Return one field of HOTA over thresholds, [A], averaged over categories; NaN if none counts."""
    if not added.counted.any():
        return np.full(len(hota.THRESHOLDS), np.nan)
    curve: Floats = added.hota[name][added.counted].mean(0)
    return curve


def precision_curve(added: Added, place: int | None) -> Floats:
    """Return precision over recall, [R], averaged over categories with ground truth.

    `place` is one IoU threshold's place in average_precision.THRESHOLDS; None averages over thresholds.
    """
    rows = [curve.precision[0] for curve in added.precision if not np.isnan(curve.precision[0]).any()]
    if not rows:
        return np.full(len(average_precision.RECALLS), np.nan)
    mean = np.mean(rows, axis=0)
    curve: Floats = mean.mean(0) if place is None else mean[place]
    return curve


def _mean_over_categories(parts: Sequence[Floats], protocol: Protocol) -> float | None:
    means = [float(part.mean()) for part in parts]
    means = [mean for mean in means if not np.isnan(mean)]
    if means:
        return 100 * float(np.mean(means))
    return NO_TRACKS if protocol == "official" else None


def _location(curves: Floats) -> float | None:
    """Average LocA [C, A] over the thresholds at which something matched, then over categories."""
    means = [float(curve[~np.isnan(curve)].mean()) for curve in curves if not np.isnan(curve).all()]
    return 100 * float(np.mean(means)) if means else None


def _percent(curve: Floats) -> float | None:
    mean = float(np.mean(curve))
    return None if np.isnan(mean) else 100 * mean


def clip_values(counts: Counts, place: int) -> dict[str, float | None]:
    """Return one video's FSLA, by kind of frame too, and HOTA over the categories it has, in percent."""
    sums = counts.fsla[place]  # [3, A + 1]
    by_kind = {"FSLA": sums.sum(0)} | {f"FSLA{kind}": sums[index] for index, kind in enumerate(fsla.KINDS)}
    values: dict[str, float | None] = {
        name: 100 * float(row[:-1].mean() / row[-1]) if row[-1] else None for name, row in by_kind.items()
    }
    present = counts.hota[place, :, :2, 0].sum(1) > 0  # categories with masks in the ground truth
    curves = hota.hota_values(counts.hota[place, present], location_without_matches=np.nan)
    return values | {
        name: 100 * float(curves[name].mean()) if present.any() else None for name in ("HOTA", "DetA", "AssA")
    }
