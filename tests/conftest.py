"""Tests record nothing in MLflow unless they say where: starting it takes seconds."""

import os
import sys

import pytest

os.environ["MLFLOW_TRACKING_URI"] = "none"
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def without_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp's stand-ins for absent packages raise when torch's compiler looks through all modules.

    Only a process with both meets that: the tests.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "yt_dlp"]:
        monkeypatch.delitem(sys.modules, name)
