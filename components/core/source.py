"""Which source video a clip was cut from, read off the clip's name."""

import re
from pathlib import PurePosixPath

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

_YOUTUBE_ADDRESS = re.compile(
    r"(?:youtube(?:-nocookie)?\.com/.*(?:v=|shorts/|embed/|live/)|youtu\.be/)([A-Za-z0-9_-]{11})"
)


def source_of(name: str, manifest_source: str | None = None) -> str:
    """The source video of the clip `name`: two clips with the same answer must not be split.

    Names in AVISeg's patterns carry a YouTube id, which is the answer; so does a YouTube address in the
    manifest. Any other name is answered by the manifest's source (two cuts of one address are one
    source), unless that only repeats the name, or stands for itself.
    """
    match = _YOUTUBE.fullmatch(name)
    if match and match["id"] != name:
        return match["id"]
    if manifest_source is None:
        return name
    address = _YOUTUBE_ADDRESS.search(manifest_source)
    if address:
        return address[1]
    file = PurePosixPath(manifest_source)
    return name if name in (file.name, file.stem) else manifest_source
