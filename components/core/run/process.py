"""How a stage runs as a process: quiet libraries, one message on errors, no orphans."""

import ctypes
import errno
import fcntl
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from components.core.run.errors import AvisError, is_out_of_memory
from components.core.text.terminal import guard_terminal

NO_TELEMETRY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DVC_NO_ANALYTICS": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
# How long the threads of OpenMP (torch has GNU's) spin at a barrier before they sleep, in turns of a loop;
# its default is 300000. Chosen by benchmarks/results/shared-machine-2026-11-29-cpu.md.
BRIEF_SPIN = {"GOMP_SPINCOUNT": "10000"}
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_ENDING_S = 20.0
FAILED_FOR_NOW = 75  # EX_TEMPFAIL of sysexits.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Waits until one of two processes ends, and ends the second.
_WATCH = """
import select, signal, sys
us, process = map(int, sys.argv[1:])
select.select([us, process], [], [])
for number in (signal.SIGTERM, signal.SIGKILL):
    if not select.select([process], [], [], 0)[0]:
        signal.pidfd_send_signal(process, number)
        select.select([process], [], [], 5)
"""
_USER_CAN_FIX = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}


def disable_telemetry() -> None:
    """Tell the libraries not to report usage to their makers, unless the user has set otherwise."""
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def spin_briefly() -> None:
    """Let this process and its children leave a core soon when they wait, unless the user has set otherwise.

    Beside other work a thread that spins keeps from its core the very thread that it waits for. To be called
    before torch is loaded: libgomp reads this once.
    """
    if not any(name in os.environ for name in SPIN_VARIABLES):
        os.environ.update(BRIEF_SPIN)


@contextmanager
def imports_unwatched() -> Iterator[None]:
    """Around imports of torch: Python's collector, which finds nothing there, takes a tenth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # modules stay: neither a later look nor the end of Python goes through them again
        gc.enable()


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel (Linux) to send this process a signal when its parent dies."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # the parent died before the kernel knew
        os.kill(os.getpid(), number)


def end_with_us(process: subprocess.Popen[bytes]) -> None:
    """Let a process that we started, and whose code is not ours, end within seconds of this one (Linux).

    Other than with `end_with_parent` it may be started in a thread that ends before this process does. The
    two are watched by descriptors, so that no other process is ended whose number was theirs.
    """
    if not sys.platform.startswith("linux"):
        return
    watched = os.pidfd_open(os.getpid()), os.pidfd_open(process.pid)
    try:
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, *map(str, watched)],
            pass_fds=watched, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        for descriptor in watched:
            os.close(descriptor)


def end_cleanly_on_terminate() -> None:
    """Let SIGTERM run `finally`, unlike its default action: no temporary file stays."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def run_stage(name: str, function: Callable[[], object], *, variant: str = "") -> None:
    """Run a stage's function as the body of its process.

    Args:
        name: the stage's name, put before the message of an error.
        function: does the work; raises AvisError for what the user can mend.
        variant: of which it is; two runs of one stage for one variant are not at work at the same time.

    Raises:
        SystemExit: 1 after an AvisError (its message on stderr), 75 if its reason may pass
            or memory is full, 130 after Ctrl-C,
            143 after SIGTERM.
    """
    guard_terminal()
    disable_telemetry()
    spin_briefly()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # what it warns of, the stage says itself
    end_cleanly_on_terminate()
    if "DVC_STAGE" in os.environ:  # started by hand, a stage may outlive its shell (nohup)
        end_with_parent()
    try:
        if "DVC_STAGE" in os.environ:  # part of a run of hours: every mistake is said before the first stage
            # here: `avis` imports this module, and pydantic would take longer than `avis --help`
            from components.core.run.checked_params import require_checked_params

            require_checked_params(os.environ["DVC_STAGE"])
        with _alone(f"{name}-{variant}" if variant else name):
            function()
    except AvisError as error:
        _fail(f"{name}: {error}", FAILED_FOR_NOW if error.passing else 1)
    except OSError as error:
        message = said_to_user(error)
        if message is None:
            raise
        _fail(f"{name}: {message}")
    except (MemoryError, RuntimeError) as error:  # the latter of torch and OpenCV
        if not is_out_of_memory(error):
            raise
        _fail(f"{name}: this machine's memory is full. Free some, and run it again.", FAILED_FOR_NOW)
    except KeyboardInterrupt:
        print(f"{name}: stopped.", file=sys.stderr)
        raise SystemExit(130) from None


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Refuse a second run in this checkout; one that was killed may take a moment to end."""
    folder = Path(".dvc") / "tmp"
    if "RANK" in os.environ or not os.access(folder, os.W_OK):  # one of several processes of a training
        yield
        return
    with (folder / f"avis-{name}.lock").open("a") as lock:
        deadline_s = time.monotonic() + _ENDING_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise AvisError(
                        "another run of this stage is at work",
                        where=lock.name,
                        fix="Wait until it has ended.",
                    ) from None
            time.sleep(0.1)
        yield


def said_to_user(error: OSError) -> str | None:
    """What the user can mend about this machine (disk, permissions, names), None if it is our mistake."""
    if error.errno not in _USER_CAN_FIX:
        return None
    return f"{error.strerror} ({error.filename or 'while writing'})."


def _fail(message: str, code: int = 1) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code) from None
