"""The question in words, and the form of its answer; `reading` reads the answer.

The protocol is ours: the prompts behind published figures are not public. The words are files in `prompts`,
three wordings of each; what they say is part of an answer's key, so that changed words are asked anew.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from components.mllm.choices import Choice
from components.mllm.params import BoxUnit, Modality

GIVEN: dict[Modality, str] = {
    "audio_video": "You are given the frames of a clip (one per second) and its sound.",
    "video": "You are given the frames of a clip (one per second) without its sound.",
    "audio": "You are given the sound of a clip without its frames.",
    # the words of audio_video: a model that is told of the exchange would be asked something else
    "other_sound": "You are given the frames of a clip (one per second) and its sound.",
}

_WHERE = "for every second, one box around each object that sounds in that second and is seen. "
_COORDINATES: dict[BoxUnit, str] = {
    "per_mille": "Coordinates go from 0 (left, top) to 1000 (right, bottom).",
    "percent": "Coordinates go from 0 (left, top) to 100 (right, bottom).",
    "fraction": "Coordinates go from 0.0 (left, top) to 1.0 (right, bottom).",
    "pixels": "Coordinates are pixels of the frames as you see them, from the left and the top.",
}
_WHERE_UNSEEN = "an empty list, for you see no picture."


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Who(_Form):
    category: str
    count: int = Field(ge=1, le=10_000)


class _When(_Form):
    category: str
    seconds: list[int]


class _Where(_Form):
    second: int
    category: str
    box: list[float] = Field(min_length=4, max_length=4)


class Answer(_Form):
    """The JSON object that a model is asked for."""

    who: list[_Who]
    when: list[_When]
    where: list[_Where]


def system_text(wording: int) -> str:
    """What the model is told before all."""
    return _prompt(f"system-{wording}").template


def ask_text(
    modality: Modality,
    categories: Sequence[str],
    length_s: int,
    *,
    wording: int = 1,
    box_unit: BoxUnit = "per_mille",
) -> str:
    """The question in words, for a clip of `length_s` seconds."""
    return _prompt(f"sounding-{wording}").substitute(
        last=length_s - 1,
        where=_WHERE_UNSEEN if modality == "audio" else _WHERE + _COORDINATES[box_unit],
        categories=", ".join(categories),
    )


def choice_text(choice: Choice, *, wording: int = 1) -> str:
    """A question with a few answers, in words."""
    if choice.second is None:
        return _prompt(f"order-{wording}").substitute(options=", ".join(choice.names))
    return _prompt(f"refer-{wording}").substitute(
        category=choice.options[0].category, second=choice.second, next=choice.second + 1
    )


def answer_schema(choice: Choice | None = None) -> dict[str, Any]:
    """The `json_schema` of a `response_format`: for who, when and where, or for a choice."""
    if choice is None:
        return {"name": "sounding", "schema": Answer.model_json_schema()}
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(choice.names)}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    return {"name": choice.kind, "schema": schema}


@cache
def _prompt(name: str) -> Template:
    return Template((Path(__file__).parent / "prompts" / f"{name}.md").read_text().strip())
