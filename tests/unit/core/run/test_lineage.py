"""Which code runs: what makes it differ from its commit, in a real git repository."""

from pathlib import Path

import pytest

from components.core.run.git import git, identity
from components.core.run.lineage import code_version, uncommitted_changes


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("README.md", "params.yaml", "dvc.yaml", "components/train/loop.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, *identity(tmp_path), "commit", "-qm", "first")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_lies_beside_the_code_makes_no_run_dirty(repository: Path) -> None:
    (repository / "README.md").write_text("new\n")
    (repository / "train.log").write_text("a log\n")
    (repository / "dvc.lock").write_text("schema: '2.0'\n")
    assert code_version()["git.dirty"] == "false"
    assert uncommitted_changes() == ""


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "components/train/loop.py", "models/new"])
def test_changed_and_new_code_parameters_and_graph_do_and_are_kept(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("new\n")
    assert code_version()["git.dirty"] == "true"
    kept = uncommitted_changes()
    assert f"+++ b/{name}" in kept and "+new" in kept
