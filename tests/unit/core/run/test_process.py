import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.run.process import imports_unwatched

ROOT = Path(__file__).parents[4]
HEAD = """
import errno, os, sys, time
from pathlib import Path
from components.core.run.errors import AvisError
from components.core.run.files import replace_file
from components.core.run.process import run_stage
"""


def start(
    body: str, *, head: str = HEAD, stdin: int | None = None, **environment: str
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", f"{head}\ndef work():\n    {body}\nrun_stage('demo', work)\n"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("pass", 0, ""),
        (
            "raise AvisError('none', where='a.csv, row 2', fix='Add one.')",
            1,
            "demo: none (a.csv, row 2). Add one.\n",
        ),
        ("raise AvisError('S3 is away', passing=True)", 75, "demo: S3 is away.\n"),
        ("raise OSError(errno.ENOSPC, 'No space left', 'x.mp4')", 1, "demo: No space left (x.mp4).\n"),
        (
            "raise NotADirectoryError(errno.ENOTDIR, 'Not a folder', 'data')",
            1,
            "demo: Not a folder (data).\n",
        ),
        ("bytearray(1 << 60)", 75, "demo: this machine's memory is full. Free some, and run it again.\n"),
        (
            'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: 9 bytes")',
            75,
            "demo: this machine's memory is full. Free some, and run it again.\n",
        ),
        ("raise KeyboardInterrupt", 130, "demo: stopped.\n"),
    ],
)
def test_how_a_stage_ends(body: str, code: int, message: str) -> None:
    stage = start(body)
    assert stage.communicate(timeout=600)[1] == message
    assert stage.returncode == code


def test_a_bug_keeps_its_traceback() -> None:
    stage = start("raise ValueError('bug')")
    assert "Traceback" in stage.communicate(timeout=600)[1]


def test_a_terminated_stage_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    stage = start(
        f"with replace_file(Path({path!r})) as t: t.touch(); print('go', flush=True); time.sleep(60)"
    )
    assert stage.stdout is not None
    assert stage.stdout.readline() == "go\n"
    assert len(list(tmp_path.iterdir())) == 1
    stage.send_signal(signal.SIGTERM)
    stage.communicate(timeout=600)
    assert stage.returncode == 143
    assert list(tmp_path.iterdir()) == []


def test_a_stage_of_dvc_dies_with_it(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    body = "print(os.getpid(), flush=True); time.sleep(60)"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])",
            f"{HEAD}\ndef work():\n    {body}\nrun_stage('demo', work)\n",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "demo"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    stage = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([stage], timeout=600)
    assert alive == []


def test_two_runs_of_one_stage_in_a_checkout_are_not_at_work_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    first = start("print('begun', flush=True); sys.stdin.readline()", stdin=subprocess.PIPE)
    assert first.stdout is not None and first.stdout.readline() == "begun\n"
    no_patience = "; from components.core.run import process; process._ENDING_S = 0\n"
    second = start("print('never')", head=HEAD.rstrip() + no_patience)
    said, message = second.communicate(timeout=600)
    assert second.returncode == 1 and said == ""
    assert (
        message
        == "demo: another run of this stage is at work (.dvc/tmp/avis-demo.lock). Wait until it has ended.\n"
    )
    waits = start("print('after it')")
    first.communicate("\n", timeout=600)
    assert waits.communicate(timeout=600) == ("after it\n", "") and waits.returncode == 0


def test_the_collector_is_at_work_again_after_imports() -> None:
    gc.unfreeze()
    with pytest.raises(ImportError), imports_unwatched():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and gc.get_freeze_count() > 0
    gc.unfreeze()
