"""Models from wherever somebody has one, and one message for what is none."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.video.any_model import Reading, load_any
from models.checkpoints.recognised import Choices
from pipelines.cli import app
from tests.support.released import write_released
from tests.support.tiny_model import CATEGORIES, tiny_model, write_finder

PARAMS = PredictParams(device="cpu")
TWO = Choices(heads=2, window=3)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_model(3, presence_head=False, audio_tagging=False)
    return write_released(tmp_path_factory.mktemp("released") / "model_final.pth", model)


def test_a_release_becomes_a_predictor_and_what_was_assumed_is_said(released: Path) -> None:
    predictor, said = load_any(released, PARAMS, Reading(TWO, "bell, horn, dog"))
    assert predictor.card.categories == {1: "bell", 2: "horn", 3: "dog"}
    assert (predictor.card.short_side_px, predictor.card.frame_rate_hz) == (360, 1.0)
    assert predictor.score_threshold == 0.3
    assert said == [
        "AVISM, efficientnet_lite0, 4 queries, names published (avism_module.…); "
        "sees frames of 360 px, as published",
        "3 categories: --categories",
    ]
    smaller, said = load_any(released, PARAMS, Reading(Choices(heads=2), "bell,horn,dog", 32))
    assert smaller.card.short_side_px == 32 and "assumed: window 6" in said[1]


def test_names_of_categories_come_from_files(released: Path, tmp_path: Path) -> None:
    rows = [{"id": 9, "name": "dog"}, {"id": 1, "name": "bell"}, {"id": 4, "name": "horn"}]
    (tmp_path / "test.json").write_text(json.dumps({"categories": rows}))
    (tmp_path / "names.txt").write_text("bell\nhorn\n\ndog\n")
    for name in ("test.json", "names.txt"):
        predictor, _ = load_any(released, PARAMS, Reading(TWO, str(tmp_path / name)))
        assert list(predictor.card.categories.values()) == ["bell", "horn", "dog"]
    for given, message in (
        ("", "nothing names the 3 categories"),
        ("bell,horn", "--categories names 2 categories, the class head of .* has 3"),
        ("bell,horn,bell", "two have the same"),
    ):
        with pytest.raises(AvisError, match=message):
            load_any(released, PARAMS, Reading(TWO, given))


def test_the_folder_of_a_training_or_its_file(tmp_path: Path) -> None:
    folder = write_finder(tmp_path / "tiny")
    for given in (folder, folder / "model.safetensors"):
        predictor, said = load_any(given, PARAMS)
        assert predictor.card.categories == CATEGORIES and said == []
    with pytest.raises(AvisError, match="stand beside its weights"):
        load_any(folder, PARAMS, Reading(TWO))


class Runs:
    def __reduce__(self) -> object:
        return os.system, ("touch ran",)


def test_what_is_no_model_is_one_message(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = released.read_bytes()
    Path("half.pth").write_bytes(whole[: len(whole) // 2])
    Path("code.pkl").write_bytes(pickle.dumps({"model": Runs()}))
    torch.save({"weights": Runs()}, "code.pth")
    Path("text.pth").write_text("<html>sign in</html>")
    torch.save({"conv.weight": torch.zeros(1)}, "other.pth")
    state = torch.load(released)["model"]
    headless = {name.replace("sem_seg_head", "head"): x for name, x in state.items()}
    torch.save(headless, "headless.pth")
    torch.save({name.replace("avism_module", "clips"): x for name, x in headless.items()}, "spelling.pth")
    for name, message in (
        ("none.pth", "there is no such model"),
        ("half.pth", "half.pth is damaged.* its end is missing"),
        ("code.pkl", "wants to run .*system"),
        ("code.pth", "holds no parameters by name|holds more than tensors"),
        ("text.pth", "text.pth is damaged.* a web page"),
        ("other.pth", "of another task"),
        ("spelling.pth", "its entries are called (head|clips)"),
        ("headless.pth", "cannot be used: .*missing"),
    ):
        with pytest.raises(AvisError, match=message):
            load_any(
                Path(name), PARAMS, Reading(TWO if name == "headless.pth" else Choices(), "bell,horn,dog")
            )
    with pytest.raises(AvisError, match=r"3 ways: .*--heads"):
        load_any(released, PARAMS)
    assert not Path("ran").exists()


def test_inspect_prints_what_a_file_is(released: Path, tmp_path: Path) -> None:
    words = ["models", "inspect", str(released), "--heads", "2", "--window", "3"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    for line in (
        "AVISM, efficientnet_lite0",
        "names: published (avism_module.…)",
        "queries: 4",
        "categories: 3: nothing names them",
        "hears: vggish",
        "left out, no part of the network: criterion.empty_weight, avism_criterion.empty_weight",
        "all parameters of the network are there, and no others",
    ):
        assert line in done.output
    folder = write_finder(tmp_path / "tiny")
    done = CliRunner().invoke(app, ["models", "inspect", str(folder)])
    assert done.exit_code == 0 and "categories (2): horn, bell" in done.output
    state = torch.load(released)["model"]
    steps = {f"backbone.res2.{k}.norm.num_batches_tracked": torch.tensor(9) for k in range(53)}
    torch.save(state | steps, tmp_path / "steps.pth")
    done = CliRunner().invoke(app, ["models", "inspect", str(tmp_path / "steps.pth"), "--heads", "2"])
    assert "avism_criterion.empty_weight, 53 counters of norms (num_batches_tracked)\n" in done.output
    del state["sem_seg_head.predictor.decoder_norm.bias"]
    torch.save(state, tmp_path / "less.pth")
    done = CliRunner().invoke(app, ["models", "inspect", str(tmp_path / "less.pth"), "--heads", "2"])
    assert done.exit_code == 1 and "missing: frame_decoder.norm.bias" in done.output
