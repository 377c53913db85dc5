"""Manifest entries from a list of YouTube ids and addresses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from components.core.raw.clip_names import clip_name, video_id_of, youtube_id_of
from components.core.raw.manifest import ManifestEntry
from components.core.run.errors import AvisError

_SCHEMES = ("http", "https", "s3", "file")


def manifest_from_ids(lines: Iterable[str], where: str) -> list[ManifestEntry]:
    """One entry per line: a YouTube id or an address, and, if only a part is wanted, its start and end.

    Empty lines and lines that begin with `#` are skipped. Start and end are seconds or h:mm:ss.

    Args:
        lines: of the list.
        where: its name, for messages.

    Raises:
        AvisError: a line is neither, or two lines are the same clip; it names the line.
    """
    entries: list[ManifestEntry] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        words = re.split(r"[\s,;]+", line.strip().removeprefix("\ufeff"))
        if not words[0] or words[0].startswith("#"):
            continue
        place = f"{where}, line {number}"
        entry = _entry(words, place)
        if entry.video_id in seen:
            raise AvisError(
                f"{entry.video_id!r} stands twice",
                where=f"{where}, lines {seen[entry.video_id]} and {number}",
                fix="Name each clip once.",
            )
        seen[entry.video_id] = number
        entries.append(entry)
    if not entries:
        raise AvisError(
            "the list is empty", where=where, fix="Write a YouTube id or an address on each line."
        )
    return entries


def address_of(youtube_id: str) -> str:
    """Where a YouTube video is watched."""
    return f"https://www.youtube.com/watch?v={youtube_id}"


def video_id_of_address(address: str) -> str:
    """A name for the video of an address: what the address calls it, and a hash since others may, too."""
    parts = urlsplit(address)
    called = PurePosixPath(parts.path).stem or parts.hostname or "video"
    return f"{video_id_of(called[:80])}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def _entry(words: list[str], place: str) -> ManifestEntry:
    text, *times = words
    youtube_id = youtube_id_of(text)
    if youtube_id is None and not _is_address(text):
        raise AvisError(f"{text[:100]!r} is neither a YouTube id (11 characters) nor an address", where=place)
    if len(times) not in (0, 2):
        raise AvisError(
            "a part needs its start and its end", where=place, fix="For example: dQw4w9WgXcQ 12.5 40"
        )
    start_s, end_s = (_seconds(time, place) for time in times) if times else (None, None)
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise AvisError(f"the end {end_s:g} s is not after the start {start_s:g} s", where=place)
    source = text if youtube_id is None else address_of(youtube_id)
    video_id = youtube_id or video_id_of_address(text)
    if start_s is not None and end_s is not None:
        video_id = clip_name(video_id, start_s, end_s)
    return ManifestEntry(video_id, source, start_s, end_s)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme.lower() in _SCHEMES and bool(parts.netloc or parts.path)


def _seconds(text: str, place: str) -> float:
    if not re.fullmatch(r"(\d{1,6}:){0,2}\d{1,6}(\.\d{1,6})?", text):
        raise AvisError(f"{text[:40]!r} is no time", where=place, fix="Write seconds, or h:mm:ss.")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
