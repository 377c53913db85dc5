"""Where annotations come from: files, folders and archives; which format each is taken for, and why."""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from components.annotate.effort import Effort
from components.annotate.formats import Format, Hints, Look, Reading, find_format, formats
from components.annotate.jobs import unite_jobs
from components.annotate.parsing.folders import files_below, is_hidden
from components.annotate.parsing.label_pictures import picture_mode
from components.core.raw.index import Status, status_of
from components.core.records.annotations import AnnotationSet
from components.core.records.archives import is_zip, unpacked
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import first_keys
from components.core.records.work_file import WorkFile, count_values
from components.core.run.errors import AvisError, MachineError
from components.core.run.workers.confinement import Limits
from components.core.run.workers.worker import Outcome, Worker

HEAD_BYTES = 64 * 1024
_LEAST_CPU_S, _CPU_S_A_MB = 60.0, 10.0  # of a part's reading
_PATIENCE = 20.0  # on the clock, for what waits and does not compute; the machine may have other work
_LEAST_FILE_BYTES, _BYTES_A_MB = 256 << 20, 100e6  # of what is kept on the disk of a part
MOST_NAMES = 20_000  # of a folder, for recognising it
FILE_ENDINGS = (".json", ".xml", ".zip")
_COCO_FILE = re.compile(
    r"(instances|panoptic|stuff|image_info|person_keypoints|captions|labels)(_.*)?\.json", re.IGNORECASE
)
_NO_TEXT = (
    (b"\x1f\x8b", "packed with gzip", "Unpack it."),
    (b"\xff\xfe", "text in UTF-16", "Save it as UTF-8."),
    (b"\xfe\xff", "text in UTF-16", "Save it as UTF-8."),
)


@dataclass
class Source:
    """One file, or one folder that is a data set, and what was read from it.

    name: what it is called in messages: its path, or the archive's with the path inside.
    """

    name: str
    format: Format
    reason: str
    reading: Reading


@dataclass
class _Part:
    """A file or folder that is read in one go, and what a video is called that has no name in it."""

    path: Path
    name: str
    called: str
    left_out: Changes = field(default_factory=Changes)  # the files beside it


@dataclass
class Sources:
    """What was read of a file, an archive or a folder.

    parts: how many files it holds that were read or should have been.
    unread: those that could not be read: by name what became of them, and the error that says why.
    """

    read: list[Source]
    parts: int
    unread: dict[str, tuple[Status, AvisError]]


def read_sources(path: Path, format_name: str = "auto", **how: Any) -> list[Source]:
    """As read_all, of which nothing may be unread.

    Raises:
        AvisError: as read_all; a part cannot be read.
    """
    found = read_all(path, format_name, **how)
    for _, error in found.unread.values():
        raise error
    return found.read


def read_all(
    path: Path,
    format_name: str = "auto",
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    lengths: Mapping[str, int] | None = None,
    why_lost: Callable[[str], str | None] = lambda name: None,
    work: WorkFile | None = None,
    setting: str = "annotate.source",
) -> Sources:
    """Read a file, an archive, a folder of files, or a folder that is one data set.

    Each part is read in a process without network that may take ten seconds of processor time a MB: whatever
    a file does to it, the others are read.

    Args:
        format_name: `auto`, or the format that all of it has.
        sizes: height and width of frames by video name, for formats that do not tell them.
        lengths: how many pictures were extracted, by video name.
        why_lost: why a video has no media, by its name: a format that needs these leaves it out.
        work: where the masks lie that are read; None: in a file of each reader's own.
        setting: what named the path, for the message when it does not exist.

    Raises:
        AvisError: nothing is there, the format is unknown, the folder holds no annotations, or the machine
            has no memory or disk left.
    """
    forced = None if format_name == "auto" else find_format(format_name)
    _require_file_or_folder(path, f"Correct {setting}.")
    work = work or WorkFile()
    hints = Hints(_plain_name(path), sizes or {}, lengths or {}, why_lost, work)
    found, known = Sources([], 0, {}), formats()
    work.share()
    # A fork of this process, so that all of `hints` and the work file are there.
    read = partial(_read_part, hints=hints, forced=forced, work=work)
    reader: Worker[_Part, bytes] = Worker(read, limits=Limits(network=False), workers=1, start="fork")
    parts = [_Part(path, str(path), hints.name)]
    try:
        while parts:
            part = parts.pop(0)
            outcome = _attempt(reader, part, work)
            if outcome.kind == "ok" and outcome.value is not None:
                sources, inner = work.unpacked(outcome.value)
                found.read += [Source(name, known[form], *rest) for name, form, *rest in sources]
                found.parts += not inner
                parts[:0] = inner
            elif isinstance(outcome.raised, MachineError) or outcome.kind == "killed":
                raise outcome.raised or AvisError(outcome.message, where=part.name, passing=True)
            else:
                found.parts += 1
                found.unread[part.name] = _unread(outcome, part)
    finally:
        reader.stop(kill=True)
    found.read = _with_jobs_united(found.read, work)
    return found


def _attempt(reader: Worker[_Part, bytes], part: _Part, work: WorkFile) -> Outcome[bytes]:
    size_mb = _size_bytes(part.path) / 1e6
    cpu_s = math.ceil(_LEAST_CPU_S + _CPU_S_A_MB * size_mb)
    file_bytes = work.size_bytes + _LEAST_FILE_BYTES + int(_BYTES_A_MB * size_mb)
    limits = Limits(cpu_s=cpu_s, file_bytes=file_bytes)
    return reader.attempt(part.name, part, _PATIENCE * cpu_s, limits)


def _unread(outcome: Outcome[Any], part: _Part) -> tuple[Status, AvisError]:
    if outcome.raised is not None:
        return Status.CORRUPT, outcome.raised
    what = f"The annotations could not be read: {outcome.message}"
    fix = "Export them again, or leave the file out; if it is right, report it."
    return status_of(outcome.kind), AvisError(what, where=part.name, fix=fix)


def _size_bytes(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(path) for name in names)


def _read_part(part: _Part, *, hints: Hints, forced: Format | None, work: WorkFile) -> bytes:
    """In the reader's process: a file or archive; of a folder that is no data set itself, its parts only.

    Returns:
        The sources (name, name of the format, why it is that, what was read), and the parts, packed.
    """
    own = replace(hints, name=part.called, effort=Effort(part.path))
    pieces: Iterable[_Piece]
    parts: list[_Part] = []
    if part.path.is_dir():
        pieces, parts = _look_into(part.path, part.name, own, forced, ("", ""), deep=False)
    else:
        pieces = _walk(part, own, forced, ("", ""))
    sources = [_read(piece, forced) for piece in pieces]
    found = [(source.name, source.format.name, source.reason, source.reading) for source in sources]
    return work.packed((found, parts))


def _with_jobs_united(sources: list[Source], work: WorkFile) -> list[Source]:
    """The sources; those that have parts of one video became one, in the place of the first."""
    jobs: dict[str, list[Source]] = {}
    for source in sources:
        for name in source.reading.parts:
            jobs.setdefault(name, []).append(source)
    united: list[Source] = []
    for source in sources:
        video = next(iter(source.reading.parts), None)
        if video is None:
            united.append(source)
        elif jobs[video][0] is source:
            reading = unite_jobs(video, [(job.name, job.reading) for job in jobs[video]], work)
            called = " and ".join(job.name for job in jobs[video])
            united.append(replace(source, name=called, reading=reading))
    return united


def changes_of(sources: Sequence[Source]) -> Changes:
    """What reading changed, of all sources together; examples name the source where there are several."""
    changes = Changes()
    for source in sources:
        changes.extend(source.reading.changes, source.name if len(sources) > 1 else "")
    return changes


def count_masks(sets: Sequence[AnnotationSet]) -> int:
    """How many masks all tracks have together."""
    return sum(count_values(track.segmentations) for annotations in sets for track in annotations.tracks)


def refuse_changes(
    changes: Changes,
    masks: int,
    *,
    strict: bool,
    max_share: float,
    where: str,
    setting: str,
) -> None:
    """Raise AvisError where reading changed too much, measured against the masks that the source has.

    Args:
        masks: how many were read: `count_masks`, before any are taken away on purpose.
    """
    total = masks + changes.count("mask", [Kind.DROPPED])
    changes.refuse({"mask": total}, strict=strict, max_share=max_share, where=where, setting=setting)


@dataclass
class _Piece:
    path: Path
    name: str
    hints: Hints
    shown_as: tuple[str, str]  # a folder's path in messages, and what it stands for
    found: tuple[Format, str] | None = None
    left_out: Changes = field(default_factory=Changes)  # the files beside it


def _walk(part: _Part, hints: Hints, forced: Format | None, shown_as: tuple[str, str]) -> Iterator[_Piece]:
    """The pieces that a file holds, one after the other: an archive is unpacked only while it is read."""
    path, name = part.path, part.name
    if not (path.is_file() and is_zip(path)):
        yield _Piece(path, name, hints, shown_as, left_out=part.left_out)
        return
    with unpacked(path, hints.work.folder if hints.work is not None else None) as folder:
        inside = replace(hints, name=_plain_name(path))
        pieces, parts = _look_into(folder, name, inside, forced, (str(folder), name), deep=True)
        for first in (pieces or parts)[:1]:
            first.left_out.extend(part.left_out)
        yield from pieces
        for inner in parts:
            yield from _walk(inner, replace(inside, name=inner.called), forced, (str(folder), name))


def _look_into(
    path: Path, name: str, hints: Hints, forced: Format | None, shown_as: tuple[str, str], *, deep: bool
) -> tuple[list[_Piece], list[_Part]]:
    """A folder that is a data set as one piece, any other as its parts."""
    look = look_at(path)
    found = _recognise(look)
    if found is not None and (forced is None or found[0] is forced):
        return [_Piece(path, name, hints, shown_as, found)], []
    files = _annotation_files(path, deep)
    if not files:
        if forced is not None:
            return [_Piece(path, name, hints, shown_as)], []
        raise _unknown_folder(look, name)
    below = [] if deep else _files_below(path, files)
    files, left_out = _without_twins(files)
    for file in below:
        why = "it lies in a folder below those that are read"
        example = file.relative_to(path).as_posix()
        left_out.setdefault(files[0], Changes()).add(Kind.DROPPED, "file", why, example=example)
    parts = []
    for file in files:
        inside = f"{name}/{file.relative_to(path).as_posix()}"
        alone = len(files) == 1 and (deep or file.parent != path)  # the archive or folder is the export
        called = hints.name if alone else _plain_name(file)
        parts.append(_Part(file, inside, called, left_out.get(file, Changes())))
    return [], parts


def _without_twins(files: Sequence[Path]) -> tuple[list[Path], dict[Path, Changes]]:
    """The files without what COCO has beside instances_X.json; by that file, which are left out."""
    kinds = {file: match for file in files if (match := _COCO_FILE.fullmatch(file.name)) is not None}
    instances = {(file.parent, m[2]): file for file, m in kinds.items() if m[1].lower() == "instances"}
    left_out: dict[Path, Changes] = {}
    kept = []
    for file in files:
        kind = kinds.get(file)
        twin = instances.get((file.parent, kind[2])) if kind is not None else None
        if kind is None or twin is None or twin == file:
            kept.append(file)
            continue
        why = f"COCO's {kind[1].lower()} file beside an instances file, which alone is read"
        left_out.setdefault(twin, Changes()).add(Kind.DROPPED, "file", why, example=file.name)
    return kept, left_out


def _annotation_files(folder: Path, deep: bool) -> list[Path]:
    """The files that are meant: those in the folder itself, failing that (or in an archive) at any depth."""
    for pattern in ("**/*",) if deep else ("*", "**/*"):
        files = sorted(
            file
            for file in folder.glob(pattern)
            if file.suffix.lower() in FILE_ENDINGS
            and not is_hidden(file.relative_to(folder))
            and file.is_file()
        )
        if files:
            return files
    return []


def _files_below(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Annotation files that lie deeper than those in the folder itself, and so are not read."""
    if any(file.parent != folder for file in files):
        return []
    return [folder / name for name in files_below(folder, FILE_ENDINGS) if "/" in name]


def _read(piece: _Piece, forced: Format | None) -> Source:
    folder, stands_for = piece.shown_as
    try:
        if forced is not None:
            found, reason = forced, "as you said"
        else:
            found, reason = piece.found or detect_format(piece.path)
    except AvisError as error:
        raise _renamed(error, folder, stands_for) from None
    if found.read is None:
        raise AvisError(f"The format {found.name} can only be written", where=piece.name)
    try:
        reading = found.read(piece.path, piece.hints)
    except IsADirectoryError:
        raise _unknown_folder(look_at(piece.path), piece.name) from None
    except AvisError as error:
        guess = (
            ""
            if forced is not None
            else f" It was taken for {found.name} because it is {reason}; if that is wrong, name the format."
        )
        fix = f"{error.fix or ''}{guess}".strip() or None
        raise _renamed(
            AvisError(error.what, where=error.where or piece.name, fix=fix), folder, stands_for
        ) from None
    reading.changes.extend(piece.left_out)
    return Source(piece.name, found, reason, reading)


def _renamed(error: AvisError, folder: str, stands_for: str) -> AvisError:
    """The error with the archive's name instead of the folder that it was unpacked to."""
    if not folder:
        return error
    where = (error.where or stands_for).replace(folder, stands_for)
    return AvisError(error.what.replace(folder, stands_for), where=where, fix=error.fix)


def _require_file_or_folder(path: Path, fix: str | None = None) -> None:
    """Of what else there is, a pipe would be waited for that nobody writes to, and a device read for ever."""
    if not path.exists():
        raise AvisError("There is no such annotation file", where=str(path), fix=fix)
    if not (path.is_file() or path.is_dir()):
        raise AvisError("This is neither a file nor a folder", where=str(path), fix=fix)


def detect_format(path: Path) -> tuple[Format, str]:
    """The format of a file or folder and why it was taken for that; raises AvisError."""
    _require_file_or_folder(path)
    look = look_at(path)
    if path.is_file() and not look.head.strip():
        raise AvisError("The annotation file is empty", where=str(path), fix="Export the annotations again.")
    found = _recognise(look)
    if found is None:
        raise _unknown_folder(look, str(path)) if path.is_dir() else _unknown_file(look)
    return found


def look_at(path: Path) -> Look:
    """What recognising a file or folder needs."""
    if path.is_dir():
        return Look(path, names=tuple(_names(path)))
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    keys: tuple[str, ...] = ()
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        keys = first_keys(path)
        if not keys:  # broken or cut off: what its beginning names tells what it was
            found = [match.decode() for match in re.findall(rb'"(\w{1,40})"\s*:', head)]
            keys = tuple(dict.fromkeys(found))
    return Look(path, head=head, keys=keys)


def _names(folder: Path) -> Iterator[str]:
    number = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        for name in sorted(names):
            if not is_hidden(Path(name)):
                yield (Path(place) / name).relative_to(folder).as_posix()
                number += 1
                if number == MOST_NAMES:
                    return


def _recognise(look: Look) -> tuple[Format, str] | None:
    for entry in formats().values():
        reason = entry.recognise(look)
        if reason is not None:
            return entry, reason
    return None


def _unknown_file(look: Look) -> AvisError:
    for begin, kind, fix in _NO_TEXT:
        if look.head.startswith(begin):
            return AvisError(f"The annotation file is {kind}", where=str(look.path), fix=fix)
    if look.keys:
        seen = f"a JSON file with {', '.join(look.keys[:8])}"
    else:
        seen = f"it begins with {look.head[:40].decode(errors='replace')!r}"
    return AvisError(
        f"The annotation format was not recognised: {seen}",
        where=str(look.path),
        fix=f"Name one of {', '.join(sorted(formats()))}. `avis convert --list` shows what they look like.",
    )


def _unknown_folder(look: Look, name: str) -> AvisError:
    picture = next((file for file in look.names if file.lower().endswith(".png")), None)
    if picture is not None and picture_mode(look.path / picture).startswith("RGB"):
        return AvisError(
            f"Its pictures are in colours, first {picture}: masks need one number a pixel",
            where=name,
            fix="If they are masks, save them with a palette, in gray levels, or with 16 bits.",
        )
    endings = Counter(Path(file).suffix.lower() or "without ending" for file in look.names)
    seen = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(5)) or "nothing"
    return AvisError(
        f"The folder has no annotation file ({', '.join(FILE_ENDINGS)}) and no known layout; it holds {seen}",
        where=name,
        fix="`avis convert --list` says what each format looks like.",
    )


def _plain_name(path: Path) -> str:
    """A file's name without its ending, with signs that a video's name cannot have replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem if path.is_file() else path.name).lstrip(".") or "video"
