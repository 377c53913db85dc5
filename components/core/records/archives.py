"""Zip archives of annotations or results, unpacked so that nothing lands outside, and no more than fits."""

import errno
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from components.core.run.errors import AvisError
from components.core.run.files import scratch_folder

MOST_FILES = 300_000
MOST_BYTES = 8 * 2**30  # of all files together, unpacked
_FREE_BYTES = 64 * 2**20  # that an archive of any size may hold
_MOST_RATIO = 100  # of what is beyond them to the archive's size; what tools export has 5 to 30
_DEEPEST = 32  # folders in folders
_FREE_FOLDERS = 1000  # beside one for each entry
_ENDINGS = (".json", ".xml", ".png", ".txt", ".ini", ".eaf")
_PICTURES = {"images", "JPEGImages", "JPEGImages_24fps"}  # of the videos: nothing to import, and large


def is_zip(path: Path) -> bool:
    """Whether a file begins as zip archives do."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def unpacked(path: Path, place: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder with what an archive holds of annotations; place: as of `scratch_folder`.

    Raises:
        AvisError: the archive is broken, encrypted, too large, or an entry would land outside the folder.
    """
    with scratch_folder(place) as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, folder, str(path))
        except AvisError:
            raise
        except Exception as error:  # of zlib, bz2, lzma, zipfile: each has its own
            if isinstance(error, OSError) and error.errno not in (None, errno.EEXIST):
                raise
            raise AvisError(
                f"The archive cannot be read: {error}", where=str(path), fix="Export it again."
            ) from error
        yield folder


def write_zip(path: Path, content: Path) -> None:
    """Pack a folder's files into `path`, in order and with no times: equal files give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in content.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(content).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)


def _unpack(archive: zipfile.ZipFile, folder: Path, where: str) -> None:
    entries = archive.infolist()
    declared = sum(entry.file_size for entry in entries)
    most = min(MOST_BYTES, _FREE_BYTES + _MOST_RATIO * Path(where).stat().st_size)
    if len(entries) > MOST_FILES or declared > most:
        raise AvisError(
            f"The archive is refused: {len(entries)} files of {declared / 2**20:,.1f} MiB together, at most "
            f"{MOST_FILES} and {most / 2**20:,.0f} MiB are unpacked of one of its size",
            where=where,
            fix="Is this an export? Then unpack it yourself and name the folder.",
        )
    folders: set[PurePosixPath] = set()
    for entry in entries:
        _refuse_escape(entry, where)
        folders.update(PurePosixPath(entry.filename).parents)
        if len(folders) > _FREE_FOLDERS + len(entries):
            raise AvisError(
                f"The archive is refused: its {len(entries)} files lie in {len(folders) - 1} folders or more",
                where=where,
                fix="Is this an export? Then unpack it yourself and name the folder.",
            )
    left = most
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if entry.is_dir() or name.suffix.lower() not in _ENDINGS or _PICTURES & set(name.parts[:-1]):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as file:
            while chunk := source.read(1 << 20):
                left -= len(chunk)
                if left < 0:  # the sizes that it declares are false
                    raise AvisError(
                        f"The archive is refused: it holds more than {most / 2**20:,.0f} MiB",
                        where=where,
                        fix="Do not trust where this file came from.",
                    )
                file.write(chunk)


def _refuse_escape(entry: zipfile.ZipInfo, where: str) -> None:
    name = entry.filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    problem = None
    if name.startswith(("/", "\\")) or ":" in name.split("/")[0] or "\\" in name:
        problem = "is no relative path"
    elif name.count("/") > _DEEPEST:
        problem = f"lies in more than {_DEEPEST} folders"
    elif ".." in PurePosixPath(name).parts:
        problem = "leads out of it"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link or a device"
    elif entry.flag_bits & 1:
        problem = "is encrypted"
    if problem is not None:
        raise AvisError(
            f"The archive is refused: its entry {name[:160]!r} {problem}",
            where=where,
            fix="Export it again; do not trust where this file came from.",
        )
