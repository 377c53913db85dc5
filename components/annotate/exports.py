"""Where annotations come from: files, folders and archives; which format each is taken for, and why."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.annotate.effort import Effort
from components.annotate.formats import Format, Hints, Look, Reading, find_format, formats
from components.annotate.jobs import unite_jobs
from components.annotate.parsing.folders import files_below, is_hidden
from components.annotate.parsing.label_pictures import picture_mode
from components.core.records.annotations import AnnotationSet
from components.core.records.archives import is_zip, unpacked
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import first_keys
from components.core.records.work_file import WorkFile, count_values
from components.core.run.errors import AvisError

HEAD_BYTES = 64 * 1024
MOST_NAMES = 20_000  # of a folder, for recognising it
FILE_ENDINGS = (".json", ".xml", ".zip")
_COCO_FILE = re.compile(
    r"(instances|panoptic|stuff|image_info|person_keypoints|captions|labels)(_.*)?\.json", re.IGNORECASE
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


def read_sources(
    path: Path,
    format_name: str = "auto",
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    lengths: Mapping[str, int] | None = None,
    why_lost: Callable[[str], str | None] = lambda name: None,
    work: WorkFile | None = None,
    setting: str = "annotate.source",
) -> list[Source]:
    """Read a file, an archive, a folder of files, or a folder that is one data set.

    Args:
        format_name: `auto`, or the format that all of it has.
        sizes: height and width of frames by video name, for formats that do not tell them.
        lengths: how many pictures were extracted, by video name.
        why_lost: why a video has no media, by its name: a format that needs these leaves it out.
        work: where the masks lie that are read; None: in a file of each reader's own.
        setting: what named the path, for the message when it does not exist.

    Raises:
        AvisError: nothing is there, a format is not recognised, or what it holds is malformed.
    """
    forced = None if format_name == "auto" else find_format(format_name)
    if not path.exists():
        raise AvisError("There is no such annotation file", where=str(path), fix=f"Correct {setting}.")
    hints = Hints(_plain_name(path), sizes or {}, lengths or {}, why_lost, work, Effort(path))
    sources = [_read(piece, forced) for piece in _walk(path, str(path), hints, forced, ("", ""))]
    return _with_jobs_united(sources, work or WorkFile())


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


def _walk(
    path: Path, name: str, hints: Hints, forced: Format | None, shown_as: tuple[str, str]
) -> Iterator[_Piece]:
    """The pieces that a path holds, one after the other: an archive is unpacked only while it is read."""
    if path.is_file() and is_zip(path):
        with unpacked(path, hints.work.folder if hints.work else None) as folder:
            inside = replace(hints, name=_plain_name(path))
            yield from _walk_folder(folder, name, inside, forced, (str(folder), name), deep=True)
        return
    if path.is_file():
        yield _Piece(path, name, hints, shown_as)
        return
    yield from _walk_folder(path, name, hints, forced, shown_as, deep=False)


def _walk_folder(
    path: Path, name: str, hints: Hints, forced: Format | None, shown_as: tuple[str, str], *, deep: bool
) -> Iterator[_Piece]:
    look = look_at(path)
    found = _recognise(look)
    if found is not None and (forced is None or found[0] is forced):
        yield _Piece(path, name, hints, shown_as, found)
        return
    files = _annotation_files(path, deep)
    if not files:
        if forced is not None:
            yield _Piece(path, name, hints, shown_as)
            return
        raise _unknown_folder(look, name)
    below = [] if deep else _files_below(path, files)
    files, left_out = _without_twins(files)
    for file in below:
        why = "it lies in a folder below those that are read"
        example = file.relative_to(path).as_posix()
        left_out.setdefault(files[0], Changes()).add(Kind.DROPPED, "file", why, example=example)
    for file in files:
        inside = f"{name}/{file.relative_to(path).as_posix()}"
        alone = len(files) == 1 and (deep or file.parent != path)  # the archive or folder is the export
        own = hints if alone else replace(hints, name=_plain_name(file))
        beside = left_out.get(file)
        for piece in _walk(file, inside, own, forced, shown_as):
            if beside is not None:
                piece.left_out.extend(beside)
                beside = None
            yield piece


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


def detect_format(path: Path) -> tuple[Format, str]:
    """The format of a file or folder and why it was taken for that; raises AvisError."""
    if not path.exists():
        raise AvisError("There is no such annotation file", where=str(path))
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
