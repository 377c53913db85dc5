"""git as a child process: one message when it refuses."""

import os
import signal
import subprocess
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.text.redaction import secrets_of

_LIMIT_S = 600.0
_NAME, _MAIL = "AVIS pipeline", "avis@localhost"


def git(folder: Path, *arguments: str, where: str | None = None, fix: str | None = None) -> str:
    """Run git in a folder and return the text it prints, as `git_bytes`."""
    out = git_bytes(folder, *arguments, where=where, fix=fix)
    return out.decode(errors="replace").strip()


def git_bytes(folder: Path, *arguments: str, where: str | None = None, fix: str | None = None) -> bytes:
    """Run git in a folder and return what it prints.

    Args:
        folder: where it runs.
        arguments: of git, none of them read by a shell.
        where, fix: of the message when git refuses.

    Raises:
        AvisError: git is missing, refuses, or takes over ten minutes.
    """
    # Nobody is there to type a password, to write into an editor, or to unlock a key.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true"}
    unsigned = ["-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"]
    try:
        child = subprocess.Popen(
            ["git", *unsigned, *arguments],  # noqa: S607 (git of the user's PATH)
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise AvisError("git is not installed", fix="Install git.") from None
    command = next(word for word in arguments if not word.startswith("-") and "=" not in word)
    try:
        with child:
            out, err = child.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise AvisError(f"git {command} did not end within {_LIMIT_S:.0f} s", where=where) from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)  # with what it started: an ssh, a hook
    if child.returncode:
        said = err.decode(errors="replace").strip().splitlines()
        told = [line.strip() for line in said if line.startswith(("fatal:", "error:", " ! "))] or said
        reason = told[0] if told else f"ended with {child.returncode}"
        raise AvisError(f"git {command}: {reason}", where=where or str(folder), fix=fix)
    return out


IN_MANIFEST = "Write it into the manifest yourself, if whoever reads the repository may know it."
_ASK = "Let git ask a credential helper, or the program in the environment variable GIT_ASKPASS."


def refuse_password(address: str | None, fix: str = _ASK) -> str | None:
    """Return an address, of a repository or a video, if it may be a parameter of a flow: Prefect keeps those.

    Raises:
        AvisError: it holds a password or a key.
    """
    if address and secrets_of(address):
        what = "the address holds a password or a key, and Prefect would keep it with the run"
        raise AvisError(what, where=address, fix=fix)
    return address


def identity(folder: Path) -> list[str]:
    """Options that name a committer where git knows none, as on a fresh worker."""
    try:
        git(folder, "var", "GIT_COMMITTER_IDENT")
    except AvisError:
        return ["-c", f"user.name={_NAME}", "-c", f"user.email={_MAIL}"]
    return []
