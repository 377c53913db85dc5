"""Questions as files in the OpenAI batch format and back, by the commands; what a request looks like."""

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletionContentPartParam
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.mllm.params import MllmParams
from components.mllm.stage import mllm
from pipelines.cli import app
from tests.support.chat_server import Request, listening

QUESTIONS = 4 + 4 + 4  # four clips in two modalities; the probes' own


@pytest.fixture
def project(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    model = {"name": "far", "model": "m", "base_url": "http://127.0.0.1:9/v1", "temperature": None,
             "modalities": ["audio_video", "video"], "response_format": "json_schema"}  # fmt: skip
    write_params(workplace, model)
    monkeypatch.chdir(workplace)
    return workplace


def write_params(folder: Path, *models: dict[str, Any]) -> None:
    params = {"variants": {"good": {}}, "mllm": {"models": models}}
    (folder / "params.yaml").write_text(json.dumps(params))


def avis(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["mllm", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def requests(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def answers(*files: Path) -> list[dict[str, Any]]:
    """What a server makes of the questions, in the form of OpenAI and of vLLM's run-batch."""
    return [
        {
            "id": "vllm-1",
            "custom_id": request["custom_id"],
            "response": {
                "status_code": 200,
                "request_id": "r",
                "body": json.loads(listening(Request(request["body"], ""))[2]),
            },
            "error": None,
        }
        for request in requests(*files)
    ]


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_questions_go_out_and_answers_come_back_without_a_server(project: Path) -> None:
    said = avis("export", "far", "out/ask")
    file = project / "out/ask-1.jsonl"
    assert f"{QUESTIONS} questions to ask" in said and str(file.relative_to(project)) in said
    asked = requests(file)
    assert len({request["custom_id"] for request in asked}) == len(asked) == QUESTIONS
    assert {(request["method"], request["url"]) for request in asked} == {("POST", "/v1/chat/completions")}
    back = answers(file)
    broken = {**back[0], "response": {**back[0]["response"], "status_code": 500}}
    lines = [*back[1:9], broken, "{", {**back[1], "custom_id": "another"}, back[1], [], "null"]
    with pytest.raises(AvisError, match=r"the first: .*back\.jsonl, line 9: ValueError") as error:
        avis("import", "far", write(project / "back.jsonl", lines))
    assert "avis mllm export far" in str(error.value)
    again = avis("export", "far", "out/rest")
    assert f"{QUESTIONS - 8} questions to ask, 8 answered before" in again
    rest = project / "out/rest-1.jsonl"
    said = avis("import", "far", write(project / "rest.jsonl", answers(rest)))
    assert "4 new answers, 0 known before, 0 to other questions, 0 failed" in said
    assert "All questions are answered" in said
    assert "0 new answers, 4 known before" in avis("import", "far", project / "rest.jsonl")
    assert "has answered all questions" in avis("export", "far", "out/none")
    params = MllmParams.model_validate(json.loads((project / "params.yaml").read_text())["mllm"])
    values = mllm(params, ["good"], Paths())  # nobody listens at its address
    assert values["far/audio_video"]["category_f1"] == values["far/video"]["box_fsla"] == 100.0
    assert (values["far/video"]["hears"], values["far/video"]["input_tokens"]) == (1.0, 4000)


def test_large_sets_are_split_and_all_questions_are_in_one_file_or_another(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    avis("export", "far", "one")
    monkeypatch.setattr("components.mllm.batch.MOST_LINES", 5)
    avis("export", "far", "more")
    files = sorted(project.glob("more-*.jsonl"))
    assert [len(requests(file)) for file in files] == [5, 5, 2]
    assert requests(*files) == requests(project / "one-1.jsonl")


def test_bad_input_is_named(project: Path) -> None:
    with pytest.raises(AvisError, match=r"no model 'near'.*Known: far"):
        avis("export", "near", "out")
    with pytest.raises(AvisError, match=r"nowhere\.jsonl"):
        avis("import", "far", "nowhere.jsonl")
    (project / "pictures").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(AvisError, match="cannot be read"):
        avis("import", "far", "pictures")
    write_params(project, {"name": "here", "path": "omni"})
    (project / "omni").mkdir()
    with pytest.raises(AvisError, match="is a model on this machine"):
        avis("export", "here", "out")


@pytest.mark.parametrize("form", ["none", "json_object", "json_schema"])
@pytest.mark.parametrize("video", ["frames", "video_url"])
def test_requests_are_such_as_the_openai_package_has_them(project: Path, form: str, video: str) -> None:
    """In all but `video_url`, a part that vLLM added to the protocol: a type, and an object with a url."""
    model = {"name": "far", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "NO_KEY",
             "response_format": form, "video": video}  # fmt: skip
    write_params(project, {**model, "modalities": ["audio_video", "video", "audio", "other_sound"]})
    avis("export", "far", "out")
    protocol = TypeAdapter(CompletionCreateParamsNonStreaming)
    part_of_message = TypeAdapter(ChatCompletionContentPartParam)
    for request in requests(project / "out-1.jsonl"):
        body = request["body"]
        for part in body["messages"][-1]["content"]:
            if part["type"] == "video_url":
                assert set(part) == {"type", "video_url"} and set(part["video_url"]) == {"url"}
            else:  # what the protocol does not know is left away when it is read: nothing may be
                assert part_of_message.dump_python(part_of_message.validate_python(part)) == part
        body["messages"][-1]["content"] = "the parts"  # a one-time iterator where it is read
        assert json.loads(protocol.dump_json(protocol.validate_python(body))) == body
    with pytest.raises(ValidationError):
        part_of_message.validate_python({"type": "smell", "smell": {}})
