"""Whose files lie in a stage's output folder? What a stage did not write there it must not remove."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.errors import AvisError
from components.core.run.lineage import data_version, file_md5

if TYPE_CHECKING:
    import pyarrow

_OUR_COLUMNS = frozenset({"video_id", "status", "fingerprint"})  # of every version of our indexes


def refuse_foreign_files(folder: Path, index: Path, journal: Path, *, stage: str) -> None:
    """Refuse a folder that holds files but neither an index nor a journal of ours.

    Hidden files (of the desktop, of an unfinished run) do not count, nor do empty folders.

    Args:
        folder: the output folder of a stage, which removes from it what it does not know.
        index, journal: where the stage keeps its own.
        stage: its name, for the message.

    Raises:
        AvisError: somebody else's files lie there.
    """
    if not folder.is_dir() or journal.is_file() or _is_our_index(index):
        return
    if index.is_file():
        raise AvisError(
            "the index is damaged, and what lies beside it cannot be told without it",
            where=str(index),
            fix=f"`dvc checkout --force {folder}` brings back what DVC holds; else remove the folder.",
        )
    first = _first_file(folder)
    if first is not None:
        raise AvisError(
            f"the output folder of {stage} holds files that it did not write, such as {first.name!r}",
            where=str(folder),
            fix="It would remove them: move them elsewhere. Are they in no use? Then remove the folder.",
        )


@contextmanager
def alone_in(folder: Path, stage: str) -> Iterator[None]:
    """Hold a folder; a second run of the stage, which would remove what the first is writing, is refused.

    Raises:
        AvisError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)  # children do not inherit it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AvisError(
            f"another run of {stage} is at work there", where=str(folder), fix="Wait until it has ended."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def refuse_other_downloads(folder: Path, index: Path, known: pyarrow.Table) -> None:
    """Refuse to throw away the downloads of another manifest that are nowhere else.

    Call it when none of the known videos is wanted. DVC's cache may hold the folder as it is: then
    `dvc checkout` brings it back, and nothing is lost.

    Args:
        folder: data/raw.
        index: its index.
        known: rows of the index and of an unfinished run; files of this machine have no time.

    Raises:
        AvisError: with what to do.
    """
    import pyarrow.compute

    ok = pyarrow.compute.equal(known.column("status"), "ok")
    found = known.filter(pyarrow.compute.and_(ok, pyarrow.compute.is_valid(known.column("time"))))
    if not len(found) or _is_in_dvc_cache(folder, index):
        return
    first = found.column("video_id")[0].as_py()
    raise AvisError(
        f"the folder holds {len(found)} downloaded videos, such as {first!r}, and none of its"
        " videos is in the manifest: they belong to another dataset",
        where=str(folder),
        fix="Name the right manifest (ingest.manifest). To change the dataset, move the folder elsewhere to"
        " keep the downloads, or remove it.",
    )


def _is_our_index(index: Path) -> bool:
    import pyarrow
    import pyarrow.parquet

    try:
        return set(pyarrow.parquet.read_schema(index).names) >= _OUR_COLUMNS
    except (pyarrow.ArrowException, OSError):
        return False


def _first_file(folder: Path) -> Path | None:
    return next((path for path in _files(folder) if not path.name.startswith(".")), None)


def _files(folder: Path) -> Iterable[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            yield Path(place, name)


def _is_in_dvc_cache(folder: Path, index: Path) -> bool:
    """Whether the version of `folder` that dvc.lock names is in DVC's cache, with this very index."""
    version = data_version(folder).digest
    if not version.endswith(".dir") or not index.is_file():
        return False
    try:
        from dvc.repo import Repo

        with Repo() as repo:
            cache = Path(repo.cache.local.path)
    except Exception:  # no repository of DVC here, or it cannot be read
        return False
    try:
        listed = json.loads((cache / version[:2] / version[2:]).read_bytes())
        md5 = next(entry["md5"] for entry in listed if entry["relpath"] == index.name)
        held = stat.S_ISREG((cache / md5[:2] / md5[2:]).stat().st_mode)
    except (OSError, ValueError, TypeError, KeyError, StopIteration):
        return False
    return held and str(md5) == file_md5(index)
