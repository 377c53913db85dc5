"""Fields of foreign files, checked as they are read."""

import reprlib
from collections.abc import Mapping
from typing import Any

from components.core.run.errors import AvisError


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """A JSON object; raises AvisError."""
    if not isinstance(value, Mapping):
        raise AvisError(f"{reprlib.repr(value)} is no object", where=where)
    return value


def whole(row: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number, also one written as 3.0; raises AvisError."""
    value = row.get(key)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) > 2**53:
        raise AvisError(f"{reprlib.repr(value)} is no whole number", where=f"{where}, field {key}")
    return value


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
