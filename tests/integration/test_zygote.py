"""What is forked from the zygote is as if Python had been started: files, folder, environment, end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.zygote import REAL_PYTHON

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick_python")]

TELLS = """
import multiprocessing, os, sys
print(sys.argv, os.getcwd(), os.environ["WORD"], sys.path[:2], __name__, sys.stdin.read())
print("aside", file=sys.stderr)
os.write(int(sys.argv[1]), b"by a file of its own")
sys.exit({code})
"""


def outcome(python: str, folder: Path, *words: str) -> tuple[int, str, str, bytes]:
    """How a program ends that tells what it was given: code, output, errors, and what came through a pipe."""
    read, write = os.pipe()
    environment = {**os.environ, "WORD": "told", "PYTHONPATH": str(folder / "more")}
    command = [python, *words, str(write)]
    pipes = {"input": "asked", "capture_output": True, "text": True, "pass_fds": [write]}
    done = subprocess.run(command, cwd=folder, env=environment, **pipes)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        return done.returncode, done.stdout.replace(f"'{write}'", "FILE"), done.stderr, stream.read()


@pytest.mark.parametrize("code", ["0", "3", "'a reason'", "None"])
def test_it_ends_as_a_python_of_its_own(tmp_path: Path, code: str) -> None:
    (tmp_path / "tells.py").write_text(TELLS.format(code=code))
    for words in (["-m", "tells"], ["-c", TELLS.format(code=code)], ["-u", str(tmp_path / "tells.py")]):
        wanted = outcome(REAL_PYTHON, tmp_path, *words)
        assert wanted[3] == b"by a file of its own" and "asked" in wanted[1]
        assert outcome(sys.executable, tmp_path, *words) == wanted


def test_an_exception_is_shown_and_threads_and_pools_are_waited_for(tmp_path: Path) -> None:
    pool = (
        "import multiprocessing, threading, time\n"
        "def later(): time.sleep(0.2); print('later', flush=True)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('forkserver')\n"
        "    context.set_forkserver_preload(['math'])\n"
        "    with context.Pool(2) as pool: print(pool.map(abs, [-1, 2]), flush=True)\n"
        "    threading.Thread(target=later).start()\n"
        "    raise ValueError('what went wrong')\n"
    )
    (tmp_path / "pool.py").write_text(pool)
    done = subprocess.run(
        [sys.executable, "pool.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout) == (1, "[1, 2]\nlater\n")
    assert done.stderr.rstrip().endswith("ValueError: what went wrong")


def test_libraries_are_there_and_our_own_code_is_not() -> None:
    code = "import sys; print(*(name in sys.modules for name in ('torch', 'components', 'models')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False False\n"


WAITS = """
import os, signal, sys, time
if {handled}:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "handled", "code"),
    [(signal.SIGTERM, False, -15), (signal.SIGTERM, True, 9), (signal.SIGKILL, True, -9)],
)
def test_signals_reach_it(number: signal.Signals, handled: bool, code: int) -> None:
    command = [sys.executable, "-c", WAITS.format(handled=handled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        inner = psutil.Process(int(program.stdout.readline()))
        program.send_signal(number)
        assert program.wait(300) == code
        assert psutil.wait_procs([inner], timeout=600)[1] == []
