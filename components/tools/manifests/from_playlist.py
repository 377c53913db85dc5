"""Manifest entries for the videos of a playlist or a channel, listed by yt-dlp and not downloaded."""

from collections.abc import Iterator
from typing import Any

from components.core.raw.clip_names import youtube_id_of
from components.core.raw.manifest import ManifestEntry
from components.core.run.errors import AvisError
from components.ingest.fetch import check_cookies, listing_options
from components.ingest.params import IngestParams
from components.ingest.status import clean_message
from components.ingest.web.limits import LimitedDownloader
from components.ingest.web.network_guard import guard_for, guarded
from components.tools.manifests.from_ids import address_of, video_id_of_address


def manifest_from_playlist(
    url: str, params: IngestParams, *, limit: int | None = None
) -> list[ManifestEntry]:
    """One entry per video, in the order of the list, with its uploader where the list names it.

    Args:
        url: of a playlist, a channel, a user, a feed: whatever yt-dlp lists.
        params: cookies and proxy.
        limit: so many at most.

    Raises:
        AvisError: there is no such list, it is empty, or leads to a private address.
    """
    check_cookies(params.cookies_file)
    try:
        guard = guard_for(url, params.proxy, params.private_hosts)
    except ValueError as error:
        raise AvisError(f"this is no address: {error}", where=url) from None
    options = listing_options(url, params) | ({"playlistend": limit} if limit else {})
    try:
        with guarded(guard), LimitedDownloader(options) as downloader:
            found = downloader.extract_info(url, download=False)
            downloader.params["cookiefile"] = None  # the user's file is read, not written
    except Exception as error:  # extractors raise anything
        reason = f"it leads to the private address {guard.refused}" if guard.refused else clean_message(error)
        raise AvisError(f"the list cannot be read: {reason}", where=url) from None
    entries = {entry.video_id: entry for entry in _entries(found or {})}
    if not entries:
        raise AvisError(
            "this is no list of videos", where=url, fix="Give the address of a playlist or of a channel."
        )
    return list(entries.values())[:limit]


def _entries(found: dict[str, Any]) -> Iterator[ManifestEntry]:
    """The videos of a list, and of the lists in it: a channel has its videos, shorts and streams."""
    uploader = found.get("uploader") or found.get("channel")
    for entry in found.get("entries") or []:
        if not isinstance(entry, dict):
            continue
        if entry.get("entries") is not None:
            yield from _entries(entry)
            continue
        address = entry.get("url") or entry.get("webpage_url")
        if not isinstance(address, str):
            continue
        youtube_id = youtube_id_of(address)
        who = entry.get("uploader") or entry.get("channel") or uploader
        yield ManifestEntry(
            youtube_id or video_id_of_address(address),
            address_of(youtube_id) if youtube_id else address,
            uploader=" ".join(who.split())[:200] if isinstance(who, str) else None,
        )
