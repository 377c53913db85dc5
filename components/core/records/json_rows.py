"""Large JSON files row by row: the file is mapped into memory and only the row at hand is decoded."""

import mmap
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from components.core.run.errors import AvisError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK_BYTES = 1 << 22
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NAME = re.compile(rb'\s*[{,]\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)  # with what stands around it
_QUOTE, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4
_KINDS = np.zeros(256, dtype=np.uint8)  # of the signs that make JSON's structure
for _signs, _kind in ((b'"', _QUOTE), (b"[{", _OPEN), (b"]}", _CLOSE), (b",", _COMMA)):
    _KINDS[list(_signs)] = _kind


class JsonObject:
    """A JSON file that holds one object. Its fields are decoded when they are asked for, lists row by row."""

    def __init__(self, path: Path, fields: dict[str, msgspec.Raw]) -> None:
        self._path = path
        self._fields = fields

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(self._fields)

    def value(self, key: str, default: Any = None) -> Any:
        """One field, decoded as a whole; raises AvisError where it is no valid JSON."""
        if key not in self._fields:
            return default
        return _decode(self._fields[key], f"{self._path}, field {key}")

    def rows(self, key: str, kind: Any = Any) -> Iterator[tuple[str, Any]]:
        """Each row of the list `key`, decoded, with its place for messages ("a.json, videos[3]").

        Args:
            kind: a struct of the fields that are wanted; a row that is no object has none of them.

        Raises:
            AvisError: there is no such list, or a row is no valid JSON.
        """
        raw = self._fields.get(key)
        if raw is None or bytes(memoryview(raw)[:1]) != b"[":
            raise AvisError(f"the list {key!r} is missing", where=str(self._path))
        return _rows(raw, self._path, key, kind)


def read_object(path: Path, what: str) -> JsonObject:
    """Open a JSON file that holds an object; `what` says what is in it ("annotations"), for messages.

    Raises:
        AvisError: it is missing, cut off, no JSON, or no object, or a field stands twice.
    """
    buffer = _map(path, what)
    if bytes(buffer[:1024]).lstrip()[:1] == b"{":
        fields = _decode(buffer, str(path), dict[str, msgspec.Raw])
        _refuse_twice(buffer, fields, path)
        return JsonObject(path, fields)
    _decode(buffer, str(path), msgspec.Raw)  # no JSON at all is said first
    raise AvisError(f"{what} must be a JSON object", where=str(path))


def _refuse_twice(buffer: memoryview, fields: dict[str, msgspec.Raw], path: Path) -> None:
    """Raise AvisError where a field stands twice: what lies between two values is then more than a name."""
    start, end = _address(buffer), 0
    for at, length in sorted((_address(raw) - start, len(memoryview(raw))) for raw in fields.values()):
        between = buffer[end:at]
        if not _NAME.fullmatch(between):
            first = _NAME.match(between)
            name = "" if first is None else f" {first[1][:80].decode(errors='replace')}"
            raise AvisError(
                f"the field{name} stands twice", where=str(path), fix="Keep one of them: make the file again."
            )
        end = at + length


def _address(content: memoryview | msgspec.Raw) -> int:
    address: int = np.frombuffer(content, dtype=np.uint8).ctypes.data
    return address


def read_list(path: Path, what: str) -> Iterator[tuple[str, Any]]:
    """Each row of a JSON file that holds a list, decoded, with its place for messages ("a.json, row 3").

    Raises:
        AvisError: it is missing, cut off, no JSON, or no list; a row is no valid JSON.
    """
    raw = _decode(_map(path, what), str(path), msgspec.Raw)
    if bytes(memoryview(raw)[:1]) != b"[":
        raise AvisError(f"{what} must be a JSON list", where=str(path))
    return _rows(raw, path, None)


def first_keys(path: Path) -> tuple[str, ...]:
    """The names in a file's object, or, after "[]", in the first row of its list; () where it is broken."""
    try:
        raw = _decode(_map(path, "rows"), str(path), msgspec.Raw)
        if bytes(memoryview(raw)[:1]) == b"{":
            return tuple(_decode(raw, str(path), dict[str, msgspec.Raw]))
        rows = list_rows(raw, str(path))
        return ("[]", *(_decode(rows[0], str(path), dict[str, msgspec.Raw]) if rows else ()))
    except AvisError:
        return ()


def list_rows(raw: msgspec.Raw | bytes, where: str) -> list[msgspec.Raw]:
    """The rows of a list that is not decoded yet, neither being decoded; raises AvisError."""
    rows: list[msgspec.Raw] = _decode(raw, where, list[msgspec.Raw])
    return rows


def _map(path: Path, what: str) -> memoryview:
    """The file's bytes, of which only what is read takes memory; the rows keep it open."""
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise AvisError(f"there are no {what}", where=str(path)) from None
    except ValueError:  # an empty file has nothing to map
        content = memoryview(b"")
    return content[len(_BYTE_ORDER_MARK) :] if content[:3] == _BYTE_ORDER_MARK else content


def _rows(raw: msgspec.Raw, path: Path, key: str | None, kind: Any = Any) -> Iterator[tuple[str, Any]]:
    place = f"{path}, row" if key is None else f"{path}, {key}"
    rows = (row for block in _blocks(raw) for row in list_rows(block, str(path)))
    for index, row in enumerate(rows):
        where = f"{place} {index}" if key is None else f"{place}[{index}]"
        is_object = kind is Any or bytes(memoryview(row)[:1]) == b"{"
        yield where, _decode(row, where, kind) if is_object else kind()


def _blocks(raw: msgspec.Raw) -> Iterator[msgspec.Raw | bytes]:
    """A list of valid JSON as lists of some of its rows each: even undecoded, millions of rows take memory.

    It is cut at commas that stand in no string and in no other list or object.
    """
    if len(memoryview(raw)) <= _BLOCK_BYTES:
        yield raw
        return
    inner = memoryview(raw)[1:]  # up to its ], which closes what was never opened
    start, depth, in_string, is_escaped = 0, 0, False, False
    for at in range(0, len(inner), _BLOCK_BYTES):
        piece = bytes(inner[at : at + _BLOCK_BYTES])
        if is_escaped:
            piece = b"_" + piece[1:]
        if b"\\" in piece:
            piece = _ESCAPED.sub(b"__", piece)
        is_escaped = piece.endswith(b"\\")
        kinds = _KINDS[np.frombuffer(piece, dtype=np.uint8)]
        places = np.flatnonzero(kinds)
        if not len(places):
            continue
        kinds = kinds[places]
        inside = (np.cumsum(kinds == _QUOTE) + in_string) % 2 == 1
        steps = np.where(inside, 0, (kinds == _OPEN).astype(np.int64) - (kinds == _CLOSE))
        depths = depth + np.cumsum(steps)
        ends = places[(kinds == _COMMA) & ~inside & (depths == 0)]
        if len(ends):
            end = at + int(ends[-1])
            yield b"".join((b"[", inner[start:end], b"]"))
            start = end + 1
        depth, in_string = int(depths[-1]), bool(inside[-1])
    yield b"".join((b"[", inner[start:]))


def _decode(raw: memoryview | msgspec.Raw | bytes, where: str, kind: Any = Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of too many digits, too deep
        raise AvisError(
            f"not valid JSON: {error}{_near(raw, error)}",
            where=where,
            fix="Perhaps the file is cut off: make it again.",
        ) from None


def _near(raw: memoryview | msgspec.Raw | bytes, error: Exception) -> str:
    """What stands around the byte that an error names: it tells the row and the field."""
    at = re.search(r"\(byte (\d+)\)", str(error))
    if at is None:
        return ""
    text = bytes(memoryview(raw)[max(0, int(at[1]) - 40) : int(at[1]) + 20])
    hint = ", and NaN or Infinity is no number in JSON" if re.search(rb"[:,[\s-](NaN|Infinity)", text) else ""
    return f" near {text.decode(errors='replace')!r}{hint}"


def whole_number(value: object, where: str, field: str) -> int:
    """The value of a field, which must be a whole number; raises AvisError naming it."""
    if type(value) is not int:
        raise AvisError(f"{reprlib.repr(value)} is no whole number", where=f"{where}, field {field}")
    return value


def text(value: object, where: str, field: str) -> str:
    """The value of a field, which must be a text that is not empty; raises AvisError naming it."""
    if not isinstance(value, str) or not value:
        raise AvisError(f"{reprlib.repr(value)} is no text", where=f"{where}, field {field}")
    return value
