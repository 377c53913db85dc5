"""PostgreSQL in a folder of the checkout: Debian's programs, or those of a package."""

import os
import shutil
import subprocess
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from pipelines.servers.setup import FOLDER, Setup

DATABASES = ("mlflow", "prefect")
_DEBIAN = Path("/usr/lib/postgresql")
_LIMIT_S = 300


def programs() -> Path:
    """Return the folder of PostgreSQL's programs: those of the PATH, or the newest of Debian's.

    Raises:
        AvisError: there are none.
    """
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not versions:
        raise AvisError(
            "PostgreSQL is not installed",
            fix="Debian, Ubuntu: apt install postgresql. Or: avis up --no-postgres.",
        )
    return versions[-1].parent


def make_databases(root: Path, setup: Setup) -> None:
    """Make the cluster with its two databases, once; an unfinished one is made anew.

    Raises:
        AvisError: this is root, or PostgreSQL refuses.
    """
    folder = root / FOLDER / "postgres"
    made_by = programs()
    if folder.exists():
        _refuse_other_version(folder, made_by)
        return
    if os.geteuid() == 0:
        raise AvisError(
            "PostgreSQL does not run as root",
            fix="Run avis up as another user, or with --no-postgres.",
        )
    unfinished, password = folder.with_name("postgres.tmp"), folder.with_name("password.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_text(password, setup.password)
    try:
        _run(
            [
                *(str(made_by / "initdb"), "-D", str(unfinished), "--username=avis", f"--pwfile={password}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
            ]
        )
        for name in DATABASES:
            single = [str(made_by / "postgres"), "--single", "-D", str(unfinished), "postgres"]
            _run(single, f"CREATE DATABASE {name}\n")
    finally:
        password.unlink()
    unfinished.rename(folder)


def _refuse_other_version(folder: Path, made_by: Path) -> None:
    of_data = (folder / "PG_VERSION").read_text(encoding="utf-8").strip()
    said = _run([str(made_by / "postgres"), "--version"])
    here = next(word for word in said.split() if word[0].isdigit())
    if here.split(".")[0] != of_data:
        raise AvisError(
            f"its files are of PostgreSQL {of_data}, and {here} is installed",
            where=str(folder),
            fix=f"Install postgresql-{of_data} and put its programs first in PATH. Or move the folder away: a"
            " new database is made.",
        )


def _run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise AvisError(f"PostgreSQL refuses: {said[-1] if said else done.returncode}", where=command[0])
    return done.stdout
