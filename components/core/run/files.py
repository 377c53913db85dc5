"""Files that are there completely or not at all."""

import csv
import hashlib
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError

_MARK = ".unfinished-"


def _temporary(path: Path, suffix: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent / f".{path.name[:100]}{_MARK}{secrets.token_hex(4)}{suffix}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replace_file(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and becomes `path`, else it is removed.

    Args:
        path: the file to write; its folder is made.
        suffix: end of the temporary name, for writers that read the format from it (".mp4").
    """
    temporary = _temporary(path, suffix)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `path`; on success it takes the place of `path`, else it is removed."""
    temporary = _temporary(path, "")
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _sync(file)
        if path.exists():
            old = _temporary(path, "-old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
        _sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`; raises AvisError where something lies there already."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise AvisError("There is something already", where=str(path), fix="Name a new folder.")
    with replace_folder(path) as folder:
        yield folder


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that a killed process left below `folder`.

    Call it at the start of a stage that continues in an existing folder, before any worker runs.
    """
    if not folder.is_dir():
        return
    for leftover in sorted(folder.rglob(f".*{_MARK}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link, but not what that leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_bytes(path: Path, value: bytes) -> None:
    """Write a file atomically."""
    with replace_file(path) as temporary:
        temporary.write_bytes(value)


def write_text(path: Path, value: str) -> None:
    """Write a UTF-8 file atomically; of a file name that is no UTF-8, escapes as JSON has them."""
    write_bytes(path, value.encode(errors="backslashreplace"))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a table; a column that a row lacks, or has None for, is an empty cell."""
    write_text(path, csv_text(columns, rows))


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return what `write_csv` writes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_json(path: Path, value: object, *, sort_keys: bool = True) -> None:
    """Write JSON atomically: keys sorted, floats as `repr`, so that equal values give equal bytes.

    sort_keys: False keeps their order, for files that people read from the top (`dvc exp show`).
    NumPy scalars and paths are converted; a float that is not finite becomes null, JSON has no other way.
    """
    write_text(path, json.dumps(_plain(value), indent=1, sort_keys=sort_keys, ensure_ascii=False) + "\n")


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):  # NumPy scalar or array
        return _plain(value.tolist())
    return value


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
