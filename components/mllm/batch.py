"""Questions as files in the OpenAI batch format, and the answers back: for who has no live endpoint."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.text.redaction import redact
from components.mllm import question
from components.mllm.interview import Desk, Exam, Question
from components.mllm.params import EndpointParams, MllmParams
from components.mllm.requests.answers import Answers, Key
from components.mllm.requests.client import NO_COMPLETION, reply_of, settings_of, with_schema

MOST_LINES = 50_000
"""Of a file: what OpenAI takes."""


def export(
    endpoint: EndpointParams, params: MllmParams, exam: Exam, folder: Path, target: Path, *, most_bytes: int
) -> list[Path]:
    """Write the questions that have no answer yet: `target`-1.jsonl, -2.jsonl, … Nothing is asked.

    Raises:
        AvisError: the model is one on this machine, or the questions are more than the budget.
    """
    model = _name_at_server(endpoint)
    with Answers(folder / "answers.sqlite") as known:
        desk = Desk(endpoint, params, exam, known)
        every = desk.distinct(*desk.questions())
        desk.open(every, {})
        left = [asked for asked in every if asked.key not in desk.records]
    settings = settings_of(endpoint)
    written: list[Path] = []
    lines: list[str] = []
    size = 0

    def end_file() -> None:
        nonlocal size
        if lines:
            written.append(target.with_name(f"{target.name}-{len(written) + 1}.jsonl"))
            write_text(written[-1], "".join(lines))
        lines.clear()
        size = 0

    for asked in left:
        schema = question.answer_schema(asked.choice)
        body = {"model": model, "messages": desk.messages(asked), **with_schema(settings, schema)}
        request = {"custom_id": _id(asked.key), "method": "POST", "url": "/v1/chat/completions", "body": body}
        line = json.dumps(request) + "\n"
        if len(lines) == MOST_LINES or size + len(line) > most_bytes:
            end_file()
        lines.append(line)
        size += len(line)
    end_file()
    return written


@dataclass
class Taken:
    """What a file of answers brought."""

    new: int = 0
    known: int = 0
    """Were answered before; the earlier answer stays."""
    strange: int = 0
    """Are about questions that params.yaml and the clips do not, or no longer, ask."""
    failed: int = 0
    first_failure: str = ""


def take(endpoint: EndpointParams, params: MllmParams, exam: Exam, folder: Path, file: Path) -> Taken:
    """Keep the answers of a file that a server wrote in the OpenAI batch format.

    Raises:
        AvisError: the file cannot be read.
    """
    from openai.types.chat import ChatCompletion

    _name_at_server(endpoint)
    taken = Taken()
    with Answers(folder / "answers.sqlite") as known:
        desk = Desk(endpoint, params, exam, known)
        asked_by_id = {_id(asked.key): asked for asked in desk.distinct(*desk.questions())}
        for number, line in _lines(file):
            try:
                answer: Any = json.loads(line)
                asked = asked_by_id.get(answer["custom_id"])
                if asked is None:
                    taken.strange += 1
                    continue
                if known.get(asked.key) is not None:
                    taken.known += 1
                    continue
                response = answer["response"]
                if answer.get("error") or response["status_code"] != 200:
                    raise ValueError(json.dumps(answer.get("error") or response["body"]))
                reply = reply_of(ChatCompletion.model_validate(response["body"]), latency_s=0.0, retries=0)
            except (*NO_COMPLETION, RecursionError) as error:
                taken.failed += 1
                what = " ".join(redact(f"{type(error).__name__}: {error}").split())[:300]
                taken.first_failure = taken.first_failure or f"line {number}: {what}"
                continue
            known.put(asked.key, reply, asked.video)
            taken.new += 1
    return taken


def unanswered(endpoint: EndpointParams, params: MllmParams, exam: Exam, folder: Path) -> list[Question]:
    """The questions that have no answer yet."""
    with Answers(folder / "answers.sqlite") as known:
        desk = Desk(endpoint, params, exam, known)
        return [asked for asked in desk.distinct(*desk.questions()) if known.get(asked.key) is None]


def _name_at_server(endpoint: EndpointParams) -> str:
    if endpoint.model is None:
        raise AvisError(
            f"{endpoint.name} is a model on this machine: it needs no files of questions",
            where="params.yaml, mllm.models",
            fix="Run: dvc repro mllm",
        )
    return endpoint.model


def _id(key: Key) -> str:
    """The same for the same question, whatever the run."""
    return hashlib.sha256(json.dumps(astuple(key)).encode()).hexdigest()[:48]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise AvisError(f"the answers cannot be read: {error}", where=str(file)) from error
