"""What two tracked runs differ in, in the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.compare.params import CompareParams
from components.core.text.terminal import plain
from components.tools.runs.difference import ClipDifference, Pair, RunsDiff
from components.tools.runs.table import commit_of

_SHOWN_CLIPS = 5
_LONGEST_VALUE = 60  # characters
_SMALLEST_P = 0.001


def print_difference(diff: RunsDiff, params: CompareParams) -> None:
    """Print a section for each part that is compared.

    Args:
        params: how the intervals were drawn.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=160)
    for place, run in (("first", diff.first), ("second", diff.second)):
        models = f", {', '.join(run.models)}" if run.models else ""
        text = (
            f"{place:6}  {run.run_id[:8]}  {run.name}, {run.status.lower()}, {commit_of(run) or 'no commit'}"
        )
        console.print(plain(text + models), soft_wrap=True)
    _section(console, diff, "parameters", _pairs(diff.params))
    _section(console, diff, "data", _pairs(diff.data))
    _section(console, diff, "code", None if not diff.code else "\n".join(map(plain, diff.code)))
    _section(console, diff, "environment", _pairs(diff.environment))
    scores, others = _scores(diff), _plain_scores(diff)
    _section(console, diff, "scores", scores or others)
    if scores is not None:
        draws = f"intervals and p from {params.bootstrap_samples} draws over the clips"
        console.print(f"second less first, percent; {draws}", soft_wrap=True)
        if others is not None:
            console.print(others)
    changes = [clip for clip in diff.clips if clip.protocol == "corrected" and clip.score == "FSLA"]
    falls = sorted((clip for clip in changes if clip.difference < 0), key=lambda clip: clip.difference)
    gains = sorted((clip for clip in changes if clip.difference > 0), key=lambda clip: -clip.difference)
    _section(console, diff, "clips", _clips(falls, gains))
    if changes:
        same = len(changes) - len(falls) - len(gains)
        counts = f"{len(falls)} clips fell, {len(gains)} gained, {same} are as before"
        console.print(f"FSLA, corrected, percent: {counts}", soft_wrap=True)


def _section(console: Console, diff: RunsDiff, name: str, content: Table | str | None) -> None:
    notes = diff.notes.get(name, [])
    console.print()
    console.print(Text(name, style="bold") if content or notes else Text(f"{name}: the same", style="bold"))
    for note in notes:
        console.print(plain(note), soft_wrap=True)
    if content is not None:
        console.print(content, soft_wrap=isinstance(content, str))


def _pairs(pairs: Mapping[str, Pair]) -> Table | None:
    if not pairs:
        return None
    table = _table("", "first", "second")
    for name, values in pairs.items():
        table.add_row(Text(plain(name)), *(Text(_value(value)) for value in values))
    return table


def _value(value: str | None) -> str:
    if value is None:
        return "-"
    text = plain(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _scores(diff: RunsDiff) -> Table | None:
    if not diff.scores:
        return None
    table = _table("", "first", "second", "difference", "95 % interval", "p", "", right=True)
    for protocol, scores in diff.scores.items():
        for name, found in scores.items():
            sure = found.low is not None and found.high is not None
            table.add_row(
                f"{protocol}/{name}",
                f"{found.other:.2f}",
                f"{found.value:.2f}",
                f"{found.difference:+.2f}",
                f"{found.low:+.2f} to {found.high:+.2f}" if sure else "-",
                _chance(found.p),
                "clear" if found.is_clear else "unclear",
            )
    return table


def _plain_scores(diff: RunsDiff) -> Table | None:
    """Numbers without intervals."""
    if not diff.plain_scores:
        return None
    table = _table("", "first", "second", "difference", right=True)
    for name, (one, other) in diff.plain_scores.items():
        table.add_row(name, f"{one:.4g}", f"{other:.4g}", f"{other - one:+.4g}")
    return table


def _chance(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= _SMALLEST_P else f"< {_SMALLEST_P}"


def _clips(falls: Sequence[ClipDifference], gains: Sequence[ClipDifference]) -> Table | None:
    """The largest falls and gains."""
    if not falls and not gains:
        return None
    table = _table("clip", "first", "second", "difference", right=True)
    for clip in (*falls[:_SHOWN_CLIPS], *gains[:_SHOWN_CLIPS]):
        numbers = (f"{clip.first:.1f}", f"{clip.second:.1f}", f"{clip.difference:+.1f}")
        table.add_row(Text(plain(clip.clip)), *numbers)
    return table


def _table(*columns: str, right: bool = False) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, name in enumerate(columns):
        numbers = right and 0 < place < len(columns)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    return table
