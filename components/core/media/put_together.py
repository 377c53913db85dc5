"""Files that were put end to end where the format does not allow it: FFmpeg reads the first, or mixes them.
And MP4 files that end too early.

MPEG-TS and -PS and Ogg allow it; `clocks` reads their parts, and those of a Matroska whose tracks are alike:
of others FFmpeg decodes the second part as the first one's tracks say, AAC of 44.1 kHz as if it had 48.
An MP4 that names its tracks again and goes on in time, as recorders of streams write it, is one file.
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

_FLV_TAGS = (8, 9, 18)  # sound, picture, script data
# Matroska (RFC 9559): the elements that are opened, and what of a track decides how it is decoded.
_HEADER, _SEGMENT, _CLUSTER, _TRACKS = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1654AE6B
_TRACK, _AUDIO = 0xAE, 0xE1
_MOST_ELEMENTS, _LONGEST_SETTING = 1_000_000, 4_096  # looked at; bytes
_DECISIVE = (0xD7, 0x86, 0x63A2, 0xB5)  # its number, codec, the codec's settings, samples a second


def other_file_at(path: Path) -> int | None:
    """The byte at which another file of its format begins; None where there is none, or clocks reads it."""
    with path.open("rb") as file:
        head = file.read(12)
        look = next((look for place, mark, look in _LOOKS if head[place : place + len(mark)] == mark), None)
        if look is None:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return look(content)
            except (struct.error, IndexError):  # a box ends before its fields: FFmpeg says what that means
                return None


def ends_before_index(path: Path) -> bool:
    """Whether an MP4 file ends before the tables of its tracks do; others do not."""
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if any(name == b"moov" for name, *_ in _boxes(content, 0, len(content))):
                return False
            name, first = _cut_box(content, 0)
            return name == b"mdat" or (name == b"moov" and _cut_box(content, first)[0] != b"udta")


def codecs_of(path: Path, kind: str) -> str:
    """What an MP4 file calls the codecs of its tracks of a kind ("soun", "vide"); "" in other formats."""
    found = []
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for _, _, first, end in _inside(content, [b"moov", b"trak", b"mdia"], 0, len(content)):
                handler = next(_inside(content, [b"hdlr"], first, end), None)
                table = next(_inside(content, [b"minf", b"stbl", b"stsd"], first, end), None)
                if handler and table and content[handler[2] + 8 : handler[2] + 12] == kind.encode():
                    found.append(content[table[2] + 12 : table[2] + 16].decode("ascii", "replace"))
    return ", ".join(name for name in found if name.isprintable())


def _inside(
    content: mmap.mmap, names: list[bytes], start: int, end: int
) -> Iterator[tuple[bytes, int, int, int]]:
    """The boxes that lie in each other by these names."""
    for box in _boxes(content, start, end):
        if box[0] == names[0]:
            yield from _inside(content, names[1:], box[2], box[3]) if names[1:] else [box]


def _cut_box(content: mmap.mmap, start: int) -> tuple[bytes, int]:
    """The name of the box in whose middle the file ends, and the first byte of what it holds."""
    end = max((end for *_, end in _boxes(content, start, len(content))), default=start)
    return content[end + 4 : end + 8], end + 8


def _after_flv(content: mmap.mmap) -> int | None:
    at = 9 + 4  # the header, and the length of no tag before it
    while at + 11 <= len(content):
        if content[at : at + 4] == b"FLV\x01":
            return at
        if content[at] not in _FLV_TAGS:  # damage: FFmpeg looks for what follows
            return None
        at += 11 + int.from_bytes(content[at + 1 : at + 4], "big") + 4
    return None


def _after_avi(content: mmap.mmap) -> int | None:
    at = 0
    while content[at : at + 4] == b"RIFF":  # large ones go on in others, of the kind AVIX
        if at and content[at + 8 : at + 12] == b"AVI ":
            return at
        size = struct.unpack_from("<I", content, at + 4)[0]
        at += 8 + size + size % 2
    return None


def _after_matroska(content: mmap.mmap) -> int | None:
    """Where other tracks begin."""
    header_at, described = 0, None
    for name, start, first, end in islice(_elements(content, 0, len(content)), _MOST_ELEMENTS):
        if name == _HEADER:
            header_at = start
        elif name == _TRACKS:
            tracks = [
                {
                    part: content[begin : min(until, begin + _LONGEST_SETTING)]
                    for part, _, begin, until in _elements(content, *place)
                    if part in _DECISIVE
                }
                for track, _, *place in _elements(content, first, end)
                if track == _TRACK
            ]
            if described is not None and tracks != described:
                return header_at
            described = tracks
    return None


def _elements(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(name, first byte, first byte of what it holds, byte after it); some are followed by what they hold."""
    while at < end and content[at]:
        start = at
        length = 9 - content[at].bit_length()
        name = int.from_bytes(content[at : at + length], "big")
        at += length
        length = 9 - content[at].bit_length()
        size = int.from_bytes(content[at : at + length], "big") - (1 << 7 * length)
        at += length
        is_open = size == (1 << 7 * length) - 1
        yield name, start, at, end if is_open else at + size
        if not (name in (_SEGMENT, _AUDIO) or (is_open and name == _CLUSTER)):
            at += size


def _after_mp4(content: mmap.mmap) -> int | None:
    """Where the tracks are named anew and the time does not go on."""
    times: dict[int, int] = {}  # of each track's last fragment, in its ticks
    last_ftyp = named_at = 0
    is_named = False
    for name, start, first, end in _boxes(content, 0, len(content)):
        if name == b"ftyp":
            last_ftyp = start
        elif name == b"moov" and is_named:
            named_at = last_ftyp or start
            if not times:  # no fragments: of two tables of samples the first alone counts
                return named_at
        elif name == b"moov":
            is_named = True
        elif name == b"moof":
            found = dict(_fragment_times(content, first, end))
            if named_at and any(time <= times.get(track, -1) for track, time in found.items()):
                return named_at
            named_at = 0
            times |= found
    return None


def _fragment_times(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(track, time in its ticks) of the parts of a fragment (ISO 14496-12: tfhd, tfdt)."""
    for name, _, first, last in _boxes(content, start, end):
        if name == b"traf":
            inside = {part: place for part, _, place, _ in _boxes(content, first, last)}
            if b"tfhd" in inside and b"tfdt" in inside:
                wide = content[inside[b"tfdt"]] == 1
                time = struct.unpack_from(">Q" if wide else ">I", content, inside[b"tfdt"] + 4)[0]
                yield struct.unpack_from(">I", content, inside[b"tfhd"] + 4)[0], time


def _boxes(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """(name, first byte, first byte of what it holds, byte after it) of each box."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", content, start)
        first = start + 8
        if size == 1 and first + 8 <= end:
            size, first = struct.unpack_from(">Q", content, first)[0], first + 8
        size = size or end - start
        if size < first - start or start + size > end:
            return
        yield name, start, first, start + size
        start += size


_LOOKS: tuple[tuple[int, bytes, Callable[[mmap.mmap], int | None]], ...] = (
    (0, b"FLV", _after_flv),
    (0, b"RIFF", _after_avi),
    (0, _HEADER.to_bytes(4, "big"), _after_matroska),
    (4, b"ftyp", _after_mp4),
)
