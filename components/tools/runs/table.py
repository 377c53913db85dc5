"""The tracked runs as a table, in the terminal and as CSV."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Literal

from components.core.run.errors import AvisError
from components.core.run.files import write_csv
from components.core.run.paths import Paths
from components.core.text.terminal import plain
from components.core.tracking.address import tracking_uri
from components.core.tracking.reader import RunRecord, TrackedRuns
from components.core.tracking.run import send_pending
from components.tools.runs.searches import Search, read_searches

SCORES = ("FSLA", "HOTA", "mAP")  # of the protocol `corrected`, in percent
_SHORT_ID = 8  # characters
_SHORT_COMMIT = 7
_NOTHING = "-"
_ROOM = 120  # characters; a narrower terminal goes without _IF_ROOM
_IF_ROOM = ("duration", "data")


def open_runs() -> TrackedRuns:
    """Send what earlier commands could not, and connect to MLflow.

    Raises:
        AvisError: MLflow cannot be reached, or nothing is tracked here.
    """
    waiting = send_pending()
    runs = TrackedRuns(tracking_uri(), Paths().tracking)
    if waiting:
        print(f"{waiting} runs could not be sent to MLflow yet and are missing here.", file=sys.stderr)
    return runs


def saved_search(search: str | None) -> Search:
    """Return a saved search by its name; anything else is a filter in MLflow's language.

    Raises:
        AvisError: it looks like a name, and there is no such search.
    """
    if search is None:
        return Search()
    searches = read_searches()
    if search in searches:
        return searches[search]
    if (
        not any(sign in search for sign in "=<>")
        and " in " not in search.lower()
        and "like" not in search.lower()
    ):
        raise AvisError(
            f"there is no saved search {search!r}",
            fix=f"There are: {', '.join(searches)}. Or give a filter, as: --search \"params.seed = '1'\".",
        )
    return Search(filter=search)


def print_runs(runs: Sequence[RunRecord], columns: Sequence[str]) -> None:
    """Print the usual columns and those of a saved search: metrics.NAME, params.NAME or tags.NAME."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=300)  # a file or a pipe has no edge to wrap at
    left_out = _IF_ROOM if console.width < _ROOM else ()
    usual = {name: cell for name, cell in _COLUMNS.items() if name not in left_out}
    shown = {**usual, **{_heading(name): _value(name) for name in columns}}
    numbers = {"duration", *SCORES, *(_heading(name) for name in columns if name.startswith("metrics."))}
    rows = [[plain(cell(run)) for cell in shown.values()] for run in runs]
    table = Table(box=None, header_style="bold", pad_edge=False)
    # an empty column takes room for nothing
    filled = [any(row[place] not in ("", _NOTHING) for row in rows) for place in range(len(shown))]
    for name in compress(shown, filled):
        justify: Literal["left", "right"] = "right" if name in numbers else "left"
        wraps = name not in _COLUMNS or name in ("name", "started", "data", "model")
        table.add_column(plain(name), justify=justify, overflow="fold", no_wrap=not wraps)
    for row in rows:
        table.add_row(*map(Text, compress(row, filled)))
    console.print(table)


def commit_of(run: RunRecord) -> str:
    """The commit of a run's code, with a star if there were changes beside it; empty if unknown."""
    commit = run.tags.get("mlflow.source.git.commit", "")
    return commit[:_SHORT_COMMIT] + ("*" if commit and run.tags.get("git.dirty") == "true" else "")


def _duration(run: RunRecord) -> str:
    """Until the run's end, or until now."""
    if run.start_s is None:
        return _NOTHING
    seconds = round((run.end_s or time.time()) - run.start_s)
    hours, rest = divmod(max(0, seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _started(run: RunRecord) -> str:
    return _NOTHING if run.start_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(run.start_s))


def _data(run: RunRecord) -> str:
    return " ".join(
        f"{name} {'/'.join(digest[:_SHORT_COMMIT] for digest in digests)}"
        for name, digests in sorted(run.datasets.items())
    )


def _score(name: str) -> Callable[[RunRecord], str]:
    def cell(run: RunRecord) -> str:
        value = run.metrics.get(f"corrected/{name}")
        return _NOTHING if value is None else f"{value:.2f}"

    return cell


def _value(name: str) -> Callable[[RunRecord], str]:
    """A column of a saved search: metrics.NAME, params.NAME or tags.NAME."""
    kind, _, key = name.partition(".")

    def cell(run: RunRecord) -> str:
        if kind == "metrics":
            return _number(run.metrics.get(key))
        values = run.params if kind == "params" else run.tags
        return values.get(key, _NOTHING)

    return cell


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.2f}" if abs(value) >= 1 and value != round(value) else f"{value:.4g}"


def _heading(column: str) -> str:
    """The last word of a saved search's column: "false_masks" of metrics.corrected/failures/false_masks."""
    return column.partition(".")[2].rpartition("/")[2]


_COLUMNS: Mapping[str, Callable[[RunRecord], str]] = {
    "run": lambda run: run.run_id[:_SHORT_ID],
    "name": lambda run: run.name,
    "status": lambda run: run.status.lower(),
    "started": _started,
    "duration": _duration,
    **{name: _score(name) for name in SCORES},
    "commit": commit_of,
    "data": _data,
    "model": lambda run: ", ".join(run.models),
}


def write_runs(runs: Sequence[RunRecord], file: Path) -> None:
    """Write a CSV with all parameters, metrics and tags.

    Raises:
        AvisError: the file is there already.
    """
    if file.exists():
        raise AvisError("the file is there already", where=str(file), fix="Name a new one.")
    rows = [
        {
            "run_id": run.run_id,
            "name": run.name,
            "experiment": run.experiment,
            "status": run.status,
            "start_s": run.start_s,
            "end_s": run.end_s,
            "models": " ".join(run.models),
            **{f"datasets.{name}": " ".join(digests) for name, digests in run.datasets.items()},
            **{f"metrics.{name}": value for name, value in run.metrics.items()},
            **{f"params.{name}": value for name, value in run.params.items()},
            **{f"tags.{name}": value for name, value in run.tags.items()},
        }
        for run in runs
    ]
    columns = dict.fromkeys(name for row in rows for name in row)  # a run may lack what another has
    write_csv(file, columns, rows)
