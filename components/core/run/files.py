"""Files that are there completely or not at all, and what may be the name of one."""

import csv
import fcntl
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TextIO

from components.core.run.errors import AvisError
from components.core.text.redaction import redact_all, redactor
from components.core.text.terminal import visible

_MARK = ".unfinished-"
_SCRATCH = ".scratch-"
_FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last are wide forms, which some take, too
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_ID_WITH_DASH = re.compile(r"-[\w.-]*")  # begins so, and calls nothing: ids of YouTube


def safe_name(video_id: str) -> str:
    """Return `video_id` if it may become a file name.

    Raises:
        AvisError: if it holds anything but letters, digits, `_`, `-`, `.`, begins with a dot, holds `..`
            or is longer than 128 characters.
    """
    if not isinstance(video_id, str) or not _SAFE_NAME.fullmatch(video_id) or ".." in video_id:
        raise AvisError(
            f"video_id {str(video_id)[:160]!r} cannot be a file name",
            fix="Use 1 to 128 letters, digits, '_', '-' or '.', no leading dot and no '..'.",
        )
    return video_id


def _temporary(path: Path, suffix: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent / f".{path.name[:100]}{_MARK}{secrets.token_hex(4)}{suffix}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(error: BaseException, path: Path) -> None:
    """Name `path` in an error of the system that names no file, as that of a write that found no room."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = os.fspath(path)


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
    except BaseException as error:
        _name(error, path)
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
    except BaseException as error:
        _name(error, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`; raises AvisError where something lies there already."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise AvisError("There is something already", where=str(path), fix="Name a new folder.")
    with replace_folder(path) as folder:
        yield folder


@contextmanager
def scratch_folder(place: Path | None = None) -> Iterator[Path]:
    """Yield an empty hidden folder, removed afterwards; those that killed processes left there go first.

    Args:
        place: beside what is made from it; None: where this system has temporary files.

    Raises:
        AvisError: the folder for temporary files is somebody else's.
    """
    place = place or _own_temporary_folder()
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f"{_SCRATCH}*"):
        with suppress(OSError), hold(left):  # whoever uses it holds it, however that process ends
            shutil.rmtree(left)
    with ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=place))
            with suppress(OSError):  # another process takes it for a killed one's, before it is held
                stack.enter_context(hold(folder))
                if folder.exists():
                    break
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def is_case_sensitive(folder: Path) -> bool:
    """Whether the disk of a folder takes `a` and `A` for two files."""
    with tempfile.NamedTemporaryFile(prefix=_MARK, dir=folder) as file:
        return not Path(file.name).with_name(Path(file.name).name.upper()).exists()


def written_s(path: Path) -> float:
    """When a file was written; 0 if it is not there, or its time is to come: the clock was wrong then."""
    written = path.stat().st_mtime if path.is_file() else 0.0
    return written if written <= time.time() else 0.0


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: it is on the disk that the folder will be on."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder


@contextmanager
def hold(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep others who ask out of a folder, until the block or the process ends.

    Raises:
        BlockingIOError: another one holds it, and `wait` is false.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _own_temporary_folder() -> Path:
    home = Path(tempfile.gettempdir()) / f"avis-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    state = home.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022 or not home.is_dir() or home.is_symlink():
        raise AvisError(
            "others may write to the folder for temporary files", where=str(home), fix="Set TMPDIR."
        )
    return home


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that a killed process left below `folder`.

    Call it at the start of a stage that continues in an existing folder, before any worker runs.
    """
    for leftover in leftovers(folder):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """The temporary files and folders below a folder; none where it is not there."""
    return sorted(folder.rglob(f".*{_MARK}*")) if folder.is_dir() else []


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
    with (
        replace_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        _write_rows(file, columns, rows)


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return what `write_csv` writes: no secrets, an apostrophe before what begins like a formula."""
    text = io.StringIO()
    _write_rows(text, columns, rows)
    return text.getvalue()


def _write_rows(file: TextIO, columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> None:
    names = [*columns]
    writer = csv.DictWriter(file, names, lineterminator="\n")  # noqa: TID251 (this is the way)
    cell = lru_cache(maxsize=4096)(
        partial(_cell, hide=redactor())
    )  # the same few texts stand again and again
    writer.writerow({name: cell(name) for name in names})
    for row in rows:
        writer.writerow(
            {name: cell(value) if isinstance(value, str) else value for name, value in row.items()}
        )


def _cell(value: str, hide: Callable[[str], str]) -> str:
    """A cell that a spreadsheet takes for text if it is one."""
    text = visible(hide(value))
    if not text.startswith(_FORMULA) or _ID_WITH_DASH.fullmatch(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def write_json(path: Path, value: object, *, sort_keys: bool = True) -> None:
    """Write JSON atomically: keys sorted, floats as `repr`, so that equal values give equal bytes.

    What is secret is left out.

    sort_keys: False keeps their order, for files that people read from the top (`dvc exp show`).
    NumPy scalars and paths are converted; a float that is not finite becomes null, JSON has no other way.
    """
    write_text(
        path, json.dumps(redact_all(_plain(value)), indent=1, sort_keys=sort_keys, ensure_ascii=False) + "\n"
    )


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
