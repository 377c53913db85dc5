"""What fails in one of several processes of tests fails the whole, and is told once."""

import re
import subprocess
from pathlib import Path

from tests.support.zygote import REAL_PYTHON

ROOT = Path(__file__).parents[2]
FILES = {
    "test_fails.py": """
        import warnings
        def test_before(): pass
        def test_fails(capfd):
            print("said before it failed")
            warnings.warn("one warning")
            assert 1 == 2
        def test_after(): pass
    """,
    "test_dies.py": """
        import os, signal
        def test_dies(): os.kill(os.getpid(), signal.SIGKILL)
        def test_never(): pass
    """,
    "test_leaves.py": """
        import os
        def test_leaves(): os._exit(0)
    """,
    "test_tears_down.py": """
        import pytest
        @pytest.fixture(scope="session")
        def place():
            yield
            raise ValueError("no way back")
        def test_passes(place): pass
    """,
    "test_skips.py": """
        import pytest
        def test_skips(): pytest.skip("not here")
    """,
}


def outcome(folder: Path, *names: str) -> tuple[int, str]:
    for name in names:
        (folder / name).write_text("if True:" + FILES[name])
    command = [REAL_PYTHON, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--processes=2"]
    done = subprocess.run(
        [*command, f"--rootdir={folder}", "-c", "/dev/null", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, re.sub(r" in [\d.]+s|=", "", done.stdout)


def test_a_failure_and_a_process_that_dies(tmp_path: Path) -> None:
    code, said = outcome(tmp_path, "test_fails.py", "test_dies.py", "test_skips.py")
    assert code == 1
    assert said.splitlines()[-1].strip() == "2 failed, 2 passed, 1 skipped, 1 warning", said
    assert said.count("said before it failed") == 2  # in the source, and captured
    assert "test_dies.py::test_dies" in said and "The process of this test ended with -9;" in said


def test_a_process_that_ends_as_if_all_were_well(tmp_path: Path) -> None:
    code, said = outcome(tmp_path, "test_leaves.py", "test_skips.py")
    assert code == 1
    assert said.splitlines()[-1].strip() == "1 failed, 1 skipped", said


def test_what_fails_at_the_end_of_all(tmp_path: Path) -> None:
    code, said = outcome(tmp_path, "test_tears_down.py", "test_skips.py")
    assert code == 1
    assert said.splitlines()[-1].strip() == "1 failed, 1 passed, 1 skipped", said
    assert "ValueError: no way back" in said
