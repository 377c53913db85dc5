"""Answers of servers that end: a page has a size, also unpacked, and everything comes at a lowest rate."""

from __future__ import annotations

from typing import Any

import yt_dlp
from yt_dlp.networking.common import Response

from components.core.raw.index import Status
from components.core.run.pace import Pace, TooSlowError
from components.ingest.status import DownloadError

_MOST_PAGE_BYTES = 64 << 20  # of what is read as a whole: pages, lists of parts
_PIECE_BYTES = 1 << 16


class LimitedDownloader(yt_dlp.YoutubeDL):  # type: ignore[misc]
    """yt-dlp, whose own time limit begins anew with each byte, and which reads pages of any size."""

    def urlopen(self, req: Any) -> Response:
        """Open as yt-dlp does; reading raises DownloadError: timeout where it is too slow, too_large."""
        response = super().urlopen(req)
        pace = Pace(response.read)

        def piece(most: int) -> bytes:
            try:
                return pace.piece(most)
            except TooSlowError as error:
                raise DownloadError(Status.TIMEOUT, str(error)) from None

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
