"""`avis selftest` beside what is set up in a folder: a verdict for each fault, and nothing is left."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app

pytestmark = pytest.mark.integration


def test_strangers_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["selftest", "--area", "strangers"])
    assert told.exit_code == 0, told.output
    assert "4 of 4 held, 0 failed" in told.output
    assert list((tmp_path / "data").iterdir()) == []
