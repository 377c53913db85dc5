"""`dvc` as a child process, with the Python that runs this."""

import os
import subprocess
import sys
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.process import NO_TELEMETRY


def dvc(root: Path, *arguments: str, fix: str | None = None) -> str:
    """Run a dvc command in a repository and return what it prints.

    Raises:
        AvisError: it refuses; with the last line that dvc says about it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env={**NO_TELEMETRY, **os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
        raise AvisError(
            f"dvc {arguments[0]}: {said[-1] if said else f'ended with {done.returncode}'}",
            where=str(root),
            fix=fix,
        )
    return done.stdout.decode(errors="replace").strip()
