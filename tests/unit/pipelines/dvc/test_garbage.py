"""Of a repository with data of two commits, of a checkout and of neither, only the last may go."""

from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.run.git import git
from pipelines.commands.data.gc import gc
from pipelines.dvc.garbage import commits_to_read, unused_objects


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    data = tmp_path / "data" / "clip.txt"
    data.parent.mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("tracking: {uri: none}\n")
    with Repo.init(str(tmp_path)) as repo:
        for text in ("first", "second", "never committed", "in the checkout"):
            data.write_text(text)
            repo.add(str(data))
            if text in ("first", "second"):
                git(tmp_path, "checkout", "--quiet", "-B", text)
                git(tmp_path, "add", "--all")
                git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", text)
    return tmp_path


def test_only_what_no_commit_and_no_checkout_needs(root: Path) -> None:
    found = unused_objects(root, [git(root, "rev-parse", "first")], [])
    assert [file.read_text() for file in found] == ["never committed"]
    md5 = found[0].parent.name + found[0].name
    assert unused_objects(root, [], [md5]) == []


def test_of_commits_that_change_no_data_none_is_read(root: Path) -> None:
    def commit(name: str, text: str) -> str:
        (root / name).write_text(text)
        git(root, "add", name)
        git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", text)
        return git(root, "rev-parse", "HEAD")

    states = set(commits_to_read(root))
    assert states == {git(root, "rev-parse", branch) for branch in ("first", "second")}
    commit("code.py", "1")
    assert set(commits_to_read(root)) == states
    usual = (root / "params.yaml").read_text()
    changed = commit("params.yaml", f"{usual}more: 1\n")
    assert set(commits_to_read(root)) == {*states, changed}
    commit("params.yaml", usual)  # as it was before, though the code is other
    assert len(commits_to_read(root)) == 3
    alone = commit("params.yaml", f"{usual}more: 2\n")
    git(root, "reset", "--quiet", "--hard", "HEAD~1")
    assert alone not in commits_to_read(root)
    git(root, "update-ref", "refs/exps/one", alone)  # where `dvc exp` keeps its commits
    assert alone in commits_to_read(root)


def test_a_version_of_which_the_commit_is_not_here(root: Path) -> None:
    with pytest.raises(AvisError, match="git fetch"):
        unused_objects(root, ["0123456789" * 4], [])
    orphan = git(root, "commit-tree", "HEAD^{tree}", "-m", "on no branch")
    with pytest.raises(AvisError, match="no branch or tag"):
        unused_objects(root, [orphan], [])


def test_it_shows_first_and_frees_when_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cached() -> set[str]:
        return {path.read_text() for path in root.glob(".dvc/cache/files/**/*") if path.is_file()}

    everything = {"first", "second", "never committed", "in the checkout"}
    gc()
    assert "1 objects of DVC's cache" in capsys.readouterr().out
    assert cached() == everything
    gc(free=True)
    assert cached() == everything - {"never committed"}
    gc()
    assert "0 objects of DVC's cache" in capsys.readouterr().out
