"""Which code and which data: git commit, DVC hashes."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("dvc.lock")
_DIFFERENCE_BYTES = 200_000
# What decides a result beside the data, whose hashes are in dvc.lock. A log or a note beside it does not.
_CODE = ("--", "components", "models", "pipelines", "params", "params.yaml", "dvc.yaml", "requirements.txt")


@dataclass(frozen=True)
class DataVersion:
    """The DVC hash of some data (at most 36 characters) and what it is the hash of."""

    digest: str
    source: dict[str, Any]


def code_version() -> dict[str, str]:
    """Tags that say which code runs: commit, whether it has uncommitted changes, md5 of dvc.lock."""
    tags = {}
    commit = _git("rev-parse", "HEAD").strip()
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["git.dirty"] = str(bool(_git("status", "--porcelain", *_CODE).strip())).lower()
    if LOCK.is_file():
        tags["dvc.lock.md5"] = file_md5(LOCK)
    return tags


def uncommitted_changes() -> str:
    """Return the difference between the commit and the code's tree (cut at 200 kB), empty if there is none.

    Files that git does not know yet are in it as new ones.
    """
    difference = _git("diff", "HEAD", *_CODE)
    for name in _git("ls-files", "-z", "--others", "--exclude-standard", *_CODE).split("\0")[:-1]:
        if len(difference) >= _DIFFERENCE_BYTES:
            break
        difference += _git("diff", "--no-index", "--", os.devnull, name, differs=True)
    return difference[:_DIFFERENCE_BYTES]


def data_version(path: Path) -> DataVersion:
    """Return the version of a file or folder as DVC knows it.

    A file is hashed as DVC does it. A folder's hash is read from dvc.lock: its own, that of the output it is
    in, or, for a folder of several outputs, one over theirs.
    """
    name = Path(os.path.relpath(path)).as_posix()
    if path.is_file():
        return DataVersion(file_md5(path), {"path": name, "size_bytes": path.stat().st_size})
    entries = dict(_locked_entries())
    for candidate in (name, *(parent.as_posix() for parent in Path(name).parents)):
        if candidate in entries:
            entry = entries[candidate]
            return DataVersion(str(entry["md5"]), {"path": name, "dvc": entry})
    inside = {key: entry for key, entry in entries.items() if key.startswith(f"{name}/")}
    if inside:
        lines = "".join(f"{entry['md5']}  {key}\n" for key, entry in sorted(inside.items()))
        digest = hashlib.md5(lines.encode(), usedforsecurity=False).hexdigest()
        return DataVersion(digest, {"path": name, "dvc": sorted(inside)})
    return DataVersion("unversioned", {"path": name})


def file_md5(path: Path) -> str:
    """Return the MD5 of a file's bytes, which is its hash in DVC."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _locked_entries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Dependencies and outputs of dvc.lock by path; outputs come last, so that they win in a dict."""
    try:
        document = yaml.load(LOCK.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        stages = list(document["stages"].values())
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return  # no dvc.lock, or a stage beside us is just writing it
    for kind in ("deps", "outs"):
        for stage in stages:
            for entry in stage.get(kind, []):
                if "md5" in entry:
                    yield (
                        entry["path"],
                        {key: entry[key] for key in ("path", "md5", "size", "nfiles") if key in entry},
                    )


def _git(*arguments: str, differs: bool = False) -> str:
    """Return what git prints; differs: it ends with 1 because two files differ."""
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 (git of the user's PATH)
            capture_output=True,
            timeout=20,
            check=not differs,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, or no repository: a download of the code
    return done.stdout.decode(errors="replace")
