"""Answers of servers that end: a page has a size, also unpacked, and everything comes at a lowest rate."""

from __future__ import annotations

import time
from typing import Any

import yt_dlp
from yt_dlp.networking.common import Response

from components.core.raw.index import Status
from components.ingest.status import DownloadError

_MOST_PAGE_BYTES = 64 << 20  # of what is read as a whole: pages, lists of parts
_PIECE_BYTES = 1 << 16
_FIRST_BYTES = 64  # so few that the slowest server brings them while we are patient
_LEAST_RATE = 1000.0  # bytes a second
_PATIENCE_S = 60.0  # before the rate counts
_AT_ONCE_S = 10.0  # a read asks for what comes in so long


class LimitedDownloader(yt_dlp.YoutubeDL):  # type: ignore[misc]
    """yt-dlp, whose own time limit begins anew with each byte, and which reads pages of any size."""

    def urlopen(self, req: Any) -> Response:
        """Open as yt-dlp does; reading raises DownloadError: timeout where it is too slow, too_large."""
        response = super().urlopen(req)
        read = response.read
        start_s, came = time.monotonic(), 0

        def piece(most: int) -> bytes:
            nonlocal came
            rate = came / max(time.monotonic() - start_s, 1e-3)
            content: bytes = read(min(most, max(_FIRST_BYTES, int(rate * _AT_ONCE_S))))
            came += len(content)
            waited_s = time.monotonic() - start_s
            if content and waited_s > _PATIENCE_S and came < _LEAST_RATE * waited_s:
                raise DownloadError(
                    Status.TIMEOUT,
                    f"the server sends {came / waited_s:.3g} bytes a second, too few to wait for",
                )
            return content

        def limited(amount: int | None = None) -> bytes:
            if amount is not None and amount >= 0:
                return piece(amount)
            whole = bytearray()
            while content := piece(_PIECE_BYTES):
                whole += content
                if len(whole) > _MOST_PAGE_BYTES:
                    raise DownloadError(
                        Status.TOO_LARGE, f"the server sends a page of more than {_MOST_PAGE_BYTES >> 20} MiB"
                    )
            return bytes(whole)

        response.read = limited
        return response
