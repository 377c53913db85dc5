"""Bodies that come too slowly to wait for: libraries' time limits begin anew with each byte."""

import time
from collections.abc import Callable

_FIRST_BYTES = 64  # so few that the slowest server brings them while we are patient
_LEAST_RATE = 1000.0  # bytes a second
_PATIENCE_S = 60.0  # before the rate counts
_AT_ONCE_S = 10.0  # a read asks for what comes in so long


class TooSlowError(Exception):
    """A body comes at less than the lowest rate."""


class Pace:
    """Reads one body piece by piece, and looks how fast it comes.

    Args:
        read: gives up to so many bytes, b"" at the end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read, self._start_s, self._came = read, time.monotonic(), 0

    def piece(self, most: int) -> bytes:
        """The next bytes.

        Raises:
            TooSlowError: the rate so far is too low.
        """
        rate = self._came / max(time.monotonic() - self._start_s, 1e-3)
        content = self._read(min(most, max(_FIRST_BYTES, int(rate * _AT_ONCE_S))))
        self._came += len(content)
        waited_s = time.monotonic() - self._start_s
        if content and waited_s > _PATIENCE_S and self._came < _LEAST_RATE * waited_s:
            raise TooSlowError(
                f"the server sends {self._came / waited_s:.3g} bytes a second, too few to wait for"
            )
        return content
