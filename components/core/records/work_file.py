"""Values on the disk while they are worked on: annotations of many gigabytes do not fit into memory.

The file has no name: the system removes it with the process, however that ends. What fits into one block
stays in memory, and no file is made for it.
"""

import copyreg
import io
import os
import pickle
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import IO, Any, overload

import msgspec

from components.core.run.disk import noticing_full_disk
from components.core.run.errors import AvisError
from components.core.run.files import nearest_folder

_BLOCK_BYTES = 1 << 22
_FIRST_READ_BYTES = 4096  # most values are shorter
_LENGTH_BYTES = 4
_LEAST_MERGED = 256


class LongNumberError(AvisError):
    """A whole number is too long for a work file."""


class WorkFile:
    """Values that are added one after another, and read in any order.

    folder: where the file lies, if one is needed: beside what is made of it; None: where the system has such
        files, which may be in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._file: IO[bytes] | None = None
        self._on_disk = 0  # bytes
        self._block = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    def add(self, value: Any) -> int:
        """Keep a value as JSON has them; returns its place.

        Raises:
            DiskFullError: there is no room for it.
            LongNumberError: it has a number of more than 64 bits.
        """
        try:
            content = self._encode(value)
        except OverflowError:
            raise LongNumberError(
                "A number has more than 64 bits", fix="No mask or name needs such a number: export it again."
            ) from None
        place = self._on_disk + len(self._block)
        self._block += len(content).to_bytes(_LENGTH_BYTES, "little") + content
        if len(self._block) >= _BLOCK_BYTES:
            self._write_block()
        return place

    def get(self, place: int) -> Any:
        """The value at a place; a new object each time."""
        if place >= self._on_disk:
            start = place - self._on_disk + _LENGTH_BYTES
            length = int.from_bytes(self._block[start - _LENGTH_BYTES : start], "little")
            return self._decode(self._block[start : start + length])
        assert self._file is not None  # noqa: S101 - something is in it
        content = os.pread(self._file.fileno(), _FIRST_READ_BYTES, place)
        length = int.from_bytes(content[:_LENGTH_BYTES], "little")
        content = content[_LENGTH_BYTES : _LENGTH_BYTES + length]
        while len(content) < length:
            at = place + _LENGTH_BYTES + len(content)
            content += os.pread(self._file.fileno(), length - len(content), at)
        return self._decode(content)

    def _write_block(self) -> None:
        folder = self.folder or Path(tempfile.gettempdir())
        with noticing_full_disk(folder, "what is kept of the annotations while they are read", lambda: None):
            self.share()
            assert self._file is not None  # noqa: S101 - it is there now
            written = 0
            while written < len(self._block):
                with memoryview(self._block) as block:
                    written += os.pwrite(self._file.fileno(), block[written:], self._on_disk + written)
        self._on_disk += len(self._block)
        self._block.clear()

    def share(self) -> None:
        """Make the file now: a process that is forked from this one then writes to the same."""
        if self._file is None:
            folder = nearest_folder(self.folder or Path(tempfile.gettempdir()))
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the last value

    @property
    def size_bytes(self) -> int:
        """On the disk."""
        return self._on_disk

    def packed(self, value: Any) -> bytes:
        """A value for the process that this one was forked from: what lies in the shared file stays there."""
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer)
        pickler.dispatch_table = copyreg.dispatch_table | {Frames: self._place_of, Numbered: self._places_of}
        pickler.dump((value, self._on_disk, bytes(self._block)))
        return buffer.getvalue()

    def unpacked(self, content: bytes) -> Any:
        """What such a process packed, the only one that wrote to the file meanwhile."""
        _receiving.append(self)
        try:
            value, self._on_disk, block = pickle.loads(content)  # noqa: S301 - our own process's bytes
        finally:
            _receiving.pop()
        self._block = bytearray(block)
        return value

    def _place_of(self, frames: "Frames") -> tuple[Any, ...]:
        if frames._values._file is not self:
            return frames.__reduce__()
        return Frames, (frames._values, frames._length, frames._missing)

    def _places_of(self, numbered: "Numbered") -> tuple[Any, ...]:
        if numbered._file is not self:
            return dict, (dict(numbered),)
        numbered._merge()
        return _received, (numbered._numbers, numbered._places)


_receiving: list[WorkFile] = []


def _received(numbers: "array[int]", places: "array[int]") -> "Numbered":
    numbered = Numbered(_receiving[-1])
    numbered._numbers, numbered._places = numbers, places
    return numbered


class Numbered(MutableMapping[int, Any]):
    """Values by number, in its order; each takes 8 or 16 bytes of memory and lies on the disk."""

    __slots__ = ("_file", "_late", "_numbers", "_places")

    def __init__(self, file: WorkFile) -> None:
        self._file = file
        self._numbers: range | array[int] = range(0)  # ascending; a range while none is left out
        self._places = array("q")
        self._late: dict[int, int] = {}  # places of numbers that came after higher ones

    def __len__(self) -> int:
        return len(self._numbers) + len(self._late)

    def __iter__(self) -> Iterator[int]:
        self._merge()
        return iter(self._numbers)

    def __contains__(self, number: object) -> bool:
        return self._place(number) is not None

    def __getitem__(self, number: int) -> Any:
        place = self._place(number)
        if place is None:
            raise KeyError(number)
        return self._file.get(place)

    def __setitem__(self, number: int, value: Any) -> None:
        self._put(number, self._file.add(value))

    def __delitem__(self, number: int) -> None:
        self._merge()
        at = bisect_left(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number:
            raise KeyError(number)
        del self._listed()[at], self._places[at]

    def value(self, number: int, missing: Any) -> Any:
        """As `get`, without the price of an exception where it is missing."""
        place = self._place(number)
        return missing if place is None else self._file.get(place)

    def taken(self, numbers: Sequence[int | None]) -> "Numbered":
        """The values of some numbers, numbered anew from 0; None and what is not there give nothing."""
        taken = Numbered(self._file)
        if isinstance(numbers, range) and numbers.step == 1:
            self._merge()
            begin, end = (bisect_left(self._numbers, at) for at in (numbers.start, numbers.stop))
            taken._numbers = array("q", (number - numbers.start for number in self._numbers[begin:end]))
            taken._places = self._places[begin:end]
            return taken
        for new, number in enumerate(numbers):
            place = None if number is None else self._place(number)
            if place is not None:
                taken._put(new, place)
        return taken

    def _place(self, number: Any) -> int | None:
        at = bisect_left(self._numbers, number)
        if at < len(self._numbers) and self._numbers[at] == number:
            return self._places[at]
        return self._late.get(number)

    def _put(self, number: int, place: int) -> None:
        if not self._numbers or number > self._numbers[-1]:
            if isinstance(self._numbers, range) and number == len(self._numbers):
                self._numbers = range(number + 1)
            else:
                self._listed().append(number)
            self._places.append(place)
            return
        at = bisect_left(self._numbers, number)
        if self._numbers[at] == number:
            self._places[at] = place
            return
        self._late[number] = place
        if len(self._late) > max(_LEAST_MERGED, len(self._numbers) // 4):
            self._merge()

    def _listed(self) -> "array[int]":
        if isinstance(self._numbers, range):
            self._numbers = array("q", self._numbers)
        return self._numbers

    def _merge(self) -> None:
        if self._late:
            pairs = sorted([*zip(self._numbers, self._places, strict=True), *self._late.items()])
            self._numbers = array("q", (number for number, _ in pairs))
            self._places = array("q", (place for _, place in pairs))
            self._late.clear()


class Frames(Sequence[Any]):
    """A value for each frame, on the disk; equal to the list of the same values.

    missing: stands for the frames that have none.
    """

    __slots__ = ("_length", "_missing", "_values")

    def __init__(self, values: Numbered, length: int, missing: Any = None) -> None:
        self._values = values
        self._length = length
        self._missing = missing

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, frame: int) -> Any: ...
    @overload
    def __getitem__(self, frame: slice) -> list[Any]: ...
    def __getitem__(self, frame: int | slice) -> Any:
        if isinstance(frame, slice):
            return [self[k] for k in range(*frame.indices(self._length))]
        if not -self._length <= frame < self._length:
            raise IndexError(frame)
        return self._values.value(frame % self._length, self._missing)

    def __iter__(self) -> Iterator[Any]:  # of a track's many frames, few have a mask
        next_frame = 0
        for frame, value in self._values.items():
            if frame >= self._length:
                break
            yield from repeat(self._missing, frame - next_frame)
            yield value
            next_frame = frame + 1
        yield from repeat(self._missing, self._length - next_frame)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    def __deepcopy__(self, memo: object) -> "Frames":
        return self  # nothing changes it

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)  # to another process, which has no such file, they travel as a list

    @property
    def numbers(self) -> Sequence[int]:
        """The frames that have a value."""
        return list(self._values)

    def taken(self, frames: Sequence[int | None]) -> "Frames":
        """The values of some frames, one after another; None: nothing."""
        return Frames(self._values.taken(frames), len(frames), self._missing)


def on_disk(values: Sequence[Any], file: WorkFile, missing: Any = None) -> Frames:
    """Put a list there; those that are `missing` take no place."""
    numbered = Numbered(file)
    for frame, value in enumerate(values):
        if value != missing:
            numbered[frame] = value
    return Frames(numbered, len(values), missing)


def taken(values: Sequence[Any], frames: Sequence[int | None]) -> Sequence[Any]:
    """The values of some frames, one after another, where the others are; None: no value."""
    if isinstance(values, Frames):
        return values.taken(frames)
    return [None if frame is None else values[frame] for frame in frames]


def count_values(values: Sequence[Any]) -> int:
    """How many of a track's frames have a mask, or what was begun of one: neither None nor an empty list."""
    return sum(map(bool, values))
