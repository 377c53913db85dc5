"""Fields of foreign files, checked as they are read."""

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from components.core.run.errors import AvisError

_WHOLE = re.compile(r"-?[0-9]{1,15}(\.0+)?")


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """A JSON object; raises AvisError."""
    if not isinstance(value, Mapping):
        raise AvisError(f"{reprlib.repr(value)} is no object", where=where)
    return value


def whole(row: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number, also one written as 3.0, "3" or "3.0"; raises AvisError."""
    value = row.get(key)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) > 2**53:
        raise AvisError(f"{reprlib.repr(value)} is no whole number", where=f"{where}, field {key}")
    return value


def number_or_text(row: Mapping[str, Any], key: str, where: str) -> int | str:
    """An identity: a whole number, however it is written, or another text; raises AvisError."""
    value = row.get(key)
    if isinstance(value, str) and value and not _WHOLE.fullmatch(value):
        return value
    return whole(row, key, where)


def flag(row: Mapping[str, Any], key: str, where: str) -> int:
    """0 or 1, also as a truth value; 0 where it is missing or null; raises AvisError."""
    value = row.get(key)
    if value is None or isinstance(value, bool):
        return int(bool(value))
    number = whole(row, key, where)
    if number not in (0, 1):
        raise AvisError(f"{number} is neither 0 nor 1", where=f"{where}, field {key}")
    return number


def text(row: Mapping[str, Any], key: str, where: str) -> str:
    """A text that is not empty; raises AvisError."""
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise AvisError(f"{reprlib.repr(value)} is no text", where=f"{where}, field {key}")
    return value


def numbers(value: object, where: str) -> list[float]:
    """A list of finite numbers below a million; raises AvisError."""
    if not isinstance(value, list) or not all(type(x) in (int, float) and abs(x) < 1e6 for x in value):
        raise AvisError(f"{reprlib.repr(value)} is no list of coordinates", where=where)
    return [float(x) for x in value]
