"""DVC inside this process."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def open_repo(root: Path, *, wait_for_lock: bool = False) -> Iterator[Any]:
    """Open a repository of DVC (a dvc.repo.Repo) at its root.

    What DVC would write to the terminal is left out: it is meant for its own command, and where the terminal
    is a task log its handler fails and takes the flow with it.
    """
    from dvc.repo import Repo

    log = logging.getLogger("dvc")
    log.handlers[:] = [logging.NullHandler()]
    log.propagate = False
    with Repo(os.fspath(root), _wait_for_lock=wait_for_lock) as repo:
        yield repo
