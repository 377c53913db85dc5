"""The list of faults, and how they are tried: each in a process of its own, with a time limit."""

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

from components.core.run.engine import run_items
from components.core.run.params import EngineParams
from components.core.run.workers.worker import Outcome
from pipelines.selftest import files, machine, servers, strangers
from pipelines.selftest.verdict import NotSetUp

LIMIT_S = 60.0  # of one fault
Area = Literal["servers", "strangers", "machine", "disk"]
Verdict = Literal["held", "not set up", "FAILED"]
Try = Callable[[Path], str]  # in a folder of its own: what was seen; raises where the fault did harm

FAULTS: dict[tuple[Area, str], Try] = {
    ("servers", "MLflow takes a run and gives it back"): servers.tracked_run,
    ("servers", "MLflow is away during a run"): servers.tracking_away,
    ("strangers", "a web server lies, stalls, redirects inside, sends rubbish"): strangers.web_server,
    ("servers", "store of videos: write, read, remove"): servers.raw_store,
    ("servers", "store of media: write, read, remove"): servers.media_store,
    ("servers", "DVC's remote: write, read, remove"): servers.dvc_remote,
    ("servers", "Prefect's server answers"): servers.prefect,
    ("strangers", "weights that carry code, or are cut"): strangers.weights,
    ("strangers", "an annotation file that is a bomb"): strangers.annotations,
    ("strangers", "texts that would be formulas, commands, passwords"): strangers.texts,
    ("machine", "a worker dies at one item"): machine.worker_dies,
    ("disk", "no room for a file"): files.no_room,
    ("disk", "killed while a folder is written"): files.killed_writer,
    ("disk", "killed while a journal is written"): files.cut_journal,
    ("disk", "two runs of a stage at once"): files.two_at_once,
}


@dataclass(frozen=True)
class Row:
    """What became of a fault."""

    area: Area
    fault: str
    verdict: Verdict
    seen: str
    duration_s: float


def try_all(folder: Path, workers: int, area: Area | None = None) -> Iterator[Row]:
    """Try every fault (of an area) below a folder; rows come as they are done.

    Raises:
        AvisError: there is no room for the processes.
    """
    numbers = [number for number, key in enumerate(FAULTS) if area in (None, key[0])]
    tasks = [(str(number), (number, folder / str(number))) for number in numbers]
    engine = EngineParams(workers=workers)
    for outcome in run_items(
        _try, tasks, engine=engine, timeout_s=LIMIT_S, tally=lambda found: found[0], label="selftest"
    ):
        yield Row(*list(FAULTS)[int(outcome.key)], *_verdict(outcome), outcome.duration_s)


def _try(task: tuple[int, Path]) -> tuple[Verdict, str]:
    number, folder = task
    folder.mkdir(parents=True)
    with (
        redirect_stderr(StringIO()),
        redirect_stdout(StringIO()),
    ):  # bars and warnings of what goes wrong here
        try:
            return "held", list(FAULTS.values())[number](folder)
        except NotSetUp as reason:
            return "not set up", str(reason)


def _verdict(outcome: Outcome[tuple[Verdict, str]]) -> tuple[Verdict, str]:
    return outcome.value or ("FAILED", outcome.message)
