"""Which source video a clip was cut from, read off the clip's name."""

from __future__ import annotations

import re

_CLOCK = r"\d{2}\.\d{2}\.\d{2}\.\d{3}"
# A YouTube id (11 characters, it may begin with a dash), then what the editing tool added:
#   <id>                                        the whole video
#   <id>-<start>-<end>[-segN]                   a range, hours.minutes.seconds.milliseconds
#   <id>[-cut-merged]-<milliseconds>[-segN[-<milliseconds>]]   an edit, stamped with the time of day
_YOUTUBE = re.compile(
    rf"(?P<id>[A-Za-z0-9_-]{{11}})"
    rf"(?:-{_CLOCK}-{_CLOCK}|(?:-cut-merged)?-\d{{13}})?"
    rf"(?:-seg\d+)?(?:-\d{{13}})?"
)


def source_of(name: str, manifest_source: str | None = None) -> str:
    """The source video of the clip `name`: two clips with the same answer must not be split.

    Names in AVISeg's patterns carry a YouTube id, which is the answer. Any other name is answered by
    the manifest's source (two cuts of one URL are one source), or stands for itself.
    """
    match = _YOUTUBE.fullmatch(name)
    if match and match["id"] != name:
        return match["id"]
    return manifest_source or name
