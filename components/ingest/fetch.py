"""Bring a source's files to this machine: through yt-dlp, from S3, or by copying."""

import http.cookiejar
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yt_dlp
from yt_dlp.cookies import YoutubeDLCookieJar
from yt_dlp.extractor.generic import GenericIE  # noqa: F401  (slow to import: once, before workers fork)

from components.core.raw.index import Status
from components.core.run.disk import DiskFullError, disk_full, is_disk_full, make_sure_of_room
from components.core.run.errors import AvisError
from components.core.storage.s3_object import StorageError, fetch_object, head_of
from components.core.text.redaction import redact, secrets_of
from components.ingest.address import Source, SourceKind
from components.ingest.params import IngestParams
from components.ingest.status import DownloadError, classify, clean_message, retry_after_s
from components.ingest.web.direct import take_file
from components.ingest.web.limits import LimitedDownloader
from components.ingest.web.network_guard import guard_for, guarded
from components.ingest.web.sizes import refuse_size

_TIMEOUT_S = 30.0  # of one network operation
_KEPT_DOWNLOADERS = 8
_MOST_CHARACTERS = 200  # of what a site says about a video


@dataclass(frozen=True, slots=True)
class Download:
    """One file, or two where a site keeps pictures and sound apart; with what the site says about them."""

    files: list[Path]
    license: str | None = None
    uploader: str | None = None


def fetch(source: Source, folder: Path, params: IngestParams) -> Download:
    """Bring a video to an existing folder.

    What an earlier try left there is continued where the server allows it.

    Raises:
        DownloadError: with the status that says why.
        DiskFullError: there is no room for it.
    """
    if source.kind is SourceKind.S3:
        return Download([_from_s3(source.url, folder, params)])
    if source.path is not None:
        if not source.path.is_file():
            raise DownloadError(Status.REMOVED, f"there is no file {source.text}")
        if source.path.stat().st_size == 0:
            raise DownloadError(Status.CORRUPT, f"the file {source.text} is empty")
        # Whether it is a video, decoding will tell.
        make_sure_of_room(folder, repr(source.text), source.path.stat().st_size)
        return Download([Path(shutil.copyfile(source.path, folder / f"copy{source.path.suffix}"))])
    return _from_web(source.url, folder, params)


def check_format(selection: str | None) -> None:
    """Refuse a selection of formats that yt-dlp would refuse for every single video.

    Raises:
        AvisError: it is no selection of formats.
    """
    if selection is None:
        return
    try:
        with yt_dlp.YoutubeDL({"quiet": True, "logger": _Silent()}) as downloader:
            downloader.build_format_selector(selection)
    except SyntaxError as error:
        raise AvisError(
            f"{selection!r} selects no formats: {' '.join(str(error).split())[:200]}",
            where="params.yaml, ingest.format",
            fix="Write it as yt-dlp's -f has it, for example bv*[height<=480]+ba/b.",
        ) from None


def check_cookies(path: str | None) -> None:
    """Refuse a file of cookies that would be of no use to any video.

    Raises:
        AvisError: it is missing, or holds no cookies.
    """
    if path is None:
        return
    try:
        cookies = YoutubeDLCookieJar(path)
        cookies.load()
        problem = None if len(cookies) else "it holds none"
    except (OSError, http.cookiejar.LoadError, ValueError) as error:
        problem = " ".join(str(error).split())[:200]
    if problem is not None:
        raise AvisError(
            f"the file of cookies cannot be used: {problem}",
            where=f"params.yaml, ingest.cookies_file: {path}",
            fix="Export it in Netscape format from a logged-in browser.",
        )


def _from_web(url: str, folder: Path, params: IngestParams) -> Download:
    refused_by_us: list[tuple[Status, str]] = []

    def accept(info: Mapping[str, Any], *, incomplete: bool) -> str | None:
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
            refused_by_us.append((Status.LIVE_OR_UPCOMING, "the broadcast is not over"))
        elif (info.get("n_entries") or 1) > 1:
            refused_by_us.append((Status.BAD_ENTRY, "the source holds several videos: name one"))
        return refused_by_us[0][1] if refused_by_us else None

    guard = guard_for(url, params.proxy, params.private_hosts)
    try:
        with guarded(guard):
            web = _downloader(params, guard.beyond_public, is_site=_is_site(url))
            file = take_file(web, url, folder, params.most_bytes)
            if file is not None:
                return Download([file])
            web.params |= {"paths": {"home": str(folder)}, "match_filter": accept}
            info = web.extract_info(url, download=True)
    except (DiskFullError, DownloadError):
        raise
    except OverflowError:  # yt-dlp, at the time that is left for a size of a thousand digits
        raise DownloadError(Status.TOO_LARGE, "the server claims a size that no file has") from None
    except Exception as error:  # extractors raise anything
        if is_disk_full(error):
            raise disk_full(folder, repr(url), None) from None
        if guard.refused:
            message = (
                f"the source leads to the private address {guard.refused}, which is refused: a server "
                "of your own network that looks public must be among ingest.private_hosts"
            )
            raise DownloadError(Status.BAD_ENTRY, message) from None
        raise DownloadError(classify(error), clean_message(error), retry_after_s(error)) from None
    if refused_by_us:
        raise DownloadError(*refused_by_us[0])
    files = sorted(file for file in folder.iterdir() if file.suffix not in (".part", ".ytdl"))
    if not 1 <= len(files) <= 2:
        raise DownloadError(Status.UNSUPPORTED, f"yt-dlp left {len(files)} files instead of a video")
    said = (_said(info, *names) for names in (("license",), ("uploader", "channel", "creator")))
    return Download(files, *(text and redact(text, secrets_of(url)) for text in said))


def _said(info: object, *names: str) -> str | None:
    """The first of these things that the site says about the one video it gave, in one line."""
    entries = info.get("entries") if isinstance(info, dict) else None
    if entries:
        info = next((entry for entry in entries if entry), None)
    for name in names:
        value = info.get(name) if isinstance(info, dict) else None
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:_MOST_CHARACTERS]
    return None


_downloaders: dict[object, yt_dlp.YoutubeDL] = {}


def _downloader(params: IngestParams, allowed: object, *, is_site: bool) -> yt_dlp.YoutubeDL:
    """This process's downloader: making one takes longer than getting a small file, and it keeps connections.

    The guard does not see connections that are kept, so sources share a downloader only if they are allowed
    the same addresses (`allowed`).
    """
    key = (params.model_dump_json(), allowed, is_site)
    if key not in _downloaders:
        if len(_downloaders) >= _KEPT_DOWNLOADERS:
            _downloaders.pop(next(iter(_downloaders)))
        _downloaders[key] = LimitedDownloader(_options(params, is_site=is_site))
    return _downloaders[key]


def _weigh(most_bytes: int, progress: Mapping[str, Any]) -> None:
    """Called by yt-dlp with each piece: its own limit knows only what a server claims.

    Raises:
        DownloadError: more has come, or is to come, than is allowed or fits.
    """
    came, claimed = (int(progress.get(name) or 0) for name in ("downloaded_bytes", "total_bytes"))
    refuse_size(came, most_bytes)
    refuse_size(claimed, most_bytes, Path(progress.get("tmpfilename") or progress["filename"]).parent, came)


def _options(params: IngestParams, *, is_site: bool) -> dict[str, Any]:
    height = f"height<=?{params.max_height_px}"
    options: dict[str, Any] = {
        "outtmpl": {"default": "%(format_id)s.%(ext)s"},
        "restrictfilenames": True,
        "logger": _Silent(),
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "format": params.format or f"bv*[{height}]+ba/b[{height}]/bv*+ba/b",
        "format_sort": [f"res:{params.max_height_px}", "vcodec:h264", "acodec:m4a"],
        # No ffmpeg binary: separate pictures and sound stay apart and are joined by components.ingest.remux.
        "ffmpeg_location": f"{os.devnull}/none",
        "fixup": "never",
        "noplaylist": True,
        "playlist_items": "1:2",
        "cachedir": False,
        "updatetime": False,
        "allowed_extractors": ["default"] if is_site else ["generic", "html5"],
        "js_runtimes": {"deno": {}, "node": {}},
        "socket_timeout": _TIMEOUT_S,
        "progress_hooks": [partial(_weigh, params.most_bytes)],
        "retries": params.attempts,
        "fragment_retries": params.attempts,
        "extractor_retries": 1,
        "file_access_retries": 0,
        "retry_sleep_functions": {kind: _backoff(params) for kind in ("http", "fragment")},
        "cookiefile": params.cookies_file,
        "sleep_interval": params.sleep_s if is_site else 0,
    }
    if params.proxy:
        options["proxy"] = params.proxy
    return options


def listing_options(url: str, params: IngestParams) -> dict[str, Any]:
    """For a downloader that lists the videos of a playlist and downloads none."""
    options = _options(params, is_site=_is_site(url))
    return options | {"extract_flat": "in_playlist", "noplaylist": False, "playlist_items": None}


def _backoff(params: IngestParams) -> Any:
    return lambda n: params.backoff_s * 2.0 ** min(n, 6)


def _is_site(url: str) -> bool:
    """Whether yt-dlp's thousand extractors may know the address: not one of this machine."""
    return urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1")


def _from_s3(url: str, folder: Path, params: IngestParams) -> Path:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    parts = urlsplit(url)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if not bucket or not key:
        raise DownloadError(Status.BAD_ENTRY, f"{url!r} names no bucket and key")
    target = folder / f"object{Path(key).suffix}"
    config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S)
    try:
        client = boto3.client("s3", config=config)
        head = head_of(client, bucket, key)
        refuse_size(head["ContentLength"], params.most_bytes, folder)
        fetch_object(client, bucket, key, head, target)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = {
            "404": Status.REMOVED,
            "NoSuchKey": Status.REMOVED,
            "NoSuchBucket": Status.REMOVED,
            "403": Status.LOGIN_REQUIRED,
            "AccessDenied": Status.LOGIN_REQUIRED,
            "SlowDown": Status.RATE_LIMITED,
        }.get(code, Status.NETWORK)
        raise DownloadError(status, f"S3 answers: {clean_message(error)}") from None
    except NoCredentialsError:
        raise DownloadError(  # of this machine, not of the video: asked for again in the next run
            Status.NETWORK, "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except (BotoCoreError, StorageError) as error:
        raise DownloadError(Status.NETWORK, f"S3: {clean_message(error)}") from None
    return target


class _Silent:
    """yt-dlp's messages come as exceptions; its printing would tear the progress bar."""

    def debug(self, message: str) -> None: ...
    def info(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...
