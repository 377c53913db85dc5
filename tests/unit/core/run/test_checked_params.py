"""Stages of one run pay once for the check of params.yaml, and for what changed since."""

import errno
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.core.run import checked_params
from components.core.run.checked_params import require_checked_params
from components.core.run.errors import AvisError


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages for which a check was started. It finds no mistake, and rests on w.pth and the variable KEY."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("engine: {}\n")
    started: list[str] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append(command[-1])
        checked_params.remember(["train", "predict"], [Path("params.yaml"), Path("w.pth")], ["KEY"])
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr("subprocess.run", run)
    return started


def test_a_verdict_holds_until_something_changes(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def checks(stage: str) -> bool:
        before = len(asked)
        require_checked_params(stage)
        return len(asked) > before

    assert checks("train@a") and not checks("train@b") and not checks("predict@a")
    assert checks("extract")  # the verdict was not on its files
    Path("w.pth").touch()
    assert checks("train@a") and not checks("train@a")
    monkeypatch.setenv("KEY", "what-nobody-may-read")
    assert checks("train@a") and not checks("train@a")
    assert "what-nobody-may-read" not in Path("data/.checked/params.json").read_text()
    Path("params.yaml").write_text("engine: {workers: 1}\n")
    assert checks("train@a") and not checks("train@a")
    Path("data/.checked/params.json").write_text("{")
    assert checks("train@a")
    shutil.rmtree("data")
    Path("params.yaml").unlink()  # the stage says that there is none
    assert not checks("train@a")


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("a: b (params.yaml, line 3). Do c.\n", 1, r"^a: b \(params.yaml, line 3\)\. Do c\.$"),
        ("a: b.\nc: d.\ne: f.\n", 1, r"^a: b\. Also wrong:\n  c: d\.\n  e: f\.$"),
        ("", 3, r"^the check of params.yaml ended with 3\.$"),
    ],
)
def test_mistakes_are_one_message(
    said: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    done = subprocess.CompletedProcess([], code, stdout=said)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    with pytest.raises(AvisError, match=message):
        require_checked_params("train@a")


def test_a_full_disk_costs_the_memory_of_a_check_only(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checked_params, "write_json", full)
    require_checked_params("train@a")
    require_checked_params("train@a")
    assert asked == ["train@a", "train@a"]
