"""Many videos, one after the other or side by side: what fails is a row, what is finished stays."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from components.core.records.changes import Changes
from components.core.run.engine import run_items
from components.core.run.files import remove, remove_leftovers, write_csv
from components.core.run.output_folder import alone_in
from components.core.run.params import EngineParams
from components.core.run.workers.confinement import Limits, memory_bytes
from components.ingest.params import IngestParams
from components.tools.prediction.inputs import Input
from components.tools.prediction.one_video import COLUMNS, Row, Task, Wanted, finished, predict_one

if TYPE_CHECKING:
    from components.tools.prediction.bring import Found, Lost

TABLE = "predictions.csv"
BROUGHT = ".brought"  # of the output folder: what ingest downloaded and cut, until all is predicted
_WORKER_BYTES = 1.5e9  # torch, and what a video of 1920x1080 takes; the model comes to it
_GPUS = ("/dev/nvidiactl", "/dev/kfd")  # their drivers map what a limit of memory counts


def predict_videos(
    inputs: Sequence[Input], wanted: Wanted, out: Path, engine: EngineParams, ingest: IngestParams
) -> Iterator[Row]:
    """Predict videos, each into a folder of its name below `out`; write one table over all.

    Yields:
        A row for each as it is finished; first those that an earlier run finished with these settings.

    Raises:
        AvisError: another run is at work there, or the disk is full. What is finished stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out, "predict"):
        remove_leftovers(out)
        rows: dict[str, Row] = {}

        def write_table() -> None:
            order = [rows[source.name] for source in inputs if source.name in rows]
            write_csv(out / TABLE, COLUMNS, ({name: getattr(row, name) for name in COLUMNS} for row in order))

        try:
            todo = []
            for source in inputs:
                row = finished(source, wanted, out)
                if row is None:
                    todo.append(source)
                else:
                    rows[source.name] = row
                    yield row
            for row in _predict_all(todo, wanted, out, engine, ingest):
                rows[row.video] = row
                yield row
        except BaseException:
            with suppress(OSError):  # on a full disk the table has no room either: the first error says more
                write_table()
            raise
        write_table()
        brought = out / BROUGHT
        if brought.exists() and all(row.status == "ok" for row in rows.values()):
            remove(brought)


def _predict_all(
    todo: Sequence[Input], wanted: Wanted, out: Path, engine: EngineParams, ingest: IngestParams
) -> Iterator[Row]:
    away = [source for source in todo if source.needs_ingest]
    found: Found = {}
    lost: Lost = {}
    if away:
        from components.tools.prediction.bring import bring  # downloaders take long to import

        found, lost = bring(away, out / BROUGHT, ingest, engine)
    for source in away:
        if source.name in lost:
            status, cause = lost[source.name]
            yield _row(source, status, cause)
    alone = len(todo) == 1 and engine.kind == "local"
    tasks = []
    for source in todo:
        if source.name not in lost:
            path, changed = found.get(source.name) or (source.path or Path(source.source), Changes())
            tasks.append(Task(source, path, wanted, out, progress=alone, changed=changed))
    if alone:  # no process of its own: its start costs seconds
        yield from map(predict_one, tasks)
        return
    if not tasks:
        return
    workers = min(engine.workers, len(tasks))
    if engine.kind == "local":
        workers = _that_fit(workers, wanted)
    items = [(task.source.name, task) for task in tasks]
    sources = {task.source.name: task.source for task in tasks}
    for outcome in run_items(
        predict_one,
        items,
        engine=EngineParams(kind=engine.kind, workers=workers),
        limits=Limits(memory=not has_gpu()),
        tally=lambda row: row.status,
        label="predict",
    ):
        yield outcome.value or _row(sources[outcome.key], outcome.kind, outcome.message)


def has_gpu() -> bool:
    """Whether there is one, whose driver maps what a limit of memory counts."""
    return any(Path(device).exists() for device in _GPUS)


def _that_fit(workers: int, wanted: Wanted) -> int:
    """As many of the workers as the memory that is free has room for, at least one."""
    models = [model for model in (wanted.model, wanted.deaf_model) if model is not None]
    weights = sum(file.stat().st_size for model in models for file in (model, *model.glob("*")))
    need = _WORKER_BYTES + 2 * weights  # what was read, and the network
    room = min(psutil.virtual_memory().available, memory_bytes(1))
    fit = max(1, min(workers, int(room / need)))
    if fit < workers:
        said = f"{fit} of {workers} workers fit: each needs {need / 1e9:.1f} GB, {room / 1e9:.1f} GB are free"
        print(f"predict: {said}", file=sys.stderr)
    return fit


def _row(source: Input, status: str, cause: str) -> Row:
    row = Row(video=source.name, source=source.source, status=status, cause=cause)
    return replace(row, start_s=source.start_s, end_s=source.end_s)
