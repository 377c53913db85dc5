"""What a child's output becomes in the log, and that children end."""

import os
import sys
import time
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from pipelines.dvc import processes
from pipelines.dvc.processes import Children, read_lines, time_limit

SAYS = (
    "import sys, time; out = sys.stdout.buffer\n"
    "out.write('first\\r\\n'.encode()); out.flush()\n"
    "for k in range(200): out.write(f'\\rbar {k}\\x1b[A'.encode()); out.flush(); time.sleep(0.002)\n"
    "out.write('\\nlast w\\u00f6rd \\nno end'.encode()); out.flush()\n"
)


def test_lines_come_whole_and_bars_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROGRESS_EVERY_S", 0.2)
    with Children().start([sys.executable, "-c", SAYS], tmp_path) as child:
        assert child.stdout is not None
        lines = list(read_lines(child.stdout))
    bars = [line for line in lines if line.startswith("bar")]
    assert [line for line in lines if line not in bars] == ["first", "last wörd ", "no end"]
    assert 2 <= len(bars) <= 100
    assert bars[-1] == "bar 199"


def test_no_child_outlives_its_run(tmp_path: Path) -> None:
    code = (
        "import subprocess, time\nprint(subprocess.Popen(['sleep', '3000']).pid, flush=True)\n"
        "time.sleep(3000)\n"
    )
    runs = Children()
    with runs.start([sys.executable, "-c", code], tmp_path) as child:
        assert child.stdout is not None
        grandchild = int(next(read_lines(child.stdout)))
        runs.end()
        assert child.poll() is not None
    deadline = time.monotonic() + 600
    while Path(f"/proc/{grandchild}").exists() and time.monotonic() < deadline and not zombie(grandchild):
        time.sleep(0.05)
    assert not Path(f"/proc/{grandchild}").exists() or zombie(grandchild)
    with pytest.raises(AvisError, match="stopped"), runs.start(["true"], tmp_path):
        pass


def test_a_grandchild_that_ignores_the_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if pid := os.fork():\n"
        "    print(pid, flush=True); signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "time.sleep(3000)\n"
    )
    start_s = time.monotonic()
    with (
        Children().start([sys.executable, "-c", code], tmp_path) as child,
        time_limit(child, 0.5) as expired,
    ):
        assert child.stdout is not None
        lines = list(read_lines(child.stdout))
    assert time.monotonic() - start_s < 600  # it holds the pipe, too: the reader would wait for its end
    assert expired.is_set()
    assert not Path(f"/proc/{lines[0]}").exists() or zombie(int(lines[0]))


def zombie(pid: int) -> bool:
    """Ended, but its adoptive parent has not looked yet (in containers it may never)."""
    with os.popen(f"ps -o stat= -p {pid}") as out:
        return out.read().startswith("Z")
