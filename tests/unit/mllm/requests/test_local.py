"""A model of transformers on this machine, with random weights: is it given the clip, are its words taken?"""

import asyncio
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from components.core.run.errors import AvisError
from components.mllm import question
from components.mllm.interview import Exam, Interview, interview
from components.mllm.params import EndpointParams, MllmParams
from components.mllm.requests.message import Clip
from tests.support.chat_server import CATEGORIES, make_media, true_sounding
from tests.support.tiny_omni import build_omni, write_omni

pytestmark = pytest.mark.slow
PARAMS = MllmParams(max_invalid_share=1.0)  # it babbles


@pytest.fixture(scope="module")
def omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_omni(tmp_path_factory.mktemp("omni"))


@pytest.fixture
def exam(tmp_path: Path) -> Exam:
    return Exam(make_media(tmp_path / "media", 1), {"clip0": true_sounding(0)}, CATEGORIES)


def local(path: Path, *modalities: str) -> EndpointParams:
    return EndpointParams(name="local", path=path, modalities=modalities, max_output_tokens=64)


def ask(endpoint: EndpointParams, exam: Exam, folder: Path) -> Interview:
    folder.mkdir(exist_ok=True)
    return asyncio.run(interview(endpoint, PARAMS, exam, folder))


def said_by_itself(clip: Clip) -> str:
    """What the model answers that was saved, asked without us."""
    import torch

    whole, processor = build_omni()
    model = whole.thinker.eval()
    with wave.open(str(clip.audio)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    parts = [question.GIVEN["audio_video"]]
    parts += [f"frame {k}<|vision_bos|><|IMAGE|><|vision_eos|>" for k in range(3)]
    parts += ["<|audio_bos|><|AUDIO|><|audio_eos|>", question.ask_text("audio_video", CATEGORIES, 3)]
    text = (
        f"<|im_start|>system\n{question.system_text(1)}<|im_end|>\n<|im_start|>user\n{''.join(parts)}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    pictures = [Image.open(frame) for frame in clip.frames]  # of one grey: JPEG again changes nothing
    inputs = processor(text=text, images=pictures, audio=[sound], return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=64, do_sample=False)
    return str(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def test_it_answers_as_it_does_by_itself_and_is_not_asked_twice(omni, exam, tmp_path, monkeypatch):
    result = ask(local(omni, "audio_video", "video", "audio"), exam, tmp_path / "m")
    records = {given: result.records[given][0]["clip0"] for given in result.records}
    assert records["audio_video"]["text"] == said_by_itself(exam.clips[0])
    sound = 75  # tokens of three seconds
    assert (
        records["audio_video"]["input_tokens"] - records["video"]["input_tokens"]
        == sound + len(question.GIVEN["audio_video"]) - len(question.GIVEN["video"]) + 2
    )  # a token a letter, and two marks
    assert {r["status"] for r in records.values()} == {"invalid"}
    assert all(r["output_tokens"] == 64 and "it was cut off" in r["message"] for r in records.values())
    monkeypatch.setattr("components.mllm.interview.LocalModel", None)  # it is not even loaded
    again = ask(local(omni, "audio_video", "video", "audio"), exam, tmp_path / "m")
    assert again.records == result.records


def test_other_weights_are_asked_anew(omni, exam, tmp_path, monkeypatch):
    asked = []

    class Silent:
        def __init__(self, *_: object, **__: object) -> None:
            asked.append(1)
            raise AvisError("loaded")

    monkeypatch.setattr("components.mllm.interview.LocalModel", Silent)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_text("{}")
    (copy / "model.safetensors").write_bytes(b"1")
    for _ in range(2):
        with pytest.raises(AvisError, match="loaded"):
            ask(local(copy, "video"), exam, tmp_path / "m")
        (copy / "model.safetensors").write_bytes(b"22")
    assert len(asked) == 2


def test_a_model_without_ears_is_named(exam, tmp_path):
    folder = write_omni(tmp_path / "vl", ears=False)
    with pytest.raises(AvisError, match=r"local takes no sound.*audio_video, audio.*modalities to \[video\]"):
        ask(local(folder, "audio_video", "video", "audio"), exam, tmp_path / "m")
    result = ask(local(folder, "video"), exam, tmp_path / "m")
    assert result.records["video"][0]["clip0"]["output_tokens"] == 64


def test_what_is_no_model_is_named(omni, exam, tmp_path):
    with pytest.raises(AvisError, match=r"no config\.json"):
        ask(local(tmp_path / "nowhere", "video"), exam, tmp_path / "m")
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in omni.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(AvisError, match="cannot be loaded"):
        ask(local(folder, "video"), exam, tmp_path / "m")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(AvisError, match="cannot be loaded"):
        ask(local(folder, "video"), exam, tmp_path / "m")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "name model and base_url, or the path"),
        ({"model": "m"}, "name model and base_url, or the path"),
        ({"path": "a", "model": "m"}, "path stands in place of model"),
        ({"path": "a", "api_key_env": "KEY"}, "path stands in place of api_key_env"),
        ({"path": "a", "video": "video_url"}, "is given frames, not video_url"),
    ],
)
def test_an_entry_has_an_address_or_a_path(entry, says):
    with pytest.raises(ValidationError, match=says):
        EndpointParams(name="x", **entry)
