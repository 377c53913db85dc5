"""What a JPEG's markers say, without decoding it: hundreds of times faster than looking at the picture."""

import os
from pathlib import Path

_HEAD = 4096  # bytes; what some cameras write before the size needs another read
_TAIL = 1024
_START, _END = b"\xff\xd8", b"\xff\xd9"
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # "start of frame" of each coding


def jpeg_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels; None where the file is missing, is no JPEG or is cut off."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        length = os.fstat(file).st_size
        if _END not in os.pread(file, _TAIL, max(0, length - _TAIL)):
            return None
        head = os.pread(file, _HEAD, 0)
        return _size(head) or (_size(os.pread(file, length, 0)) if length > _HEAD else None)
    except OSError:
        return None
    finally:
        os.close(file)


def _size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(_START):
        return None
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _SIZES:
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            return (width, height) if width and height else None
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without content
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
