"""`python -m pipelines.dvc.stage NAME [--force]`: `dvc repro` of one stage, ending with its parent."""

import os
import sys
from pathlib import Path

from components.core.run.process import disable_telemetry, end_with_parent
from components.core.text.terminal import guard_terminal


def main(name: str, *options: str) -> int:
    """Bring one stage up to date and nothing else; returns dvc's exit code.

    Args:
        name: of the stage.
        options: of `dvc repro`.
    """
    guard_terminal()
    disable_telemetry()
    # Where there is no .venv (a container, say) the stage runs with the Python that runs this.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    end_with_parent()
    from dvc.cli import main as dvc

    # The flag stands before the subcommand; without it siblings fail on the lock instead of waiting for it.
    return int(dvc(["--wait-for-lock", "repro", "--single-item", *options, name]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
