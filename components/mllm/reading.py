"""Reads an answer tolerantly in its form, strictly in what it says: nothing is guessed.

Thoughts, prose and code fences around the one JSON object are left aside; number words, clock times, synonyms
and units that are written out are understood. What has two meanings, or none, is invalid.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from components.mllm.choices import Choice
from components.mllm.params import BoxUnit, Modality
from components.mllm.sounding import BOX_SCALE, Box, Sounding

Size = tuple[float, float]
"""Width and height of the pictures as they were sent."""

_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBERS = {word: number for number, word in enumerate(_WORDS)}
_PARTS = ("who", "when", "where")
_MOST_LETTERS = 1_000_000
_MOST_COUNT = 10_000
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{2})(?:\.0+)?")
_SECOND = re.compile(r"(?:second |t ?= ?)?(\d{1,9}|[a-z]+)(?:\.0+)? ?(?:s|sec|secs|second|seconds)?")
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(%|px|‰)?")


class InvalidAnswer(ValueError):  # noqa: N818 - an outcome that is counted, not a failure of ours
    """The answer does not say what was asked for; the message says where."""


def read_answer(
    text: str,
    *,
    modality: Modality,
    categories: Sequence[str],
    length_s: int,
    box_unit: BoxUnit = "per_mille",
    size: Callable[[], Size] | None = None,
) -> Sounding:
    """Reads a model's text.

    Args:
        box_unit: what plain numbers of boxes mean, as the question said.
        size: of the pictures, where pixels are to be read.

    Raises:
        InvalidAnswer: there is no such JSON object, or several that differ; an unknown category, a second
            outside the clip, a category named twice, or a box that is no box.
    """
    parts = _PARTS[:2] if modality == "audio" else _PARTS
    answer = _only_object(text, parts)
    names = _names(categories)

    def rows(part: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
        if not isinstance(answer[part], list):
            raise InvalidAnswer(f"{part}: not a list")
        for index, row in enumerate(answer[part]):
            if not isinstance(row, dict):
                raise InvalidAnswer(f"{part}.{index}: not an object")
            yield f"{part}.{index}", row

    def category(row: Mapping[str, Any], place: str) -> str:
        said = row.get("category")
        found = names(said) if isinstance(said, str) else None
        if found is None:
            raise InvalidAnswer(f"{place}: {str(said)[:80]!r} is none of the categories")
        return found

    def second(said: object, place: str) -> int:
        value = _second(said)
        if value is None:
            raise InvalidAnswer(f"{place}: {str(said)[:80]!r} is no second")
        if not 0 <= value < length_s:
            raise InvalidAnswer(f"{place}: second {value} is not in 0 … {length_s - 1}")
        return value

    counts: dict[str, int] = {}
    for place, row in rows("who"):
        name = category(row, place)
        count = _whole(row.get("count"))
        if count is None or not 1 <= count <= _MOST_COUNT:
            raise InvalidAnswer(f"{place}.count: {str(row.get('count'))[:80]!r} is no number of objects")
        if name in counts:
            raise InvalidAnswer(f"{place}: {name} is named twice")
        counts[name] = count
    seconds: dict[str, frozenset[int]] = {}
    for place, row in rows("when"):
        name = category(row, place)
        if name in seconds:
            raise InvalidAnswer(f"{place}: {name} is named twice")
        if not isinstance(row.get("seconds"), list):
            raise InvalidAnswer(f"{place}.seconds: not a list")
        seconds[name] = frozenset(
            second(value, f"{place}.seconds.{index}") for index, value in enumerate(row["seconds"])
        )
    boxes: dict[int, list[tuple[str, Box]]] = {}
    for place, row in rows("where") if modality != "audio" else ():
        name = category(row, place)
        box = _box(row.get("box", row.get("bbox", row.get("bbox_2d"))), place, box_unit, size)
        boxes.setdefault(second(row.get("second"), place), []).append((name, box))
    return Sounding(
        length_s=length_s,
        counts=counts,
        seconds={name: values for name, values in seconds.items() if values},
        boxes=None if modality == "audio" else {key: tuple(value) for key, value in boxes.items()},
    )


def read_choice(text: str, choice: Choice) -> str:
    """Reads which option a model's text names.

    Raises:
        InvalidAnswer: there is no JSON object with one answer, or it is none of the options.
    """
    said = _only_object(text, ["answer"])["answer"]
    means: dict[str, set[str]] = {}
    for option in choice.options:
        kinds = [_plain(word) for word in (option.category, *_synonyms().get(_plain(option.category), ()))]
        words = {_plain(option.name)}
        if option.centre is None:
            words |= set(kinds)
        else:
            side = option.name.partition(" ")[0]
            words |= {f"{side} {word}" for word in kinds}
            if choice.kind == "refer":
                words |= {f"{side} one", f"{side} object"}
        for word in words:
            means.setdefault(word, set()).add(option.name)
    found = means.get(_plain(said)) if isinstance(said, str) else None
    if not found or len(found) > 1:
        raise InvalidAnswer(f"answer: {str(said)[:80]!r} is not one of {', '.join(choice.names)}")
    return next(iter(found))


def _only_object(text: str, parts: Sequence[str]) -> dict[str, Any]:
    """The one JSON object that has all parts; the same said twice is one."""
    if not text.strip():
        raise InvalidAnswer("the answer is empty")
    if len(text) > _MOST_LETTERS:
        raise InvalidAnswer(f"the answer has more than {_MOST_LETTERS:,} letters")
    spoken = re.sub(r"<think>.*?</think>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    spoken = re.sub(r"<think>.*", " ", spoken, flags=re.DOTALL | re.IGNORECASE)  # it never ended
    found: list[dict[str, Any]] = []
    lacking = f"there is no JSON object with {', '.join(parts)}"
    for value in _objects(spoken):
        if len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
            value = inner  # {"answer": {…}}
        missing = [part for part in parts if part not in value]
        if len(missing) == len(parts):
            continue
        if missing:
            lacking = f"{missing[0]}: missing"
        elif value not in found:
            found.append(value)
    if not found:
        raise InvalidAnswer(lacking)
    if len(found) > 1:
        raise InvalidAnswer(f"{len(found)} JSON objects say different things")
    return found[0]


def _objects(text: str) -> Iterable[dict[str, Any]]:
    """Every JSON object in a text that is no part of another."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_doubles, parse_constant=_refuse)
    start = text.find("{")
    for _ in range(1000):  # a text of nothing but braces is no answer
        if start < 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except RecursionError:
            return
        except ValueError:
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _names(categories: Sequence[str]) -> Callable[[str], str | None]:
    """Finds the category that a word means, None where it means none, or several."""
    means: dict[str, set[str]] = {}
    for category in categories:
        for word in (category, *_synonyms().get(_plain(category), ())):
            means.setdefault(_plain(word), set()).add(category)
    exact = {_plain(category): category for category in categories}

    def find(said: str) -> str | None:
        word = _plain(said)
        if word in exact:
            return exact[word]
        found = means.get(word) or means.get(word.removesuffix("s")) or set()
        return next(iter(found)) if len(found) == 1 else None

    return find


def _plain(word: str) -> str:
    words = re.sub(r"[\s_-]+", " ", word.casefold()).strip()
    return re.sub(r"^(?:an?|the) ", "", words)


@cache
def _synonyms() -> dict[str, list[str]]:
    import yaml

    table = yaml.safe_load((Path(__file__).parent / "prompts" / "synonyms.yaml").read_text())
    return {_plain(category): words for category, words in table.items()}


def _whole(said: object) -> int | None:
    """3, 3.0, "3" and "three"."""
    if isinstance(said, str):
        word = said.strip().casefold()
        return int(word) if re.fullmatch(r"[0-9]{1,9}", word) else _NUMBERS.get(word)
    if isinstance(said, bool) or not isinstance(said, int | float) or said != said // 1:
        return None
    return int(said)


def _second(said: object) -> int | None:
    """A whole second: as numbers are written, as "3 s", or as a clock has it, "0:03"."""
    if not isinstance(said, str):
        return _whole(said)
    word = said.strip().casefold()
    if clock := _CLOCK.fullmatch(word):
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return None if seconds > 59 or (clock[1] and minutes > 59) else 3600 * hours + 60 * minutes + seconds
    plain = _SECOND.fullmatch(word)
    return _whole(plain[1]) if plain else None


def _box(said: object, place: str, box_unit: BoxUnit, size: Callable[[], Size] | None) -> Box:
    """x0, y0, x1, y1 in thousandths, whatever unit they were written in."""
    if not isinstance(said, list) or len(said) != 4:
        raise InvalidAnswer(f"{place}.box: not four numbers")
    x0, y0, x1, y1 = (
        _thousandths(value, axis, f"{place}.box", box_unit, size)
        for value, axis in zip(said, (0, 1, 0, 1), strict=True)
    )
    if not (0 <= x0 < x1 <= BOX_SCALE and 0 <= y0 < y1 <= BOX_SCALE):
        raise InvalidAnswer(f"{place}: box {said} is not x0 < x1, y0 < y1 within the picture")
    return (x0, y0, x1, y1)


def _thousandths(
    said: object, axis: int, place: str, box_unit: BoxUnit, size: Callable[[], Size] | None
) -> float:
    unit = box_unit
    if isinstance(said, str):
        written = _LENGTH.fullmatch(said.strip())
        if written is None:
            raise InvalidAnswer(f"{place}: {said[:80]!r} is no number")
        said = float(written[1])
        units: dict[str | None, BoxUnit] = {"%": "percent", "px": "pixels", "‰": "per_mille"}
        unit = units.get(written[2], box_unit)
    if isinstance(said, bool) or not isinstance(said, int | float) or abs(said) > 1e9:
        raise InvalidAnswer(f"{place}: {str(said)[:80]!r} is no number")
    if unit == "pixels":
        if size is None:
            raise InvalidAnswer(f"{place}: pixels of a picture that was not shown")
        return float(said) / size()[axis] * BOX_SCALE
    return float(said) * {"per_mille": 1.0, "percent": 10.0, "fraction": 1000.0}[unit]
