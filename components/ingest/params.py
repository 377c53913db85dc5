"""The `ingest` block of params.yaml."""

import hashlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator

from components.core.media.reading import READING
from components.core.run.params import Block, without_secrets


class IngestParams(Block):
    """What to download and how patiently.

    manifest: CSV or Parquet with video_id, source, and optional start_s, end_s, split, license, sha256.
    max_height_px: pictures of at most this height are asked for, where a site offers a choice.
    format: which of a site's formats is taken, in the language of yt-dlp's -f; None: the best picture of at
        most max_height_px and the best sound. Of several that it allows, that height is preferred.
    min_duration_s: a video shorter than this is too_short.
    max_file_gb: a download that is larger, or says that it is, is given up: too_large.
    max_failed_share: the stage fails when a larger share of the entries failed.
    strict: the stage fails when anything was guessed, filled in, left out or moved on reading.
    attempts: tries of an entry that fails for a passing reason (network, timeout).
    backoff_s: wait before the second try; it doubles with each further one.
    item_timeout_s: longest time for one entry, all its tries together.
    retry_permanent_after_days: an entry that is private, removed, … is not asked for again before.
    pause_s: how long all downloads rest when a site says "too many requests" and not for how long.
    max_pauses: after this many rests the entries that are left become rate_limited.
    sleep_s: rest before each download from a site such as YouTube; about 300 an hour are allowed there.
    cookies_file: in Netscape format, for videos that need a login.
    proxy: for all downloads; without it the environment's (HTTPS_PROXY, …), perhaps with a password.
    private_hosts: names of servers in your own network that look public, such as nas.company.com: other
        public names that lead to a private address are refused.
    """

    manifest: str = Field(default="data/sample/manifest.csv", min_length=1)
    max_height_px: int = Field(default=720, ge=16, le=16_384)
    format: str | None = None
    min_duration_s: float = Field(default=1.0, gt=0)
    max_file_gb: float = Field(default=50.0, gt=0, le=1_000_000)
    max_failed_share: float = Field(default=0.5, ge=0, le=1)
    strict: bool = False
    attempts: int = Field(default=3, ge=1, le=1000)
    backoff_s: float = Field(default=2.0, ge=0)
    item_timeout_s: float = Field(default=900.0, gt=0)
    retry_permanent_after_days: float = Field(default=30.0, ge=0)
    pause_s: float = Field(default=3600.0, ge=0)
    max_pauses: int = Field(default=2, ge=0, le=1000)
    sleep_s: float = Field(default=5.0, ge=0)
    cookies_file: str | None = None
    proxy: str | None = None
    private_hosts: tuple[str, ...] = ()

    @field_validator("proxy")
    @classmethod
    def _holds_no_password(cls, proxy: str | None) -> str | None:
        return proxy and without_secrets(proxy, "the environment variables HTTP_PROXY and HTTPS_PROXY")

    @property
    def most_bytes(self) -> int:
        """Of one download."""
        return int(self.max_file_gb * 1e9)

    def fingerprint(self, *, is_local: bool) -> str:
        """Changes when a video that is there would be another one now.

        What is asked of a site decides nothing about a file of this machine, and how one gets there (cookies,
        a proxy) nothing about the video. What an older version cut of a download stays: sites let nobody have
        a long list twice.
        """
        way = [READING] if is_local else [self.max_height_px, self.format]
        return _hash([self.min_duration_s, *way])

    def failure_fingerprint(self, sha256: str | None, *, is_local: bool) -> str:
        """Changes when an entry that failed may fare better now; sha256 is what the manifest expects."""
        way: list[object] = [self.item_timeout_s, _version_of_av(), READING]
        if not is_local:
            way += [self.proxy, self.cookies_file, self._cookies(), self.max_file_gb, *self.private_hosts]
        return _hash([self.fingerprint(is_local=is_local), sha256, *way])

    def _cookies(self) -> str | None:
        try:
            content = Path(self.cookies_file).read_bytes() if self.cookies_file else None
        except OSError:
            return None
        return None if content is None else hashlib.sha256(content).hexdigest()


@cache  # looked up among all packages: a millisecond, for each row
def _version_of_av() -> str:
    return importlib.metadata.version("av")


def _hash(decisive: list[object]) -> str:
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]
