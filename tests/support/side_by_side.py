"""Tests in several processes, forked from the one that has collected them: everything is imported once.

Each process takes the next group (a file of tests, or a package of them that share a server) when it is free.
What the tests came to is told to the first process, which reports as if it had run them all.
"""

import array
import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
from _pytest.capture import CaptureManager

from components.core.run.process import end_with_parent

Groups = Sequence[Sequence[pytest.Item]]
Location = tuple[str, int | None, str]


@dataclass(frozen=True)
class _Took:
    """What a file of tests took, in seconds; not what servers and zygotes did for it."""

    file: str
    began_s: float
    ended_s: float
    user_s: float
    system_s: float


def run_side_by_side(session: pytest.Session, groups: Groups, count: int) -> None:
    """Run all groups in `count` processes; in those that were forked this returns when none is left.

    Raises:
        session.Failed: when so many failed as were asked to be the most (`-x`, `--maxfail`).
    """
    pending, fill = os.pipe()  # a record is read by one of the readers
    os.write(fill, array.array("H", range(len(groups))).tobytes())
    os.close(fill)
    gc.collect()
    gc.freeze()  # what is collected stays: no process need look through it again, or copy its pages
    sys.stdout.flush()
    sys.stderr.flush()
    workers: dict[Connection, _Worker] = {}
    took: list[_Took] = []
    stopped = False
    for _ in range(min(count, len(groups))):
        here, there = Pipe(duplex=False)
        process = os.fork()
        if process == 0:
            for worker in workers:
                worker.close()
            here.close()
            _work(session, groups, pending, there)
            return
        there.close()
        workers[here] = _Worker(process, took)
    try:
        while workers:
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                try:
                    workers[connection].hear(session.config, connection.recv())
                except EOFError:
                    workers.pop(connection).end(session)
            if session.shouldfail and not stopped:
                stopped = True
                for worker in workers.values():
                    os.kill(worker.process, signal.SIGINT)
    finally:  # Ctrl-C reached them too
        for worker in workers.values():
            os.waitpid(worker.process, 0)
    _show_slowest(session, took)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)


def _show_slowest(session: pytest.Session, took: list[_Took]) -> None:
    first_s = min((one.began_s for one in took), default=0.0)
    for one in sorted(took, key=lambda one: one.began_s - one.ended_s)[
        : session.config.getoption("--slowest")
    ]:
        when = f"{one.ended_s - one.began_s:6.1f} s, begun after {one.began_s - first_s:5.1f} s"
        print(f"\n{when}, CPU {one.user_s:5.1f} + {one.system_s:5.1f} s: {one.file}", end="")


def _work(session: pytest.Session, groups: Groups, pending: int, to_first: Connection) -> None:
    """Be one of the processes: run what nobody has begun, and tell."""
    end_with_parent()
    plugins = session.config.pluginmanager
    for name in ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin"):
        plugins.unregister(name=name)
    capture: CaptureManager = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # into a file that is now everybody's
    capture.start_global_capturing()
    capture.suspend_global_capture()
    plugins.register(_Teller(session.config, to_first))
    for number in iter(lambda: os.read(pending, 2), b""):
        group = groups[int.from_bytes(number, sys.byteorder)]
        began_s, before = time.monotonic(), _cpu_s()
        # pytest must know which test follows, to keep that one's fixtures: after the last the session's.
        for item, following in zip(group, [*group[1:], session], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        user_s, system_s = (now - then for now, then in zip(_cpu_s(), before, strict=True))
        to_first.send(_Took(group[0].location[0], began_s, time.monotonic(), user_s, system_s))


def _cpu_s() -> tuple[float, float]:
    """What this process and its children have computed, of user and system."""
    used = os.times()
    return used.user + used.children_user, used.system + used.children_system


class _Teller:
    """Sends to the first process what pytest's hooks are told here: the hook's name and its arguments."""

    def __init__(self, config: pytest.Config, to_first: Connection) -> None:
        self.config, self.send = config, to_first.send

    def pytest_runtest_logstart(self, nodeid: str, location: Location) -> None:
        self.send(("pytest_runtest_logstart", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logfinish(self, nodeid: str, location: Location) -> None:
        self.send(("pytest_runtest_logfinish", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.send(("pytest_runtest_logreport", data))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Location | None
    ) -> None:
        said = warning_message  # its classes may be of a test: no other process can load them
        words = str(said.message), said.category.__name__, said.filename, said.lineno
        where = {"when": when, "nodeid": nodeid, "location": location}
        self.send(("pytest_warning_recorded", {"warning_message": words, **where}))


class _Worker:
    """What the first process knows of another: its id, and what it said since its last group was complete."""

    def __init__(self, process: int, took: list[_Took]) -> None:
        self.process, self.took = process, took
        self.failed = False
        self.said: list[tuple[str, dict[str, Any]]] = []

    def hear(self, config: pytest.Config, said: tuple[str, dict[str, Any]] | _Took | None) -> None:
        """Keep what was said; report a group as a whole, so that those of several processes do not mingle."""
        if isinstance(said, tuple):
            self.said.append(said)
            return
        if said is not None:
            self.took.append(said)
        for name, told in self.said:
            if name == "pytest_runtest_logreport":
                told = {"report": config.hook.pytest_report_from_serializable(config=config, data=told)}
                self.failed |= told["report"].failed
            elif name == "pytest_warning_recorded":
                text, category, *line = told["warning_message"]
                kind = type(category, (Warning,), {})
                told = {**told, "warning_message": warnings.WarningMessage(kind(text), kind, *line)}
                config.hook.pytest_warning_recorded.call_historic(kwargs=told)
                continue
            getattr(config.hook, name)(**told)
        self.said.clear()

    def end(self, session: pytest.Session) -> None:
        """Report what is left; a process that ended otherwise than by itself is the failure of its test."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        tests = [told for name, told in self.said if name == "pytest_runtest_logstart"]
        amid = bool(self.said)
        self.hear(session.config, None)
        if (amid or code != (pytest.ExitCode.TESTS_FAILED if self.failed else 0)) and not session.shouldfail:
            test = tests[-1] if tests else {"nodeid": "tests", "location": ("tests", None, "")}
            text = f"The process of this test ended with {code}; what follows in its file did not run."
            report = pytest.TestReport(**test, keywords={}, outcome="failed", longrepr=text, when="call")
            session.config.hook.pytest_runtest_logreport(report=report)
