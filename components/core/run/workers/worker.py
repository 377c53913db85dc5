"""A process that does one item after another within limits, and is replaced when it dies."""

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, TypeVar

from tqdm import tqdm

from components.core.run.errors import AvisError, MachineError, is_out_of_memory
from components.core.run.process import end_with_parent
from components.core.run.workers.confinement import Limits, allow, confine
from components.core.text.terminal import guard_terminal

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
Kind = Literal["ok", "error", "timeout", "memory", "crash", "killed"]
_OUT_OF_MEMORY = 41  # exit code of a worker
_START_S = 300.0  # a process and its imports, on a machine with much to do
_END_S = 5.0
_OF_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
_LONGEST_MESSAGE = 2000


class ItemError(AvisError):
    """What became of an item that gave no result: `kind` as Outcome has it."""

    def __init__(self, what: str, kind: Kind = "error") -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of one item.

    kind: "ok"; "error": the function raised; "timeout": it took longer, or more processor time, than it may,
    and was ended; "memory": it wanted more memory, or a larger file, than it may; "crash": its process died
    of it; "killed": its process was killed from outside (SIGKILL), as the kernel does when the machine has no
    memory left. `value` is the function's result if ok, `message` the reason if not, `error` the exception's
    class if the function raised one, `raised` the exception itself if it is ours.
    """

    key: str
    value: R | None
    kind: Kind
    message: str
    duration_s: float
    error: str = ""
    raised: AvisError | None = None

    def result(self) -> R:
        """The value.

        Raises:
            AvisError: what the function raised, if it is ours.
            ItemError: any other reason.
        """
        if self.kind == "ok":
            return self.value  # type: ignore[return-value]
        raise self.raised or ItemError(self.message, self.kind)


class Worker(Generic[I, R]):
    """One function in one process of its own at a time, started when it is first needed.

    Forking a process that has threads (torch, MLflow, Arrow) may deadlock: a server forks that has none.

    Args:
        function: what is done to an item. It goes to the process once, items and results each time.
        limits: what the process may take.
        workers: how many such workers share the machine's memory; None: one per core.
        start: "forkserver": the process is clean, and imports the function's module; "fork": it is a copy of
            this one, and the function may know all that this one does. Only where no other thread holds a
            lock that the function needs.
    """

    def __init__(
        self,
        function: Callable[[I], R],
        *,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        workers: int | None = None,
        start: Literal["forkserver", "fork"] = "forkserver",
    ) -> None:
        self._function, self._limits, self._workers = function, limits, workers
        self._start, self._context = start, multiprocessing.get_context(start)
        module = getattr(getattr(function, "func", function), "__module__", "__main__")
        if start == "forkserver" and module != "__main__":
            self._context.set_forkserver_preload([module])  # its imports are then paid once, not per worker
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()  # between the thread that uses it and the one that stops it
        self._stopped = False

    def attempt(
        self, key: str, item: I, timeout_s: float | None = None, limits: Limits | None = None
    ) -> Outcome[R]:
        """Do one item; whatever it does to its process becomes an outcome.

        limits: of processor time and files, where this item has others.

        Raises:
            AvisError: no process can be started: that is no item's fault.
        """
        limits = limits or self._limits
        try:
            message = pickle.dumps((limits, key, item))
        except Exception as error:
            return Outcome(key, None, "error", _said(error), 0.0, type(error).__name__)
        process, pipe = self._started()
        start = time.monotonic()
        answer = None
        with suppress(OSError, EOFError):  # it died before it read, or while it wrote
            pipe.send_bytes(message)
            if not wait([pipe, process.sentinel], timeout_s):
                self._end(kill=True)
                return Outcome(
                    key, None, "timeout", f"took longer than {timeout_s:g} s and was ended", timeout_s or 0.0
                )
            if pipe.poll():
                answer = pipe.recv_bytes()
        duration_s = time.monotonic() - start
        if answer is not None:
            try:
                outcome: Outcome[R] = pickle.loads(answer)  # noqa: S301 - our own worker's bytes
                return outcome
            except Exception as error:
                return Outcome(key, None, "error", _said(error), duration_s, type(error).__name__)
        process.join(_END_S)
        kind, reason = _death(process.exitcode, limits)
        self._end(kill=True)
        return Outcome(key, None, kind, reason, duration_s)

    def stop(self, *, kill: bool) -> None:
        """End the process, and start no other; `kill`: in the middle of an item."""
        with self._lock:
            self._stopped = True
            self._end(kill=kill)

    def _started(self) -> tuple[Any, Connection]:
        with self._lock:
            if self._stopped:
                raise AvisError("the workers were ended")
            if self._process is None or not self._process.is_alive():
                self._end(kill=True)
                self._pipe, theirs = self._context.Pipe()
                self._process = self._context.Process(  # type: ignore[attr-defined]
                    target=_serve,
                    args=(theirs, self._function, self._limits, self._workers, dict(os.environ), self._start),
                )
                # One that a worker forked ends with it, unasked; else the worker would wait for it.
                self._process.daemon = self._start == "fork"
                try:
                    self._process.start()
                except (OSError, EOFError) as error:  # the latter of a fork server that has died
                    raise AvisError(
                        f"no worker process can be started: {str(error) or 'what starts them has ended'}",
                        fix="Is there memory left?",
                        passing=True,
                    ) from None
                finally:
                    theirs.close()
                wait([self._pipe, self._process.sentinel], _START_S)
                if not self._pipe.poll() or not self._ready(self._pipe):
                    self._process.join(_END_S)
                    reason = _death(self._process.exitcode, self._limits)[1]
                    self._end(kill=True)
                    raise AvisError(f"a worker process did not start: {reason}", passing=True)
            assert self._pipe is not None  # noqa: S101 - it is there with the process
            return self._process, self._pipe

    @staticmethod
    def _ready(pipe: Connection) -> bool:
        try:
            return pipe.recv_bytes() == b""
        except (OSError, EOFError):
            return False

    def _end(self, *, kill: bool) -> None:
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()  # an idle one ends by itself
        if process is None or process.pid is None:
            return
        if not kill:
            process.join(_END_S)
        if kill or process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join(_END_S)


def _serve(
    pipe: Connection,
    function: Callable[[Any], Any],
    limits: Limits,
    workers: int | None,
    environment: dict[str, str],
    start: str,
) -> None:
    """The body of the process."""
    if start == "fork":
        end_with_parent(signal.SIGKILL)
        gc.freeze()  # the parent's garbage is not ours: what its libraries end here may abort the process
    else:
        os.setpgid(0, 0)  # so that those that it starts end with it
    # Ctrl-C and SIGTERM are for the parent, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(environment)  # the fork server has the environment of its own start
    guard_terminal()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, left over by who is killed
    confine(limits, workers)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send_bytes(b"")
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(function, message))


def _end_with_parent() -> None:
    # The kernel's parent may be the fork server, which lives as long as its workers: wait for the stage.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        with suppress(OSError):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _answer(function: Callable[[Any], Any], message: bytes) -> bytes:
    """The pickled Outcome: exceptions become messages here, since not every one survives pickling."""
    start, key = time.monotonic(), ""
    try:
        limits, key, item = pickle.loads(message)  # noqa: S301 - our own parent's bytes
        allow(limits)
        value = function(item)
        return pickle.dumps(Outcome(key, value, "ok", "", time.monotonic() - start))
    except BaseException as error:
        if is_out_of_memory(error):
            os._exit(_OUT_OF_MEMORY)  # what it holds goes with it
        if isinstance(error, OSError) and error.errno in _OF_MACHINE:
            error = MachineError(f"{error.strerror} ({error.filename or 'while writing'})")
        duration_s = time.monotonic() - start
        kind = error.kind if isinstance(error, ItemError) else "error"  # of a worker of this worker
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            kind = "memory"
        outcome = Outcome[Any](key, None, kind, _said(error), duration_s, type(error).__name__)
        if isinstance(error, AvisError):
            with suppress(Exception):
                whole = pickle.dumps(Outcome(**{**outcome.__dict__, "raised": error}))
                pickle.loads(whole)  # noqa: S301 - or it would not be raised over there
                return whole
        return pickle.dumps(outcome)


def _said(error: BaseException) -> str:
    try:
        text = str(error) if isinstance(error, AvisError) else f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return text[:_LONGEST_MESSAGE]


def _death(exit_code: int | None, limits: Limits) -> tuple[Kind, str]:
    if exit_code == _OUT_OF_MEMORY:
        return "memory", "wanted more memory than a worker may have, and was ended"
    if exit_code is None or exit_code >= 0:
        return "crash", f"its process died (exit code {exit_code})"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if name == "SIGXCPU":
        return "timeout", f"took more than {limits.cpu_s or 0:g} s of processor time and was ended"
    if name == "SIGKILL":
        return "killed", f"its process was killed ({name}), perhaps since the machine is out of memory"
    return "crash", f"its process died ({name})"
