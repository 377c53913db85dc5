"""The stage as a process: variants and a language model scored by the same functions."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.core.records.results import Result, write_results
from components.core.reports.page import render_page
from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.core.run.paths import Paths
from components.core.run.process import said_to_user
from components.mllm.params import MllmParams
from components.mllm.stage import mllm
from tests.support.chat_server import LENGTH_S, Server, completion, listening
from tests.support.full_disk import files_below, full_at_each_place

REPOSITORY = Path(__file__).parents[3]


def run_stage(workplace: Path, models: list[dict]) -> dict:
    params = MllmParams.model_validate({"models": models})
    return mllm(params, ["good", "poor"], Paths(workplace / "data"))


def metrics(workplace: Path) -> dict:
    return json.loads((workplace / "data" / "mllm" / "metrics.json").read_text())


def test_without_an_endpoint_the_variants_are_scored_and_it_is_said_how_to_add_one(workplace):
    params = {"variants": {"good": {}, "poor": {}}, "mllm": {}}
    (workplace / "params.yaml").write_text(json.dumps(params))
    done = subprocess.run(
        [sys.executable, "-m", "components.mllm"],
        cwd=workplace,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 1 and "base_url" in said[0] and "mllm.models" in said[0]
    values = metrics(workplace)
    baselines = {f"baseline/{name}" for name in ("frequent", "chance", "everything", "silent")}
    assert set(values) == {"good", "poor"} | baselines
    numbers = ("clips", "count_mae", "hallucinated", "yes_bias")
    shares = {name: value for name, value in values["good"].items() if name not in numbers}
    assert set(shares.values()) == {100.0} and len(shares) == 10
    assert values["good"]["count_mae"] == 0.0
    poor = values["poor"]  # 2 of 4 clips unanswered; second 2 of 3 is silent and right in each
    assert poor["category_f1"] == pytest.approx(200 / 3)
    assert poor["count_accuracy"] == 50.0 and poor["count_off_by_one"] == 100.0 and poor["count_mae"] == 0.5
    assert poor["frame_accuracy"] == poor["box_fsla"] == pytest.approx(100 * 8 / 12)
    assert poor["temporal_iou"] == 50.0


def test_a_language_model_is_scored_beside_the_variants(workplace, server: Server):
    server.reply = lambda r: completion("<b>Dogs?</b>") if r.heard == 3 and r.seen is None else listening(r)
    model = {"name": "listener", "model": "m", "base_url": server.url}
    prices = {"usd_per_million_input_tokens": 2.0, "usd_per_million_output_tokens": 10.0}
    run_stage(workplace, [model | prices])
    values = metrics(workplace)
    asked_about = {"listener/audio_video", "listener/video", "listener/audio"}
    assert {name for name in values if not name.startswith("baseline/")} == {"good", "poor"} | asked_about
    details = json.loads((workplace / "data" / "mllm" / "scores.json").read_text())
    assert details["reference"] == "good" and set(details["sources"]) == set(values)
    poor = details["sources"]["poor"]
    assert poor["categories"]["dog"]["recall"] == 50.0
    assert poor["differences"]["category_recall"]["difference"] == -50.0
    low, high = poor["differences"]["category_recall"]["interval"]
    assert low < -50.0 < high
    assert details["sources"]["listener/audio_video"]["differences"]["box_map"]["interval"] == [0.0, 0.0]
    heard = values["listener/audio_video"]
    assert {name: heard[name] for name in values["good"]} == values["good"]
    assert heard["hears"] == 1.0 and heard["invalid"] == heard["no_reply"] == 0.0
    assert heard["cost_usd"] == pytest.approx(4 * (1000 * 2.0 + 100 * 10.0) / 1e6)
    assert "box_fsla" not in values["listener/audio"] and values["listener/audio"]["invalid"] == 1.0
    report = (workplace / "data" / "mllm" / "report.html").read_text()
    assert "listener/audio" in report and report.count('<a href="clips/clip') == 4
    assert report.count("tag good") == 4 * 5 - 2 - 1 and report.count("? listener") == 1  # poor has half
    first, last = ((workplace / "data" / "mllm" / "clips" / f"clip{k}.html").read_text() for k in (0, 3))
    dog = "dog \N{MULTIPLICATION SIGN}1 in seconds 0\N{EN DASH}1"
    assert first.count(dog) == 6 and first.count("<details>") == 3  # truth, two variants, three modalities
    # three pictures each of the truth, the variants, and the modalities that see
    assert first.count("data:image/jpeg") == 3 * 5
    assert "&lt;b&gt;Dogs?&lt;/b&gt;" in last and "<b>Dogs?" not in last
    assert "violin \N{MULTIPLICATION SIGN}1 in seconds 0\N{EN DASH}1" in last
    assert "no valid answer (there is no JSON object" in last and "silent" in last
    asked = len(server.requests)
    written = (workplace / "data" / "mllm" / "metrics.json").read_bytes()
    run_stage(workplace, [model | prices])
    assert len(server.requests) == asked  # everything was known
    assert (workplace / "data" / "mllm" / "metrics.json").read_bytes() == written


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ([{"name": "../x", "model": "m", "base_url": "http://127.0.0.1:1/v1"}], "mllm.models.0.name"),
        ([{"name": "x", "model": "m", "base_url": "127.0.0.1"}], "mllm.models.0.base_url"),
        ([{"name": "x", "model": "m", "base_url": "http://127.0.0.1:1/v1", "key": "sk"}], "api_key_env"),
        (
            [{"name": "x", "model": "m", "base_url": "http://127.0.0.1:1/v1", "modalities": ["smell"]}],
            "audio",
        ),
        ([{"name": "x", "model": "m", "base_url": "http://127.0.0.1:1/v1"}] * 2, "share a name"),
    ],
)
def test_wrong_settings_get_one_message(tmp_path, models, says):
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"mllm": {"models": models}}))
    with pytest.raises(AvisError, match=says.replace(".", r"\.")):
        read_block("mllm", MllmParams, path=path)


def test_a_missing_key_ends_the_stage_before_anything_is_written(workplace, server, monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(AvisError, match="NO_KEY is not set"):
        run_stage(workplace, [{"name": "x", "model": "m", "base_url": server.url, "api_key_env": "NO_KEY"}])
    assert not (workplace / "data" / "mllm" / "metrics.json").exists()


def test_predictions_of_other_annotations_are_refused(workplace):
    path = workplace / "data" / "predictions" / "poor" / "results.json"
    write_results(path, [Result(1, 1, 0.9, [None] * (LENGTH_S + 1))])
    with pytest.raises(AvisError, match=r"4 masks for 3 frames.*poor/results\.json, row 0"):
        run_stage(workplace, [])


@pytest.mark.slow
def test_a_full_disk_is_named_and_no_answer_is_lost(
    workplace: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "test-model", "model": "m", "base_url": server.url}
    folder = workplace / "data" / "mllm"
    places = 0
    for error in full_at_each_place(lambda: run_stage(workplace, [model]), monkeypatch):
        places += 1
        assert (said_to_user(error) or "").startswith(f"No space left on device ({folder}")
        assert not [name for name in files_below(folder) if "/." in f"/{name}"]
    assert places >= 4
    with sqlite3.connect(folder / "test-model" / "answers.sqlite") as answers:
        (kept,) = answers.execute("SELECT count(*) FROM answers").fetchone()
    assert kept == len(server.requests) >= 12, "an answer that was kept was asked again"
    healed = files_below(folder)
    run_stage(workplace, [model])
    assert files_below(folder) == healed


def test_a_full_disk_under_the_answers_is_named_and_none_of_them_is_lost(
    workplace: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "test-model", "model": "m", "base_url": server.url}
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*arguments, **options)
        database.execute("PRAGMA max_page_count = 4")
        return database

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(AvisError, match="full") as error:
            run_stage(workplace, [model])
    file = workplace / "data" / "mllm" / "test-model" / "answers.sqlite"
    assert str(file) in str(error.value)
    asked = len(server.requests)
    with connect(file) as answers:
        (kept,) = answers.execute("SELECT count(*) FROM answers").fetchone()
    assert kept > 0
    run_stage(workplace, [model])
    with connect(file) as answers:
        (all_of_them,) = answers.execute("SELECT count(*) FROM answers").fetchone()
    assert len(server.requests) - asked == all_of_them - kept


@pytest.mark.parametrize(
    ("seconds", "said"),
    [([3], "3"), ([5, 0, 1, 2], "0\N{EN DASH}2, 5"), ([0, 1, 4, 6, 7], "0\N{EN DASH}1, 4, 6\N{EN DASH}7")],
)
def test_seconds_are_shown_as_stretches(seconds: list[int], said: str) -> None:
    truth = SimpleNamespace(counts={"dog": 1}, seconds={"dog": set(seconds)})
    page = render_page("mllm/report.html", clips=[{"name": "a", "truth": truth, "rows": []}], bar="")
    assert f"in seconds {said}<" in page
