"""A results file as a list of rows that stay on the disk: one pass finds them, each is read when needed.

A file of 100 tracks a video has a million masks: as Python objects they would not fit beside each other.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError

_BLOCK_BYTES = 1 << 24
_LONGEST_WORD = 10  # characters of -Infinity, and one more
_BLANK = " \t\r\n"
_NAMES = ("results", "annotations", "predictions", "detections", "tracks")  # of a list in an object


class BrokenListError(AvisError):
    """The file's list of rows ends early or is no JSON from some row on."""


class Rows(Sequence[tuple[int, bytes]]):
    """Some rows of a file, (number, JSON text) each; to another process they travel as their text."""

    def __init__(self, path: Path, spans: Sequence[tuple[int, int, int]]) -> None:
        """Args: path: the file. spans: (number of the row, its first byte, the byte after its last)."""
        self._path = path
        self._spans = list(spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Rows(self._path, self._spans[place])
        number, start, end = self._spans[place]
        with self._path.open("rb") as file:
            file.seek(start)
            return number, file.read(end - start)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        with self._path.open("rb") as file:
            for number, start, end in self._spans:
                file.seek(start)
                yield number, file.read(end - start)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def scan(
    path: Path, shown: Path | None = None, changes: Changes | None = None
) -> Iterator[tuple[int, int, Any]]:
    """Go once through a file that is one JSON list, holding a block of it and one row in memory.

    Args:
        path: of the file.
        shown: its name in messages, where it is another.
        changes: where it is said that the list stands in an object; without it such a file is refused.

    Yields:
        the row's first byte, the byte after its last, and its value. Its texts are read as Latin-1, so that
        a character is a byte: who needs them decodes the bytes.

    Raises:
        AvisError: there is no file, or it is no list.
        BrokenListError: the list is cut off or no JSON; the rows before were given.
    """
    decoder = json.JSONDecoder()
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise AvisError("there are no results", where=str(path)) from None
    except IsADirectoryError:
        raise AvisError("the results are a folder, not a file", where=str(path)) from None
    with file:
        window = _Window(file.read(_BLOCK_BYTES), file)
        if window.text.startswith("\xef\xbb\xbf"):  # the mark of UTF-8
            window.place = 3
        path = shown or path
        name = _enter_list(window, decoder, path, changes)
        number = 0
        while True:
            character = window.next_character()
            if character == "]" and number == 0:
                window.place += 1
                break
            try:
                start, end, value = window.next_value(decoder)
            except (ValueError, RecursionError) as error:
                raise _broken(path, number, error) from None
            yield start, end, value
            number += 1
            character = window.next_character()
            if character not in (",", "]"):
                raise _broken(path, number, "a comma or the end of the list is missing")
            window.place += 1
            if character == "]":
                break
        if name is not None:
            _leave_object(window, decoder, path, name, number)
        if window.next_character():
            raise _broken(path, number, "the list has ended, but the file goes on")


class _Window:
    """The part of the file that is in memory, and where in it the reader is."""

    def __init__(self, block: bytes, file: Any) -> None:
        self.text = block.decode("latin-1")
        self.place = 0
        self.first_byte = 0
        self._file = file

    def next_character(self) -> str:
        """Move to the next character that is no blank and return it, "" at the end of the file."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in _BLANK:
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self._read_on():
                return ""

    def next_value(self, decoder: json.JSONDecoder) -> tuple[int, int, Any]:
        """Read one JSON value, as many blocks as it takes."""
        while True:
            try:
                value, end = decoder.raw_decode(self.text, self.place)
            except json.JSONDecodeError as error:
                # an error far from the block's end is none of the cut
                within = error.pos < len(self.text) - _LONGEST_WORD and "string" not in error.msg
                if within or not self._read_on():
                    raise
                continue
            if end == len(self.text) and self._read_on():
                continue  # a number may go on in the next block
            start, self.place = self.place, end
            return self.first_byte + start, self.first_byte + end, value

    def _read_on(self) -> bool:
        block = self._file.read(max(_BLOCK_BYTES, len(self.text) - self.place))
        self.first_byte += self.place
        self.text = self.text[self.place :] + block.decode("latin-1")
        self.place = 0
        return bool(block)


def _enter_list(
    window: _Window, decoder: json.JSONDecoder, path: Path, changes: Changes | None
) -> str | None:
    """Move behind the [ of the list; return its name, if it stands in an object."""
    first = window.next_character()
    if window.text.startswith("\x1f\x8b"):
        raise AvisError("the results are packed with gzip", where=str(path), fix="Unpack them: gunzip.")
    if first not in ("[", "{"):
        raise AvisError(
            "not valid JSON: it does not begin with [" if first else "not valid JSON: the file is empty",
            where=str(path),
            fix="Results are a UTF-8 file with a JSON list of predicted tracks.",
        )
    window.place += 1
    if first == "[":
        return None
    for name in _names(window, decoder, path, 0) if changes is not None else ():
        if name in _NAMES and window.next_character() == "[":
            window.place += 1
            why = f"the tracks are the list under {name!r} in an object"
            assert changes is not None  # noqa: S101 - else no name is read
            changes.add(Kind.GUESSED, "file", why)
            return name
        _skip(window, decoder, path, 0)
    if changes is not None and window.next_character() == "{":
        raise AvisError(
            "the results are JSON lines, an object a line, and no JSON list",
            where=str(path),
            fix="Make a list of them: jq -s . FILE",
        )
    raise AvisError(
        f"results must be a JSON list of predicted tracks, or an object with one under {', '.join(_NAMES)}",
        where=str(path),
    )


def _leave_object(window: _Window, decoder: json.JSONDecoder, path: Path, taken: str, number: int) -> None:
    """Read what follows the list in its object."""
    if window.next_character() == ",":
        window.place += 1
        for name in _names(window, decoder, path, number):
            if name in _NAMES and window.next_character() == "[":
                raise AvisError(
                    f"there are lists under {taken!r} and {name!r}",
                    where=str(path),
                    fix="Keep the tracks alone.",
                )
            _skip(window, decoder, path, number)
    elif window.next_character() == "}":
        window.place += 1
    else:
        raise _broken(path, number, "the end of the object is missing")


def _names(window: _Window, decoder: json.JSONDecoder, path: Path, number: int) -> Iterator[str]:
    """The names of an object, one after another, and move behind its }; the value is read in between."""
    while window.next_character() != "}":
        name = _skip(window, decoder, path, number)
        if not isinstance(name, str) or window.next_character() != ":":
            raise _broken(path, number, "a name and its value are missing")
        window.place += 1
        yield name
        character = window.next_character()
        if character == ",":
            window.place += 1
        elif character != "}":
            raise _broken(path, number, "a comma or the end of the object is missing")
    window.place += 1


def _skip(window: _Window, decoder: json.JSONDecoder, path: Path, number: int) -> Any:
    window.next_character()
    try:
        return window.next_value(decoder)[2]
    except (ValueError, RecursionError) as error:
        raise _broken(path, number, error) from None


def _broken(path: Path, number: int, error: Exception | str) -> BrokenListError:
    if isinstance(error, RecursionError):
        error = "it is nested too deeply"
    return BrokenListError(
        f"not valid JSON: {error.msg if isinstance(error, json.JSONDecodeError) else error}",
        where=f"{path}, row {number}",
        fix="Perhaps the file is cut off: write it again.",
    )
