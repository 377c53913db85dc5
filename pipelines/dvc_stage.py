"""`python -m pipelines.dvc_stage NAME`: `dvc repro` of one stage, in a process that ends with its parent."""

import sys

from components.core.stage import disable_telemetry, end_with_parent


def main(name: str) -> int:
    """Bring one stage up to date and nothing else; returns dvc's exit code."""
    disable_telemetry()
    end_with_parent()
    from dvc.cli import main as dvc

    # The flag stands before the subcommand; without it siblings fail on the lock instead of waiting for it.
    return int(dvc(["--wait-for-lock", "repro", "--single-item", name]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
