import ctypes
import errno
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from tqdm import tqdm

from components.core.run.engine import Outcome, run_items
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.process import BRIEF_SPIN, SPIN_VARIABLES
from components.core.run.workers.confinement import Limits, memory_bytes
from components.core.run.workers.worker import Worker

pytestmark = pytest.mark.slow

TWO = EngineParams(workers=2)


class Panic(BaseException):
    """As PyO3's: no Exception; and it cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError


def work(item: str) -> str:
    """Does what the item says, to see that the others do not suffer from it."""
    if item == "hang":
        time.sleep(600)
    if item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "crash":
        ctypes.string_at(0)
    if item == "gone":
        os._exit(0)
    if item == "allocate":
        return str(len(bytearray(memory_bytes(1) + (1 << 30))))
    if item == "loop":
        while True:
            pass
    if item == "panic":
        raise Panic
    if item == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "frames/00001.jpg")
    if item == "network":
        socket.create_connection(("127.0.0.1", 9))
    if item == "write":
        Path(tempfile.mkdtemp()).joinpath("x").write_bytes(bytes(2000))
    if item == "raise":
        raise AvisError("the file is broken", fix="Replace it.")
    if item == "exit":
        raise SystemExit(3)
    if item == "unpicklable":
        return lambda: None  # type: ignore[return-value]
    if item == "lock":
        return type(tqdm.get_lock()).__name__
    if item == "spin":
        return os.environ["GOMP_SPINCOUNT"]
    return item.upper()


def work_at_second_try(folder: str) -> int:
    attempts = len(list(Path(folder).iterdir()))
    (Path(folder) / str(attempts)).touch()
    if attempts == 0:
        os._exit(9)
    return attempts


def by_key(outcomes: "list[Outcome[str]]") -> "dict[str, Outcome[str]]":
    return {outcome.key: outcome for outcome in outcomes}


ON_RAY = """
import pickle, sys
from components.core.run.engine import run_items
from components.core.run.params import EngineParams
from tests.unit.core.run.test_engine import work
names = sys.argv[1].split(",")
engine = EngineParams(kind="ray", workers=2)
found = list(run_items(work, [(n, n) for n in names], engine=engine, timeout_s=3.0, label="test"))
sys.stdout.buffer.write(pickle.dumps(found))
"""


def worked_on_ray(names: "list[str]") -> "list[Outcome[str]]":
    """In a process of its own: what Ray leaves in this one would hang in what later tests fork from it."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: uv pip install -e '.[ray]'")
    root = Path(__file__).parents[4]
    # a cluster started by hand knows nothing of what a stage sets
    environment = {name: value for name, value in os.environ.items() if name not in SPIN_VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, ",".join(names)],
        env={**environment, "PYTHONPATH": str(root)},
        cwd=root,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()
    outcomes: list[Outcome[str]] = pickle.loads(done.stdout)
    return outcomes


def test_a_worker_that_is_killed_leaves_no_semaphore_behind() -> None:
    [outcome] = run_items(work, [("x", "lock")], engine=TWO, label="test")
    assert outcome.value == "RLock"  # a thread's; tqdm's own is a semaphore of the system


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.integration)])
def test_one_bad_item_stops_no_other(kind: str, request: pytest.FixtureRequest) -> None:
    names = ["a", "hang", "crash", "killed", "gone", "b", "allocate", "loop", "raise", "exit", "unpicklable"]
    names += ["panic", "c"]
    if kind == "ray":
        request.getfixturevalue("ray_folder")
        outcomes = by_key(worked_on_ray([*names, "spin"]))
        assert outcomes.pop("spin").value == BRIEF_SPIN["GOMP_SPINCOUNT"]
    else:
        items = [(name, name) for name in names]
        outcomes = by_key(list(run_items(work, items, engine=TWO, timeout_s=3.0, label="test")))
    assert {key: outcome.kind for key, outcome in outcomes.items()} == {
        "a": "ok",
        "b": "ok",
        "c": "ok",
        "hang": "timeout",
        "loop": "timeout",
        "allocate": "memory",
        "crash": "crash",
        "gone": "crash",
        "killed": "killed",
        "raise": "error",
        "exit": "error",
        "unpicklable": "error",
        "panic": "error",
    }
    assert outcomes["b"].value == "B"
    assert outcomes["raise"].message == "the file is broken. Replace it."
    assert "SIGSEGV" in outcomes["crash"].message
    assert "SIGKILL" in outcomes["killed"].message
    assert outcomes["panic"].message == "Panic"
    assert outcomes["hang"].message == "took longer than 3 s and was ended"
    assert outcomes["hang"].duration_s == 3.0


def test_a_crashed_item_is_tried_again(tmp_path: Path) -> None:
    [outcome] = run_items(work_at_second_try, [("x", str(tmp_path))], engine=TWO, retries=1, label="test")
    assert (outcome.kind, outcome.value) == ("ok", 1)


def test_limits_of_processor_time_files_and_network() -> None:
    limits = Limits(network=False, cpu_s=1.0, file_bytes=1000)
    items = [(name, name) for name in ("loop", "write", "network", "a")]
    outcomes = by_key(list(run_items(work, items, engine=TWO, limits=limits, label="test")))
    assert {key: outcome.kind for key, outcome in outcomes.items()} == {
        "loop": "timeout",
        "write": "memory",
        "network": "error",
        "a": "ok",
    }
    assert outcomes["loop"].message == "took more than 1 s of processor time and was ended"
    assert "File too large" in outcomes["write"].message
    assert outcomes["network"].error == "PermissionError"  # without the limit: ConnectionRefusedError


def test_what_a_worker_s_thread_raises_ends_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Worker, "attempt", attempt)
    with pytest.raises(MemoryError):
        list(run_items(work, [("a", "a"), ("b", "b")], engine=TWO, label="test"))


def test_a_full_disk_stops_everything() -> None:
    with pytest.raises(AvisError, match=r"'full' could not be finished: No space left on device \(frames/"):
        list(run_items(work, [("full", "full"), ("h", "hang")], engine=TWO, label="test"))


def test_processes_that_are_killed_in_a_row_are_no_items_fault() -> None:
    items = [(str(number), "killed") for number in range(9)]
    with pytest.raises(AvisError, match=r"3 items in a row were killed.*memory is out"):
        list(run_items(work, items, engine=TWO, label="test"))


def test_no_items_are_no_outcomes() -> None:
    assert list(run_items(work, [], engine=EngineParams(), label="test")) == []


def test_leaving_early_ends_the_workers() -> None:
    start = time.monotonic()
    outcomes = run_items(work, [("a", "a"), ("h", "hang"), ("i", "hang")], engine=TWO, label="test")
    assert next(outcomes).key == "a"
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 120


def test_ray_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(AvisError, match=r"not installed.*uv pip install"):
        list(run_items(work, [("a", "a")], engine=EngineParams(kind="ray"), label="test"))


PARENT = """
import sys, time
from components.core.run.engine import run_items
from components.core.run.params import EngineParams
if __name__ == "__main__":
    list(run_items(time.sleep, [("a", 600), ("b", 600)], engine=EngineParams(workers=2), label="test"))
"""


def test_a_killed_parent_leaves_no_workers(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    root = Path(__file__).parents[4]
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL
    )
    family = []
    deadline = time.monotonic() + 600
    while len(family) < 4 and time.monotonic() < deadline:  # resource tracker, fork server, two workers
        time.sleep(0.1)
        family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) >= 4
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(family, timeout=600)
    assert alive == []


class Elsewhere:
    """Ends the process in which it is collected, unless it was made there: as clients of gRPC do."""

    def __init__(self) -> None:
        self.me, self.owner = self, os.getpid()  # a circle: it waits for the collector

    def __del__(self) -> None:
        if os.getpid() != self.owner:
            os.abort()


def collect(item: str) -> str:
    gc.collect()
    return item


def test_a_copy_of_this_process_does_not_collect_its_garbage() -> None:
    gc.disable()
    try:
        Elsewhere()
        worker = Worker(collect, start="fork")
        assert worker.attempt("a", "a").kind == "ok"
        worker.stop(kill=False)
    finally:
        gc.enable()
