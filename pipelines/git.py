"""git as a child process: one message when it refuses."""

import os
import re
import subprocess
from pathlib import Path

from components.core.errors import AvisError

_LIMIT_S = 600.0
_NAME, _MAIL = "AVIS pipeline", "avis@localhost"


def git(folder: Path, *arguments: str, where: str | None = None, fix: str | None = None) -> str:
    """Run git in a folder and return what it prints.

    Args:
        folder: where it runs.
        arguments: of git, none of them read by a shell.
        where, fix: of the message when git refuses.

    Raises:
        AvisError: git is missing, refuses, or takes over ten minutes.
    """
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # nobody is there to type a password
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 (git of the user's PATH)
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_S,
            check=True,
        )
    except FileNotFoundError:
        raise AvisError("git is not installed", fix="Install git.") from None
    except subprocess.TimeoutExpired:
        raise AvisError(f"git {arguments[0]} did not end within {_LIMIT_S:.0f} s", where=where) from None
    except subprocess.CalledProcessError as error:
        said = without_passwords(error.stderr.decode(errors="replace")).strip().splitlines()
        told = [line for line in said if line.startswith(("fatal:", "error:"))] or said
        reason = told[0] if told else f"ended with {error.returncode}"
        raise AvisError(f"git {arguments[0]}: {reason}", where=where or str(folder), fix=fix) from None
    return done.stdout.decode(errors="replace").strip()


def without_passwords(text: str) -> str:
    """Return a text whose addresses tell no user and no password."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def identity(folder: Path) -> list[str]:
    """Options that name a committer where git knows none, as on a fresh worker."""
    try:
        git(folder, "var", "GIT_COMMITTER_IDENT")
    except AvisError:
        return ["-c", f"user.name={_NAME}", "-c", f"user.email={_MAIL}"]
    return []
