"""What two tracked runs differ in, in the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from components.compare.params import CompareParams
from components.core.text.terminal import plain, print_table
from components.tools.runs.difference import Pair, RunsDiff
from components.tools.runs.table import commit_of

_SHOWN_CLIPS = 5
_LONGEST_VALUE = 60  # characters
_SMALLEST_P = 0.001
_NUMBERS = ("first", "second", "difference")


def print_difference(diff: RunsDiff, params: CompareParams) -> None:
    """Print a section for each part that is compared.

    Args:
        params: how the intervals were drawn.
    """
    for place, run in (("first", diff.first), ("second", diff.second)):
        models = f", {', '.join(run.models)}" if run.models else ""
        text = f"{place:6}  {run.run_id[:8]}  {run.name}, {run.status.lower()}, "
        print(plain(f"{text}{commit_of(run) or 'no commit'}{models}"))
    _pairs(diff, "parameters", diff.params)
    _pairs(diff, "data", diff.data)
    _begin(diff, "code", differs=bool(diff.code))
    for line in diff.code:
        print(plain(line))
    _pairs(diff, "environment", diff.environment)
    _scores(diff, params)
    _clips(diff)


def _begin(diff: RunsDiff, name: str, *, differs: bool) -> None:
    """The heading of a section, and what limits what it says."""
    notes = diff.notes.get(name, [])
    heading = Text(name if differs or notes else f"{name}: the same", style="bold")
    Console(highlight=False).print("", heading, sep="\n")
    for note in notes:
        print(plain(note))


def _pairs(diff: RunsDiff, name: str, pairs: Mapping[str, Pair]) -> None:
    _begin(diff, name, differs=bool(pairs))
    if pairs:
        print_table(("", "first", "second"), [(key, *map(_value, pair)) for key, pair in pairs.items()])


def _value(value: str | None) -> str:
    if value is None:
        return "-"
    text = plain(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _scores(diff: RunsDiff, params: CompareParams) -> None:
    _begin(diff, "scores", differs=bool(diff.scores or diff.plain_scores))
    if diff.scores:
        columns = ("", *_NUMBERS, "95 % interval", "p", "verdict")
        rows = [
            (
                f"{protocol}/{name}",
                f"{found.other:.2f}",
                f"{found.value:.2f}",
                f"{found.difference:+.2f}",
                "-" if found.low is None or found.high is None else f"{found.low:+.2f} to {found.high:+.2f}",
                _chance(found.p),
                "clear" if found.is_clear else "unclear",
            )
            for protocol, scores in diff.scores.items()
            for name, found in scores.items()
        ]
        print_table(columns, rows, numbers=columns[1:-1])
        draws = f"intervals and p from {params.bootstrap_samples} draws over the clips"
        print(f"second less first, percent; {draws}")
    if diff.plain_scores:  # without intervals
        pairs = diff.plain_scores.items()
        found = [(name, f"{one:.4g}", f"{two:.4g}", f"{two - one:+.4g}") for name, (one, two) in pairs]
        print_table(("", *_NUMBERS), found, numbers=_NUMBERS)


def _chance(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= _SMALLEST_P else f"< {_SMALLEST_P}"


def _clips(diff: RunsDiff) -> None:
    """The largest falls and gains."""
    changes = [clip for clip in diff.clips if clip.protocol == "corrected" and clip.score == "FSLA"]
    falls = sorted((clip for clip in changes if clip.difference < 0), key=lambda clip: clip.difference)
    gains = sorted((clip for clip in changes if clip.difference > 0), key=lambda clip: -clip.difference)
    _begin(diff, "clips", differs=bool(falls or gains))
    if falls or gains:
        shown = (*falls[:_SHOWN_CLIPS], *gains[:_SHOWN_CLIPS])
        rows = [
            (one.clip, f"{one.first:.1f}", f"{one.second:.1f}", f"{one.difference:+.1f}") for one in shown
        ]
        print_table(("clip", *_NUMBERS), rows, numbers=_NUMBERS)
    if changes:
        same = len(changes) - len(falls) - len(gains)
        counts = f"{len(falls)} clips fell, {len(gains)} gained, {same} are as before"
        print(f"FSLA, corrected, percent: {counts}")
