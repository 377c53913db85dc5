"""Manifest entries from a list of YouTube ids and addresses."""

import codecs
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from components.core.raw.clip_names import clip_name, video_id_of, youtube_id_of
from components.core.raw.manifest import ManifestEntry
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError
from components.core.text.redaction import redacted_address
from components.tools.manifests.published_lists import UNDERSTOOD, PublishedList, Row

_SAVE = "Save it as CSV UTF-8, in Excel under Save as."
_NO_TEXTS = {
    b"PK\x03\x04": "a workbook of Excel (.xlsx) or LibreOffice (.ods), or a zip archive",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel (.xls)",
    b"\x1f\x8b": "packed with gzip",
    b"PAR1": "a Parquet file",
}
_TIME_IN_ADDRESS = re.compile(r"[?&#](t|start|time_continue)=\d")
_SCHEMES = ("http", "https", "s3", "file")


@dataclass(frozen=True, slots=True)
class MadeOfList:
    """The entries of a list; name: which list it was recognised as; changes: what was filled in or merged."""

    entries: list[ManifestEntry]
    name: str
    changes: Changes


def manifest_from_ids(lines: Iterable[str], where: str) -> list[ManifestEntry]:
    """The entries of `read_list`."""
    return read_list(lines, where).entries


def read_list(lines: Iterable[str], where: str) -> MadeOfList:
    """One entry per line: a YouTube id or an address, and, if only a part is wanted, its start and end.

    The lists that the field publishes are recognised, see published_lists. Empty lines and lines that begin
    with `#` are skipped. Start and end are seconds, m:ss or h:mm:ss.

    Args:
        lines: of the list.
        where: its name, for messages; ACAV's lists are known by it.

    Raises:
        AvisError: a line is not understood, or two lines give one clip different splits; it names the line.
    """
    entries: list[ManifestEntry] = []
    seen: dict[str, tuple[int, ManifestEntry]] = {}
    rows = PublishedList(lines, where)
    for row in rows:
        entry = _entry(row, f"{where}, line {row.line}")
        line, first = seen.setdefault(entry.video_id, (row.line, entry))
        if entry != first:
            raise AvisError(
                f"{entry.video_id!r} stands twice, and differently: {_difference(first, entry)}",
                where=f"{where}, lines {line} and {row.line}",
                fix="Name each clip once.",
            )
        if line != row.line:
            why = "the same clip stands in another line"
            rows.changes.add(Kind.MERGED, "row", why, example=f"lines {line} and {row.line}")
            continue
        if row.start_s is None and _TIME_IN_ADDRESS.search(row.source):
            why = "the time in the address is no part's start and end: all of the video is taken"
            rows.changes.add(Kind.DROPPED, "time", why, example=row.source[:100])
        entries.append(entry)
    if not entries:
        raise AvisError(
            "the list is empty", where=where, fix="Write a YouTube id or an address on each line."
        )
    return MadeOfList(entries, rows.name, rows.changes)


def _difference(first: ManifestEntry, second: ManifestEntry) -> str:
    if first.split != second.split:
        return f"split {first.split or 'none'} and {second.split or 'none'}"
    return f"{first.source} and {second.source}, from {first.start_s} and {second.start_s} s"


def list_text(content: bytes, where: str) -> str:
    """The text of a list's file: UTF-8, or UTF-16 as Excel's "Unicode text" is.

    Raises:
        AvisError: it is no such text; workbooks are named.
    """
    for head, name in _NO_TEXTS.items():
        if content.startswith(head):
            raise AvisError(f"the list is {name}, not a text", where=where, fix=_SAVE)
    try:
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8")
    except UnicodeDecodeError as error:
        raise AvisError(f"the list is not UTF-8 text: {error.reason}", where=where, fix=_SAVE) from None


def address_of(youtube_id: str) -> str:
    """Where a YouTube video is watched."""
    return f"https://www.youtube.com/watch?v={youtube_id}"


def video_id_of_address(address: str) -> str:
    """A name for the video of an address: what the address calls it, and a hash since others may, too."""
    parts = urlsplit(address)
    called = PurePosixPath(parts.path).stem or parts.hostname or "video"
    return f"{video_id_of(called[:80])}-{hashlib.sha256(redacted_address(address).encode()).hexdigest()[:8]}"


def _entry(row: Row, place: str) -> ManifestEntry:
    youtube_id = youtube_id_of(row.source)
    if youtube_id is None and not _is_address(row.source):
        raise AvisError(
            f"{row.source[:100]!r} is neither a YouTube id (11 characters) nor an address",
            where=place,
            fix=UNDERSTOOD,
        )
    start_s, end_s = row.start_s, row.end_s
    source = row.source if youtube_id is None else address_of(youtube_id)
    video_id = youtube_id or video_id_of_address(row.source)
    if start_s is not None and end_s is not None:
        if start_s >= end_s:
            raise AvisError(f"the end {end_s:g} s is not after the start {start_s:g} s", where=place)
        video_id = clip_name(video_id, start_s, end_s)
    return ManifestEntry(video_id, source, start_s, end_s, row.split)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme.lower() in _SCHEMES and bool(parts.netloc or parts.path)
