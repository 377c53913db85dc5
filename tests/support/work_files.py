"""Where the large files lie that a process works with and nobody is to keep."""

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def record_work_folders(monkeypatch: pytest.MonkeyPatch, *in_memory: tuple[ModuleType, str]) -> list[Path]:
    """The folders of all nameless files that are made from now on, which fills as they are made.

    Args:
        in_memory: (module, constant) of how many bytes stay in memory: none from now on.
    """
    folders: list[Path] = []
    make_file = tempfile.TemporaryFile

    def make(*positional: Any, dir: str | Path | None = None, **named: Any) -> Any:
        folders.append(Path(dir or tempfile.gettempdir()))
        return make_file(*positional, dir=dir, **named)

    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    for module, constant in in_memory:
        monkeypatch.setattr(module, constant, 1)
    return folders
