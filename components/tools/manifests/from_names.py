"""Manifest entries for AVISeg clips of which only the names are known."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.core.raw.clip_names import parse_clip_name, video_id_of
from components.core.raw.manifest import ManifestEntry
from components.core.records.annotations import SPLITS
from components.core.run.errors import AvisError

_MEDIA = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".flv", ".avi"}


@dataclass
class Named:
    """Entries, and why names have none.

    Attributes:
        entries: in the order of the names.
        local: how many of them are files of this machine.
        left_out: the reason by name.
    """

    entries: list[ManifestEntry] = field(default_factory=list)
    local: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        there = len(self.entries) - self.local
        return f"{len(self.entries)} videos: {self.local} on this machine, {there} to download"


def read_names(path: Path) -> list[tuple[str, str | None]]:
    """Names with their splits: from AVISeg JSON (train.json, …) or a text with a name per line.

    Raises:
        AvisError: the file cannot be read as either.
    """
    split = path.stem if path.stem in SPLITS else None
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            lines = (line.strip() for line in text.splitlines())
            return [(line, split) for line in lines if line and not line.startswith("#")]
        return [(_folder_of(video), split) for video in json.loads(text)["videos"]]
    except FileNotFoundError:
        raise AvisError("the file does not exist", where=str(path)) from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise AvisError(
            f"the names cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            fix="Give AVISeg JSON, or a text with a name per line.",
        ) from None


def manifest_from_names(
    names: Iterable[tuple[str, str | None]], *, local: Path | None = None, whole: bool = False
) -> Named:
    """Make an entry for each name (facts about the four kinds of names: core/raw/clip_names.py).

    Args:
        names: with their splits.
        local: a folder whose media are used before any download: `<name>.mp4` is the clip itself,
            `<youtube id>.mp4` the video that it is cut from.
        whole: take the whole video where a name does not tell which part of it the clip is.

    Raises:
        AvisError: two names would have one video_id, or the folder does not exist.
    """
    if local is not None and not local.is_dir():
        raise AvisError("the folder of media does not exist", where=str(local))
    files = {
        file.stem: file
        for file in sorted(local.iterdir() if local else [], reverse=True)  # of a.mp4 and a.webm the first
        if file.suffix.lower() in _MEDIA and file.is_file()
    }
    made = Named()
    seen: dict[str, str] = {}
    for name, split in names:
        video_id = video_id_of(name)
        if video_id in seen:
            raise AvisError(
                f"two videos would have the id {video_id!r}",
                where=f"{seen[video_id]!r} and {name!r}",
                fix="Name each clip once.",
            )
        seen[video_id] = name
        clip = parse_clip_name(name)
        start_s, end_s = clip.start_s, clip.end_s
        if name in files:
            made.entries.append(ManifestEntry(video_id, source_text(files[name]), split=split))
            made.local += 1
        elif clip.youtube_id is None:
            made.left_out[name] = "its name holds no YouTube id: put the file into the folder of --local"
        elif clip.is_edit and not whole:
            made.left_out[name] = (
                "it is a part of its video, and its name does not tell which: put the clip into the folder of"
                " --local, or take the whole video with --whole"
            )
        elif clip.youtube_id in files:
            source = source_text(files[clip.youtube_id])
            made.entries.append(ManifestEntry(video_id, source, start_s, end_s, split))
            made.local += 1
        else:
            source = f"https://www.youtube.com/watch?v={clip.youtube_id}"
            made.entries.append(ManifestEntry(video_id, source, start_s, end_s, split))
    return made


def source_text(path: Path) -> str:
    """A path as ingest, which runs in the repository, understands it."""
    return str(path if Path("params.yaml").is_file() else path.absolute())


def _folder_of(video: dict[str, object]) -> str:
    files = video["file_names"]
    if not isinstance(files, list):
        raise TypeError("file_names is no list")
    return str(files[0]).replace("\\", "/").rsplit("/", 2)[-2]
