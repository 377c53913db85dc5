"""Names of parameters in another program beside ours: one table, read both ways."""

import re
from collections.abc import Sequence
from functools import cache

Row = tuple[str, str]
"""(theirs, ours): how a name begins. ``{stage}`` is a number that stands in both, ``{stage+2}`` two more."""

_NUMBER = re.compile(r"\{(\w+?)([+-]\d+)?\}")


def translate(name: str, rows: Sequence[Row], *, back: bool = False) -> str | None:
    """Their name -> ours (``back``: ours -> theirs) by the first row that fits, or None."""
    for theirs, ours in rows:
        source, target = (ours, theirs) if back else (theirs, ours)
        match = _pattern(source).match(name)
        if match:
            return _fill(target, _numbers(source, match)) + name[match.end() :]
    return None


@cache
def _pattern(beginning: str) -> re.Pattern[str]:
    """``res{stage+2}.`` -> ``res(?P<stage>\\d+)\\.``."""
    literals = _NUMBER.split(beginning)[::3]  # between them: name and offset of each number
    fields = [rf"(?P<{field}>\d+)" for field, _ in _NUMBER.findall(beginning)]
    return re.compile("".join(a + b for a, b in zip(map(re.escape, literals), [*fields, ""], strict=True)))


def _numbers(source: str, match: re.Match[str]) -> dict[str, int]:
    return {field: int(match[field]) - int(offset or 0) for field, offset in _NUMBER.findall(source)}


def _fill(target: str, numbers: dict[str, int]) -> str:
    return _NUMBER.sub(lambda field: str(numbers[field[1]] + int(field[2] or 0)), target)
