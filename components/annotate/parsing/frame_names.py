"""Which frame a picture's name tells: its last number, if the names of a video differ in nothing else."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from components.core.run.errors import AvisError

_LAST_NUMBER = re.compile(r"(.*?)(\d{1,9})(\D*)", re.DOTALL)


def any_is_0(stems: Iterable[str]) -> bool:
    """Whether one of the names is of a frame 0."""
    matches = (_LAST_NUMBER.fullmatch(stem) for stem in stems)
    return any(match is not None and int(match[2]) == 0 for match in matches)


def numbers_in_order(files: Sequence[str], where: str, what: str) -> list[int]:
    """The numbers of a video's frames, if these are called alike else; [] if not.

    Args:
        what: is in the files' order, for the message.

    Raises:
        AvisError: the numbers do not increase. Sorted as texts, frame 10 comes before frame 2: then what
            belongs to each frame is in that order, too.
    """
    matches = [_LAST_NUMBER.fullmatch(PurePosixPath(file).stem) for file in files]
    found = [((match[1], match[3]), int(match[2])) for match in matches if match is not None]
    if len(found) < len(files) or len({around for around, _ in found}) > 1:
        return []
    for k in range(1, len(found)):
        if found[k][1] <= found[k - 1][1]:
            raise AvisError(
                f"The frame {files[k][:100]!r} comes after {files[k - 1][:100]!r}, so the {what} are not in "
                "the order of time",
                where=where,
                fix="Sort the frames by their numbers (with leading zeros texts sort so, too); export again.",
            )
    return [number for _, number in found]


def refuse_other_order(files: Mapping[int, str], where: str, what: str) -> None:
    """Raise AvisError where a video's frames have numbers of their own in another order than their names'."""
    names = [files[number] for number in sorted(files)]
    if len(set(names)) > 1:  # the video's, where all have one
        numbers_in_order(names, where, what)


class FrameNames:
    """Reads the frame numbers of names without folder and ending, and notes how each video's are called."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[tuple[str, str], str]] = {}  # by video: around its number, and the name

    def fits(self, video: str, stem: str) -> bool:
        """Whether a name is like those of the video that were read."""
        match = _LAST_NUMBER.fullmatch(stem)
        return match is not None and self._first.get(video, (None,))[0] == (match[1], match[3])

    def number(self, video: str, stem: str, where: str) -> int | None:
        """The frame; None where the name has no number.

        Raises:
            AvisError: it differs from the video's other names in more than its last number, so that this may
                be of another video, a time or a hash.
        """
        match = _LAST_NUMBER.fullmatch(stem)
        if match is None:
            return None
        around, first = self._first.setdefault(video, ((match[1], match[3]), stem))
        if around != (match[1], match[3]):
            raise AvisError(
                f"Frames of the video {video!r} are called {first[:80]!r} and {stem[:80]!r}, which differ in "
                "more than the last number: it may not be the frame's",
                where=where,
                fix="Call the frames of a video alike but for their number, and give each video a folder.",
            )
        return int(match[2])
