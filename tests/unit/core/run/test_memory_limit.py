"""A limit of memory under which the libraries hang or crash while they are loaded is said first."""

import resource
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("limit", "letter"), [(resource.RLIMIT_DATA, "d"), (resource.RLIMIT_AS, "v")])
def test_too_low_a_limit_is_a_message(limit: int, letter: str) -> None:
    set_limit = f"import resource; resource.setrlimit({limit}, (300 << 20, 300 << 20))"
    command = [sys.executable, "-c", f"{set_limit}\nimport components.sample.stage"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"This process may take 300 MB of memory (ulimit -{letter}), and the ")
