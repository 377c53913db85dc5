"""DVC inside this process."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


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


def share_cache(base: Path, root: Path) -> None:
    """Give the clone the base's DVC cache, remotes and own settings (credentials are among those)."""
    from dvc.config import Config

    with open_repo(base) as repo:
        cache = str(repo.cache.local_cache_dir)
        own = Config(os.fspath(base / ".dvc")).load_one("local")
        # A folder that is written relative to the base's .dvc would be another one here.
        folders = {
            name: {"url": os.fspath(remote["url"])}
            for name, remote in repo.config["remote"].items()
            if "url" in remote and not urlsplit(str(remote["url"])).scheme
        }
    with Config(os.fspath(root / ".dvc")).edit("local") as settings:
        for section, values in own.items():
            settings[section] = {**settings.get(section, {}), **values}
        # Links instead of copies: all stages replace files, none writes into one.
        settings["cache"] = {**settings["cache"], "dir": cache, "type": "reflink,hardlink,copy"}
        for name, values in folders.items():
            settings["remote"][name] = {**settings["remote"].get(name, {}), **values}
