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
    def commit(text: str) -> None:
        (root / "code.py").write_text(text)
        git(root, "add", "code.py")
        git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", text)

    states = set(commits_to_read(root))
    assert states == {git(root, "rev-parse", branch) for branch in ("first", "second")}
    commit("1")
    commit("2")
    assert set(commits_to_read(root)) == states
    git(root, "update-ref", "refs/exps/one", "first")  # where `dvc exp` keeps its commits
    git(root, "branch", "--quiet", "--delete", "--force", "first")
    assert set(commits_to_read(root)) == states
    git(root, "update-ref", "-d", "refs/exps/one")
    assert len(commits_to_read(root)) == 2  # second was made on top of first


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
