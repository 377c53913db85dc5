"""What goes wrong, in words made of the numbers, what costs most frames first."""

from dataclasses import dataclass

import numpy as np

from components.core.metrics.failures.frame_causes import CAUSES
from components.core.metrics.failures.mask_fates import ALONE, CONFUSED, POOR, RIGHT, SECOND, SILENT
from components.core.metrics.failures.rows import cause_rows, source_rows
from components.core.metrics.failures.tally import Failures, FailureScores

_REST_NAMED = 3  # clips, categories or pairs in one sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that goes wrong: its name, its share of the wrong frames in percent (None if it is not of
    frames), and what the numbers say."""

    name: str
    share: float | None
    text: str


def findings(scores: FailureScores) -> list[Finding]:
    """Return what goes wrong with the shown predictions: causes by their frames, then the rest."""
    part = scores.shown
    texts = {
        "false sound": _false_sound,
        "missed sound": _missed_sound,
        "too many masks": _too_many,
        "too few masks": _too_few,
        "wrong category": _wrong_category,
        "poor mask": _poor_mask,
    }
    found = [
        Finding(
            str(row["cause"]),
            _number(row["of_wrong_frames"]),
            f"{_frames(row['frames'])}. {texts[str(row['cause'])](scores, part)}",
        )
        for row in sorted(cause_rows(part), key=lambda row: -_number(row["frames"]))
        if row["frames"]
    ]
    if part.switches.sum():
        found.append(Finding("identity switches", None, _switches(scores, part)))
    hard = _hard_frames(part)
    if found and hard:
        found.append(Finding("more at once", None, hard))
    return found


def _false_sound(scores: FailureScores, part: Failures) -> str:
    silent = part.frames[0]
    share = _percent(silent[2], silent[0])
    text = f"Something is predicted on {silent[2]} of {silent[0]} silent frames ({share})."
    return text + _worst_clips(scores, CAUSES.index("false sound"))


def _missed_sound(scores: FailureScores, part: Failures) -> str:
    sounding = part.frames[1:].sum(0)
    text = f"Nothing is predicted on {sounding[3]} of {sounding[0]} frames on which something sounds."
    return text + _worst_clips(scores, CAUSES.index("missed sound"))


def _too_many(scores: FailureScores, part: Failures) -> str:
    fates = part.by_sources.predicted.sum(0)
    false = fates[SECOND:].sum() - fates[ALONE]
    parts = {
        "belong to an object that is silent just then": fates[SILENT],
        "double an object that has a better mask": fates[SECOND],
        "overlap an object too little": fates[POOR],
        "lie on no sounding object": fates[-1],
    }
    return f"Of {false} false masks on sounding frames {_split(parts, false)}."


def _too_few(scores: FailureScores, part: Failures) -> str:
    fates = part.by_sources.truth.sum(0)
    missed = fates[SECOND:].sum() - fates[ALONE]
    parts = {
        "have a track that is silent just then": fates[SILENT],
        "share a mask with another object": fates[SECOND],
        "are overlapped too little": fates[POOR],
        "are not seen at all": fates[-1],
    }
    return f"Of {missed} missed masks on frames with predictions {_split(parts, missed)}."


def _wrong_category(scores: FailureScores, part: Failures) -> str:
    matched = part.by_sources.truth.sum(0)[[RIGHT, CONFUSED]]
    pairs = part.confusion[:-1, :-1].copy()
    np.fill_diagonal(pairs, 0)
    places = np.argwhere(pairs)
    ranked = sorted(places.tolist(), key=lambda place: -int(pairs[place[0], place[1]]))[:_REST_NAMED]
    names = [
        f"{scores.categories[row]} taken for {scores.categories[column]} ({pairs[row, column]})"
        for row, column in ranked
    ]
    text = f"Of {matched.sum()} masks that overlap an object {matched[1]} have another category"
    return text + (f": {', '.join(names)}{', …' if len(places) > len(names) else '.'}" if names else ".")


def _poor_mask(scores: FailureScores, part: Failures) -> str:
    matched = part.by_sources.truth[:, [RIGHT, CONFUSED]].sum()
    text = "Count and categories are right, but a mask overlaps by no more than half."
    if matched:
        text += f" Matched masks overlap by {part.by_sources.overlap.sum() / matched:.2f} on average."
    return text + _worst_clips(scores, CAUSES.index("poor mask"))


def _switches(scores: FailureScores, part: Failures) -> str:
    clips = [(int(video.shown.switches.sum()), video.name) for video in scores.videos]
    several = sorted((clip for clip in clips if clip[0]), key=lambda clip: (-clip[0], clip[1]))
    names = ", ".join(f"{name} ({count})" for count, name in several[:_REST_NAMED])
    more = ", …" if len(several) > _REST_NAMED else "."
    clip = "clip" if len(several) == 1 else "clips"
    return (
        f"{part.switches.sum()} in {len(several)} {clip}: {names}{more} Another track takes the object over."
    )


def _hard_frames(part: Failures) -> str:
    rows = [row for row in source_rows(part) if row["frames"]]
    if len(rows) < 2:
        return ""
    listed = ", ".join(f"{row['sources']}: {_number(row['FSLA']):.0f}" for row in rows)
    return f"FSLA by the number of sounding objects on a frame: {listed}."


def _worst_clips(scores: FailureScores, cause: int) -> str:
    """Say which clips most frames of a cause are in."""
    clips = [(int(video.shown.frames[:, 2 + cause].sum()), video.name) for video in scores.videos]
    ranked = sorted((clip for clip in clips if clip[0]), key=lambda clip: (-clip[0], clip[1]))
    if not ranked:
        return ""
    names = ", ".join(f"{name} ({count})" for count, name in ranked[:_REST_NAMED])
    return f" Most in {names}{', …' if len(ranked) > _REST_NAMED else '.'}"


def _split(parts: dict[str, np.int64], whole: np.int64) -> str:
    named = sorted(((int(count), text) for text, count in parts.items() if count), reverse=True)
    return ", ".join(f"{_percent(count, whole)} {text}" for count, text in named) or "none stands out"


def _frames(count: object) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"


def _percent(part: float | np.int64, whole: float | np.int64) -> str:
    return f"{100 * part / whole if whole else 0:.0f}\N{NO-BREAK SPACE}%"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
