"""Tests record nothing in MLflow unless they say where: starting it takes seconds."""

import os
import sys

import pytest

os.environ["MLFLOW_TRACKING_URI"] = "none"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share their fixtures, so they stay in one of the processes that `make test` starts.

    Those that start Ray stay in one together: two clusters of one machine get in each other's way.
    """
    for item in items:
        name = item.path.name
        ray = "ray" in name or name == "test_engine.py"
        item.add_marker(pytest.mark.xdist_group("ray" if ray else str(item.path)))


@pytest.fixture
def without_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp's stand-ins for absent packages raise when torch's compiler looks through all modules.

    Only a process with both meets that: the tests.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "yt_dlp"]:
        monkeypatch.delitem(sys.modules, name)
