"""Fine-tuning: the profiles fit what they start from, and a wrong start is said before training."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.run.params import read_variant
from components.core.run.paths import Paths
from components.train.params import TrainParams
from components.train.plan import make_plan
from models import build
from models.checkpoints.saved import save_weights
from models.checkpoints.starting import begin, read_start
from models.networks.avism.avism import AvismConfig
from pipelines.commands.runs.profile import profile as apply_profile
from tests.support.tiny_model import CATEGORIES, tiny_model, train_settings, write_square_set

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def variant_of(profile: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainParams:
    """The `finetuned` variant after `avis profile`, in a folder of its own."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "params", folder / "params")
    monkeypatch.chdir(folder)
    apply_profile(profile)
    return read_variant("finetuned", TrainParams)


def test_the_demos_weights_are_of_the_profiles_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = variant_of("finetune", tmp_path, monkeypatch)
    settings = {**params.model.model_dump(exclude={"name"}), "backbone_pretrained": False}
    model = build(params.model.name, categories=3, **settings)
    assert not any(x.requires_grad for x in model.backbone.parameters())
    assert params.start_from is not None
    started = begin(model, read_start(ROOT / params.start_from), {1: "harp", 2: "violin", 3: "owl"})
    assert started.taken == started.of
    assert (started.known, started.new) == (["violin"], ["harp", "owl"])


def test_the_profile_for_released_weights_is_their_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = variant_of("finetune-r50", tmp_path, monkeypatch)
    unused = {"audio_channels", "audio_hidden", "backbone_pretrained"}
    settings = params.model.model_dump(exclude={"name", *unused})
    released = replace(AvismConfig(), backbone_frozen_parts=5)  # frozen or not is no matter of the file
    assert settings == {name: getattr(released, name) for name in settings}


def test_weights_of_another_size_are_refused_before_training(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    write_square_set(paths)
    weights = tmp_path / "w.safetensors"
    save_weights(weights, tiny_model(channels=32).state_dict(), categories=CATEGORIES)
    params = TrainParams.model_validate(train_settings(start_from=str(weights)))
    with pytest.raises(AvisError, match=r"w\.safetensors is of another network: .*Set train\.model"):
        make_plan("tiny", params, paths, with_weights=True)


def test_names_that_nearly_match_are_said_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = Paths(tmp_path / "data")
    write_square_set(paths)
    weights = tmp_path / "w.safetensors"
    save_weights(weights, tiny_model().state_dict(), categories={1: "Bell", 2: "dog"})
    make_plan(
        "tiny", TrainParams.model_validate(train_settings(start_from=str(weights))), paths, with_weights=True
    )
    said = capsys.readouterr().out
    assert "the weights know none of the annotations' categories" in said
    assert "the line `bell: Bell`" in said
