"""What goes wrong, added up over the videos: totals, every table by name, and failures.json.

Rows carry the name of the selection of predictions that they are of: "all" or "score >= 0.3" (the threshold).
Everything is of the `corrected` protocol.
"""

from collections.abc import Callable

from components.core.metrics.accumulate import Row, Value
from components.core.metrics.failures import rows
from components.core.metrics.failures.frame_causes import OVERLAP
from components.core.metrics.failures.mask_fates import ALONE, RIGHT, SILENT
from components.core.metrics.failures.tally import Failures, FailureScores

PROTOCOL = "corrected"
COLUMNS = {  # of tables that may have no row
    "confusion": ("true", "predicted", "masks"),
    "identity_switches": rows.SWITCH_COLUMNS,
    **rows.RUN_COLUMNS,
}


def document(scores: FailureScores) -> dict[str, object]:
    """Return all numbers for failures.json."""
    return {
        "protocol": PROTOCOL,
        "overlap": OVERLAP,
        "score_threshold": scores.score_threshold,
        "clips": len(scores.videos),
        "totals": {name: totals(part) for name, part in scores.selections()},
        "tables": tables(scores),
    }


def tables(scores: FailureScores) -> dict[str, list[Row]]:
    """Return every table by its file's name: a row per cause, sources, size, category, clip, event."""

    def of_both(rows_of: Callable[[Failures], list[Row]]) -> list[Row]:
        return [_labelled(name, row) for name, part in scores.selections() for row in rows_of(part)]

    def of_shown(found: list[Row]) -> list[Row]:
        return [_labelled(scores.shown_name, row) for row in found]

    return {
        "causes": of_both(rows.cause_rows),
        "per_frame_kind": of_both(rows.kind_rows),
        "per_source_count": of_both(rows.source_rows),
        "per_object_count": [
            _labelled(name, row)
            for name, key in (("all", "every"), (scores.shown_name, "shown"))
            for row in rows.object_rows(scores.videos, key)
        ],
        "per_size": of_both(rows.size_rows),
        "per_category_failures": of_both(lambda part: rows.category_rows(part, scores.categories)),
        "mask_fates": of_both(rows.fate_rows),
        "confusion": of_both(lambda part: rows.confusion_rows(part, scores.categories)),
        "per_clip_failures": of_shown(rows.clip_rows(scores.videos)),
        "identity_switches": of_shown(rows.switch_rows(scores)),
        "false_sounds": of_shown(rows.run_rows(scores, "false_sounds")),
        "missed_sounds": of_shown(rows.run_rows(scores, "missed_sounds")),
    }


def _labelled(selection: str, row: Row) -> Row:
    return {"protocol": PROTOCOL, "predictions": selection, **row}


def totals(failures: Failures) -> dict[str, Value]:
    """Return the numbers of a whole set: frames, masks, identity switches, false and missed sounds."""
    truth, predicted = failures.by_sources.truth.sum(0), failures.by_sources.predicted.sum(0)
    frames = failures.frames.sum(0)
    false, missed = failures.false_runs, failures.missed_runs
    return {
        "frames": int(frames[0]),
        "frames_right_percent": rows.share(frames[1], frames[0]),
        "truth_masks": int(truth.sum()),
        "truth_masks_right_percent": rows.share(truth[RIGHT], truth.sum()),
        "predicted_masks": int(predicted.sum()),
        "predicted_masks_right_percent": rows.share(predicted[RIGHT], predicted.sum()),
        "identity_switches": int(failures.switches.sum()),
        "false_sound_masks": int(false[0]),
        "false_sound_percent_of_predicted_masks": rows.share(false[0], predicted.sum()),
        "false_sound_masks_nothing_sounds": int(predicted[ALONE]),
        "false_sound_masks_object_silent": int(predicted[SILENT]),
        "false_sound_runs": int(false[1]),
        "false_sound_longest_frames": int(false[2]),
        "missed_sound_masks": int(missed[0]),
        "missed_sound_percent_of_truth_masks": rows.share(missed[0], truth.sum()),
        "missed_sound_masks_nothing_predicted": int(truth[ALONE]),
        "missed_sound_masks_track_silent": int(truth[SILENT]),
        "missed_sound_runs": int(missed[1]),
        "missed_sound_longest_frames": int(missed[2]),
    }
