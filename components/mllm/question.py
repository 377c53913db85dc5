"""The question, the form of its answer, and the strict reading of it.

The protocol is ours: the prompts behind published figures are not public.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.mllm.params import Modality
from components.mllm.sounding import BOX_SCALE, Box, Sounding

SYSTEM = (
    "You watch and listen to a clip and say which things make sound in it. "
    "You answer with one JSON object and nothing else."
)

GIVEN: dict[Modality, str] = {
    "audio_video": "You are given the frames of a clip (one per second) and its sound.",
    "video": "You are given the frames of a clip (one per second) without its sound.",
    "audio": "You are given the sound of a clip without its frames.",
}

_FORM = """\
Answer with one JSON object of this form:
{{"who": [{{"category": NAME, "count": OBJECTS}}],
 "when": [{{"category": NAME, "seconds": [SECOND, ...]}}],
 "where": [{{"second": SECOND, "category": NAME, "box": [X0, Y0, X1, Y1]}}]}}
- who: each category that sounds at some time in the clip, and how many different objects of it sound.
- when: for each of these categories, every second in which it sounds. \
Seconds are the integers from 0 to {last}; second k lasts from k to k+1 and frame k shows its middle.
- where: {where}
A thing that is seen but makes no sound is no answer, \
and neither is a sound whose source is never in the picture.
If nothing sounds, all three lists are empty. Name only these categories: {categories}."""

_WHERE = (
    "for every second, one box around each object that sounds in that second and is seen. "
    "Coordinates go from 0 (left, top) to 1000 (right, bottom)."
)
_WHERE_UNSEEN = "an empty list, for you see no picture."


_Second = Annotated[
    int, Field(ge=-1_000_000, le=1_000_000)
]  # which of these are in the clip is looked at later


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Who(_Form):
    category: str
    count: int = Field(ge=1, le=10_000)


class _When(_Form):
    category: str
    seconds: list[_Second]


class _Where(_Form):
    second: _Second
    category: str
    box: list[float] = Field(min_length=4, max_length=4)


class Answer(_Form):
    """The JSON object that a model must answer with."""

    who: list[_Who]
    when: list[_When]
    where: list[_Where]


class InvalidAnswer(ValueError):  # noqa: N818 - an outcome that is counted, not a failure of ours
    """The answer does not have the form that was asked for; the message says where."""


def ask_text(modality: Modality, categories: Sequence[str], length_s: int) -> str:
    """The question in words, for a clip of `length_s` seconds."""
    return _FORM.format(
        last=length_s - 1,
        where=_WHERE_UNSEEN if modality == "audio" else _WHERE,
        categories=", ".join(categories),
    )


def response_format(kind: str) -> dict[str, Any] | None:
    """The `response_format` of a request; None leaves it out."""
    if kind == "none":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "sounding", "schema": Answer.model_json_schema()}}


def read_answer(text: str, *, modality: Modality, categories: Sequence[str], length_s: int) -> Sounding:
    """Reads a model's text strictly; nothing is repaired but a code fence around the whole and upper case.

    Raises:
        InvalidAnswer: not JSON of the asked form, an unknown category, a second outside the clip,
            a category named twice, or a box that is no box.
    """
    try:
        answer = Answer.model_validate_json(_unfence(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise InvalidAnswer(f"{place}: {first['msg']}") from error
    known = {category.casefold(): category for category in categories}

    def name(category: str, place: str) -> str:
        if category.strip().casefold() not in known:
            raise InvalidAnswer(f"{place}: {category!r} is none of the categories")
        return known[category.strip().casefold()]

    def second(value: int, place: str) -> int:
        if not 0 <= value < length_s:
            raise InvalidAnswer(f"{place}: second {value} is not in 0 … {length_s - 1}")
        return value

    counts: dict[str, int] = {}
    for index, who in enumerate(answer.who):
        category = name(who.category, f"who.{index}")
        if category in counts:
            raise InvalidAnswer(f"who.{index}: {category} is named twice")
        counts[category] = who.count
    seconds: dict[str, frozenset[int]] = {}
    for index, when in enumerate(answer.when):
        category = name(when.category, f"when.{index}")
        if category in seconds:
            raise InvalidAnswer(f"when.{index}: {category} is named twice")
        seconds[category] = frozenset(second(value, f"when.{index}") for value in when.seconds)
    boxes: dict[int, list[tuple[str, Box]]] = {}
    for index, where in enumerate(answer.where):
        category = name(where.category, f"where.{index}")
        boxes.setdefault(second(where.second, f"where.{index}"), []).append(
            (category, _box(where.box, f"where.{index}"))
        )
    return Sounding(
        length_s=length_s,
        counts=counts,
        seconds={category: values for category, values in seconds.items() if values},
        boxes=None if modality == "audio" else {key: tuple(value) for key, value in boxes.items()},
    )


def _unfence(text: str) -> str:
    """Takes off a Markdown code fence that encloses the whole answer: wrapping, not content."""
    lines = text.strip().split("\n")
    is_fenced = len(lines) > 2 and lines[0].rstrip() in ("```", "```json") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if is_fenced else text


def _box(values: list[float], place: str) -> Box:
    x0, y0, x1, y1 = values
    if not (0 <= x0 < x1 <= BOX_SCALE and 0 <= y0 < y1 <= BOX_SCALE):
        raise InvalidAnswer(f"{place}: box {values} is not x0 < x1, y0 < y1 within 0 … {BOX_SCALE:.0f}")
    return (x0, y0, x1, y1)
