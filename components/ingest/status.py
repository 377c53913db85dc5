"""What became of an entry, read off the exceptions of yt-dlp and of the network."""

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from components.core.raw.index import Status

# A failure of one of these kinds may pass by itself; all others are not tried again for some days.
TRANSIENT = frozenset(
    {
        Status.NETWORK,
        Status.TIMEOUT,
        Status.RATE_LIMITED,
        Status.BOT_CHECK,
        Status.LIVE_OR_UPCOMING,
        Status.NO_ROOM,
        Status.KILLED,
    }
)
# Of the file itself, and hard on the machine: a local file, too, is tried again only when it has changed.
KILLERS = frozenset({Status.CRASHED, Status.TOO_HEAVY})
# Tried again within the same run.
RETRIED = frozenset({Status.NETWORK, Status.TIMEOUT})
# The site wants a rest: going on would burn through the whole list.
PAUSING = frozenset({Status.RATE_LIMITED, Status.BOT_CHECK})

_AGAIN = "run `dvc repro --force --single-item ingest`"  # DVC sees no change that would run it
_RESTS = "they are not tried again while the file, ingest.item_timeout_s and PyAV stay the same"
ADVICE = {
    Status.PRIVATE: "only the owner can share them",
    Status.REMOVED: "they are gone: drop them from the manifest, or mend the source",
    Status.GEO_BLOCKED: "set ingest.proxy to one in an allowed country",
    Status.LOGIN_REQUIRED: "set ingest.cookies_file to the cookies of a logged-in browser",
    Status.BOT_CHECK: "wait some hours, or set ingest.cookies_file; raise ingest.sleep_s",
    Status.RATE_LIMITED: f"{_AGAIN} in an hour; raise ingest.sleep_s",
    Status.LIVE_OR_UPCOMING: f"{_AGAIN} after the broadcast",
    Status.UNSUPPORTED: "the source leads to no video that can be got and read: check it, or upgrade yt-dlp",
    Status.NETWORK: f"{_AGAIN}; what is finished is kept",
    Status.TIMEOUT: f"{_AGAIN}, or raise ingest.item_timeout_s",
    Status.CORRUPT: "the files do not decode: get them again from elsewhere",
    Status.CRASHED: f"their process died, twice: get them from elsewhere; {_RESTS}",
    Status.TOO_HEAVY: f"shorten them, or raise ingest.item_timeout_s if it is for want of time; {_RESTS}",
    Status.KILLED: f"free memory or lower engine.workers, and {_AGAIN}",
    Status.UNEXPECTED: "the message says what nobody foresaw: report it",
    Status.NO_AUDIO: "use videos with sound",
    Status.NO_VIDEO: "use videos with pictures",
    Status.TOO_SHORT: "check start_s and end_s against the video's length",
    Status.TOO_LARGE: "raise ingest.max_file_gb if they are worth it",
    Status.NO_ROOM: f"make room, or leave them out of the manifest; then {_AGAIN}",
    Status.BAD_ENTRY: "mend the rows of the manifest",
}

_LONGEST_REST_S = 6 * 3600.0  # a server that asks for more is asked again all the same

# First match wins: the narrow messages stand before the wide ones.
_MESSAGES: tuple[tuple[str, Status], ...] = (
    (r"no connection adapters|redirection to url|file://", Status.BAD_ENTRY),  # from http to another scheme
    (r"not a bot|captcha|unusual traffic", Status.BOT_CHECK),
    (r"rate.?limit|HTTP Error 429|too many requests|try again later", Status.RATE_LIMITED),
    (
        r"not (?:made .* )?available in your (?:country|location|region)|blocked .* in your country"
        r"|geo.?(?:restrict|block)|HTTP Error 451",
        Status.GEO_BLOCKED,
    ),
    (r"members.only|join this channel|premium members|purchase|rent(?:al)? required", Status.LOGIN_REQUIRED),
    (r"private video|video is private|is private", Status.PRIVATE),
    (
        r"confirm your age|age.?restricted|log ?in|sign ?in|registered users|cookies|HTTP Error 40[13]",
        Status.LOGIN_REQUIRED,
    ),
    (
        r"live event will begin|premieres? (?:in|will)|is (?:not currently )?live|is offline|upcoming"
        r"|live stream recording is not available",
        Status.LIVE_OR_UPCOMING,
    ),
    (
        r"video (?:is )?(?:unavailable|not available)|has been removed|been terminated|no longer available"
        r"|does(?: not|n.t) exist|been deleted|copyright|HTTP Error (?:404|410)|not found",
        Status.REMOVED,
    ),
    (r"timed? ?out", Status.TIMEOUT),
    (
        r"HTTP Error 5\d\d|connection|resolve|unreachable|bytes read|more expected|incomplete|EOF occurred"
        r"|SSL|did not get any data|fragment|reset by peer|remote end closed|temporary failure",
        Status.NETWORK,
    ),
    (
        r"redirect loop|unsupported|DRM|requested format|no video formats|no media|unable to extract",
        Status.UNSUPPORTED,
    ),
)
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), status) for pattern, status in _MESSAGES)

_CLASSES = {
    "GeoRestrictedError": Status.GEO_BLOCKED,
    "UserNotLive": Status.LIVE_OR_UPCOMING,
    "UnsupportedError": Status.UNSUPPORTED,
    "IncompleteRead": Status.NETWORK,
    "ContentTooShortError": Status.NETWORK,
    "SSLError": Status.NETWORK,
    "CertificateVerifyError": Status.NETWORK,
    "ProxyError": Status.NETWORK,
}
_NOISE = re.compile(
    r"\x1b\[[0-9;]*m|^ERROR: |^\[[\w:+.-]+\] (?:\S+: )?|; please report this issue.*$"
    r"| ?\(caused by .*\)$",
    re.DOTALL,
)


class DownloadError(Exception):
    """A download that brought no file, with the reason's status."""

    def __init__(self, status: Status, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


def classify(error: BaseException) -> Status:
    """The status that an exception of yt-dlp, boto3 or the network stands for; UNSUPPORTED if unknown."""
    message = str(error)
    chain = list(_chain(error))
    for cause in chain:
        named = _CLASSES.get(type(cause).__name__)
        if named is not None:
            return named
    for pattern, status in _PATTERNS:
        if pattern.search(message):
            return status
    for cause in chain:
        if isinstance(cause, TimeoutError):
            return Status.TIMEOUT
        if type(cause).__name__ == "TransportError" or isinstance(cause, ConnectionError):
            return Status.NETWORK
    return Status.UNSUPPORTED


def clean_message(error: BaseException) -> str:
    """The exception's message in one line, without colours, prefixes and pleas for bug reports."""
    text = str(error) or type(error).__name__
    previous = None
    while text != previous:  # prefixes come in rows: "ERROR: [generic] name: "
        previous, text = text, _NOISE.sub("", text).strip()
    return " ".join(text.split())[:500]


def retry_after_s(error: BaseException) -> float | None:
    """How long the server asks to wait (its Retry-After, in seconds or as a date), if it says so."""
    for cause in _chain(error):
        headers = getattr(getattr(cause, "response", None), "headers", None)
        value = headers.get("Retry-After") if headers is not None and hasattr(headers, "get") else None
        asked_s = None if value is None else _seconds(str(value).strip())
        if asked_s is not None:
            return min(max(asked_s, 0.0), _LONGEST_REST_S)
    return None


def _seconds(value: str) -> float | None:
    """The two forms of Retry-After (RFC 9110, 10.2.3)."""
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, as yt-dlp (exc_info, cause) and Python keep it."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 16:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or current in found:
            continue
        found.append(current)
        info = getattr(current, "exc_info", None)
        waiting += [info[1] if isinstance(info, tuple) and len(info) > 1 else None]
        waiting += [getattr(current, "cause", None), current.__cause__, current.__context__]
    return found
