"""One holder of a workspace at a time, and none that is dead."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from components.core.run.errors import AvisError
from pipelines.dvc import workspace_lock
from pipelines.dvc.workspace_lock import hold_workspace

HOLDS = """
import sys, time
from pathlib import Path
from pipelines.dvc.workspace_lock import hold_workspace
with hold_workspace(Path(sys.argv[1]), purpose="rebuild", wait=False):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_holds_it_and_death_frees_it(tmp_path: Path) -> None:
    with Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        try:
            with (
                pytest.raises(AvisError, match=rf"in use by rebuild \(process {other.pid} on .*, since 2"),
                hold_workspace(tmp_path, purpose="retrain", wait=False),
            ):
                pass
        finally:
            other.send_signal(signal.SIGKILL)
    with hold_workspace(tmp_path, purpose="retrain", wait=False):
        assert str(os.getpid()) in (tmp_path / ".dvc/tmp/avis.lock").read_text()
    assert (tmp_path / ".dvc/tmp/avis.lock").read_text() == ""


def test_a_child_of_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    with hold_workspace(tmp_path, purpose="rebuild", wait=False):
        sleeper = Popen(["sleep", "30"], close_fds=False)
    try:
        with hold_workspace(tmp_path, purpose="rebuild", wait=False):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_waiting_ends_when_the_holder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_lock, "POLL_S", 0.05)
    order: list[str] = []

    def second() -> None:
        with hold_workspace(tmp_path, purpose="retrain", wait=True):
            order.append("second")

    with hold_workspace(tmp_path, purpose="rebuild", wait=False):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
