"""`python -m pipelines.servers.start NAME`: become one of the servers; what supervisor starts."""

import os
import sys
from pathlib import Path

from components.core.run.process import end_with_parent
from components.core.text.terminal import guard_terminal
from pipelines.servers.services import services
from pipelines.servers.setup import setup_of


def main(name: str) -> None:
    """Take the place of this process; without a supervisor to start it again it ends, too."""
    root = Path.cwd()
    setup = setup_of(root)
    service = next(one for one in services(root, setup) if one.name == name)
    end_with_parent(service.orphaned)
    os.execve(service.command[0], service.command, {**os.environ, **service.environment})  # noqa: S606 (no shell)


if __name__ == "__main__":
    guard_terminal()
    main(sys.argv[1])
