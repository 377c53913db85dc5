"""A checkpoint that finds no room."""

import errno
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from components.train.checkpoint import save_checkpoint


def test_no_room_is_an_error_of_the_system_and_leaves_nothing(tmp_path: Path) -> None:
    large: Any = SimpleNamespace(weights=torch.zeros(100_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError) as ended:
            save_checkpoint(tmp_path / "c.pt", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ended.value.errno == errno.EFBIG and ended.value.filename == str(tmp_path / "c.pt")
    assert list(tmp_path.iterdir()) == []
