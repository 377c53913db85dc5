"""Which source video a clip was cut from, read off the clip's name."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from components.core.run.files import safe_name

_CLOCK = r"\d{2}\.\d{2}\.\d{2}\.\d{3}"
# A YouTube id (11 characters, it may begin with a dash), then what the editing tool (LosslessCut) added:
#   <id>                                        the whole video
#   <id>-<start>-<end>[-segN]                   a range, hours.minutes.seconds.milliseconds
#   <id>[-cut-merged]-<milliseconds>[-segN[-<milliseconds>]]   an edit, stamped with the time of day
_YOUTUBE = re.compile(
    rf"(?P<id>[A-Za-z0-9_-]{{11}})"
    rf"(?:-(?P<start>{_CLOCK})-(?P<end>{_CLOCK})|(?:-cut-merged)?-\d{{13}})?"
    rf"(?:-seg\d+)?(?:-\d{{13}})?"
)

_YOUTUBE_ADDRESS = re.compile(
    r"^(?:https?://)?(?:[A-Za-z0-9-]+\.)*"
    r"(?:youtube(?:-nocookie)?\.com/(?:watch\?(?:[^#]*&)?v=|shorts/|embed/|live/|v/)|youtu\.be/)"
    r"([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])"
)


@dataclass(frozen=True, slots=True)
class ClipName:
    """What the name of an AVISeg clip says: the video, and which part of it.

    Attributes:
        youtube_id: None for names of another kind, such as MUSIC-AVQA's numbers.
        start_s, end_s: the part, where the name has it.
        is_edit: the clip is a part that the name does not tell.
    """

    youtube_id: str | None
    start_s: float | None = None
    end_s: float | None = None
    is_edit: bool = False


def parse_clip_name(name: str) -> ClipName:
    """Read an AVISeg clip's name."""
    match = _YOUTUBE.fullmatch(name)
    if match is None:
        return ClipName(None)
    if match["start"] is None:
        return ClipName(match["id"], is_edit=match["id"] != name)
    start_s, end_s = _seconds(match["start"]), _seconds(match["end"])
    return ClipName(match["id"], start_s, end_s) if start_s < end_s else ClipName(match["id"], is_edit=True)


def clip_name(youtube_id: str, start_s: float, end_s: float) -> str:
    """The name of a part of a YouTube video, as parse_clip_name reads it; to the millisecond."""
    return f"{youtube_id}-{_clock(start_s)}-{_clock(end_s)}"


def youtube_id_of(text: str) -> str | None:
    """The YouTube id that a text is, or that an address of YouTube holds."""
    if re.fullmatch(r"[A-Za-z0-9_-]{11}", text):
        return text
    address = _YOUTUBE_ADDRESS.search(text)
    return address[1] if address else None


def _seconds(clock: str) -> float:
    hours, minutes, seconds, milliseconds = (int(part) for part in clock.split("."))
    return (((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds) / 1000


def _clock(time_s: float) -> str:
    milliseconds = round(time_s * 1000)
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes // 60:02d}.{minutes % 60:02d}.{seconds:02d}.{milliseconds % 1000:03d}"


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


def video_id_of(name: str) -> str:
    """The name, with `_` for what a file name of ours may not hold.

    Raises:
        AvisError: nothing is left of it.
    """
    return safe_name(re.sub(r"^\.|\.(?=\.)|[^A-Za-z0-9_.-]", "_", name)[:128])
