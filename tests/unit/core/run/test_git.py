"""What git says and what of it is shown."""

from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.run.git import git, refuse_password


def test_a_refusal_is_one_message_and_no_editor_is_started(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"git status: fatal: not a git repository"):
        git(tmp_path, "status")
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "config", "tag.gpgSign", "true")
    named = ("-c", "user.name=t", "-c", "user.email=t@t")
    git(tmp_path, *named, "commit", "-q", "-m", "a")
    git(tmp_path, *named, "tag", "--force", "v1")
    assert git(tmp_path, "tag", "--list") == "v1"
    with pytest.raises(AvisError, match=r"git tag: fatal: tag 'v1' already exists"):
        git(tmp_path, *named, "tag", "v1")


def test_a_password_in_an_address_is_no_parameter_of_a_flow() -> None:
    assert refuse_password("ssh://git@host/x.git") == "ssh://git@host/x.git" and refuse_password(None) is None
    with pytest.raises(AvisError, match=r"GIT_ASKPASS") as error:
        refuse_password("https://me:geheim@host/x.git")
    assert "geheim" not in str(error.value)


def test_nor_is_one_in_the_address_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.commands.data.ingest import run

    monkeypatch.chdir(tmp_path)
    with pytest.raises(AvisError, match=r"Write it into the manifest yourself"):
        run(["dQw4w9WgXcQ", "https://127.0.0.1/a.mp4?X-Amz-Signature=geheim"])
