"""Every mistake in params.yaml is found before anything runs, each with its line and a remedy."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.tools.parameters import machine
from components.tools.parameters.check import find_mistakes
from pipelines.commands.runs.profile import profile as apply_profile

ROOT = Path(__file__).parents[4]
PROFILES = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
MODEL = {
    "name": "gpt",
    "model": "m",
    "base_url": "http://127.0.0.1:1/v1",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our params.yaml and the files that it names."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(ROOT / "params", folder / "params")
    for name in ("data/sample/kit", "data/sample/second-kit", "data/qa-waivers.yaml", "models"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(machine, "_why_not_built", lambda name, config: None)  # PyTorch takes seconds
    shutil.copy(ROOT / "params.yaml", place)
    shutil.rmtree(place / "data/.checked", ignore_errors=True)


def change(**blocks: Any) -> dict[str, Any]:
    """Lay values over params.yaml; {"x": {...}} goes into the block, another value takes its place."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    _lay(document, blocks)
    Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return document


def _lay(values: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and value and isinstance(values.get(key), dict):
            _lay(values[key], value)
        else:
            values[key] = value


@pytest.mark.parametrize("field", ["checkpoint", "start_from"])
def test_what_a_variant_writes_is_no_start_of_another(field: str) -> None:
    change(variants={"taken": {field: "data/model/avism"}})
    said = [str(mistake) for mistake in find_mistakes()]
    assert any("data/model/avism is what the variant avism writes, and is made anew" in line for line in said)


def test_our_file_is_right() -> None:
    assert find_mistakes() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_lacks_nothing_but_its_data_and_its_weights(profile: str) -> None:
    apply_profile(profile)
    said = [str(mistake) for mistake in find_mistakes()]
    assert all(re.search(r"there is no data/(aviseg|weights)\b", line) for line in said), said
    of_aviseg = any("ingest.manifest: there is no data/aviseg/manifest.csv" in line for line in said)
    assert of_aviseg == profile.startswith("aviseg-")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # files
        ({"train": {"start_from": "w.safetensors"}}, r"^train.start_from: there is no w.safetensors \("),
        (
            {"train": {"model": {"backbone": "resnet50", "backbone_weights": "r.pth"}}},
            "backbone_weights: .*r.pth",
        ),
        ({"train": {"model": {"audio_weights": "v.pth"}}}, r"train.model.audio_weights: there is no v.pth"),
        ({"variants": {"avism": {"start_from": "v.pth"}}}, r"^variants.avism.start_from: there is no v.pth"),
        ({"extract": {"audio_weights": "v.pth"}}, r"^extract.audio_weights: there is no v.pth"),
        ({"ingest": {"manifest": "none.csv"}}, r"^ingest.manifest: there is no none.csv"),
        ({"ingest": {"cookies_file": "c.txt"}}, r"^ingest.cookies_file: there is no c.txt"),
        ({"annotate": {"source": "none.json"}}, r"^annotate.source: there is no none.json"),
        ({"annotate": {"splits": {"manifest": "m.csv"}}}, r"^annotate.splits.manifest: there is no m.csv"),
        ({"annotate": {"splits": {"manifest": None}}}, r"annotate.splits.manifest: .*but none is given"),
        ({"annotate": {"category_map": "map.yaml"}}, r"^annotate.category_map: there is no map.yaml"),
        ({"annotate": {"category_map": "params.yaml"}}, r"annotate.category_map: 'engine'.*name to a name"),
        ({"annotate": {"sound": "labels"}}, r"^annotate.sound: there is no labels"),
        (
            {"annotate": {"format": "aviseq"}},
            r"annotate.format: 'aviseq' is no format.*Did you mean 'aviseg'",
        ),
        ({"qa": {"waivers": "w.yaml"}}, r"^qa.waivers: there is no w.yaml"),
        ({"qa": {"reference": "r.yaml"}}, r"^qa.reference: there is no r.yaml"),
        ({"qa": {"agreements": "a.csv"}}, r"^qa.agreements: there is no a.csv"),
        ({"qa": {"suspicions": "params.yaml"}}, r"^qa.suspicions: The columns are not"),
        ({"sample": {"kit": "kit"}}, r"^sample.kit: there is no kit"),
        (
            {"sample": {"held_out_sprites": ["cow/zebr"]}},
            r"sample.held_out_sprites.0: .*'cow/zebr'.*'cow/zebu'",
        ),
        ({"dataset": "mine"}, r"ingest.manifest: the dataset is 'mine', and .* Name your own"),
        # names
        ({"qa": {"skip": ["empty_trak"]}}, r"^qa.skip.0: there is no check 'empty_trak'.*Known: "),
        ({"qa": {"thresholds": {"x": 1}}}, r"^qa.thresholds.x: there is no check 'x'"),
        ({"qa": {"severities": {"x": "info"}}}, r"^qa.severities.x: there is no check 'x'"),
        (
            {"mllm": {"models": [{**MODEL, "name": "avism"}]}},
            r"mllm.models.0.name: 'avism' is the name of a var",
        ),
        ({"mllm": {"models": [{**MODEL, "name": "scores.json"}]}}, r"data/mllm/scores.json is of the"),
        ({"mllm": {"models": [{**MODEL, "name": "baseline"}]}}, r"the baselines have this name"),
        ({"mllm": {"models": [MODEL, MODEL]}}, r"^mllm: two models share a name: gpt, gpt"),
        (
            {"promotion": {"variant": "best"}},
            r"promotion.variant: there is no variant 'best'.*avism_no_audio",
        ),
        ({"promotion": {"metric": "IoU"}}, r"^promotion.metric: .*'mAP', 'HOTA' or 'FSLA', not 'IoU'"),
        ({"variants": {"a/b": {}}}, r"'a/b' cannot be the name of a variant"),
        ({"variants": None}, r"^variants: there is none"),
        # numbers
        (
            {"train": {"model": {"heads": 7}}},
            r"^train.model.heads: channels \(128\) must be .*1, 2, 4, 8, .*not 7",
        ),
        (
            {"train": {"warmup_steps": 601}},
            r"^train.warmup_steps: a warm-up of 601 .*training of 600.*at most 600",
        ),
        ({"variants": {"avism": {"steps": 5}}}, r"^train.warmup_steps: a warm-up of 10 .*training of 5\b"),
        (
            {"train": {"schedule": "step", "milestones": [90, 40]}},
            r"^train.milestones: \[90, 40\] are not asc",
        ),
        ({"train": {"schedule": "step", "milestones": [600]}}, r"train.milestones: .*from 1 to 599"),
        ({"train": {"learning_rate": 1000}}, r"^train.learning_rate: .*less than or equal to 1, not 1000"),
        ({"train": {"learning_rate": 0}}, r"^train.learning_rate: .*greater than 0, not 0"),
        ({"train": {"learning_rate": float("nan")}}, r"^train.learning_rate: .*finite number, not nan"),
        ({"train": {"weight_decay": float("inf")}}, r"^train.weight_decay: .*finite number"),
        ({"train": {"steps": True}}, r"^train.steps: .*valid integer, not True"),
        ({"train": {"deaf_share": True}}, r"^train.deaf_share: .*valid number, not True"),
        ({"train": {"steps": "150"}}, r"^train.steps: .*valid integer, not '150'"),
        ({"train": {"seed": -1}}, r"^train.seed: .*greater than or equal to 0, not -1"),
        ({"compare": {"bootstrap_samples": 5}}, r"^compare.bootstrap_samples: .*equal to 100, not 5"),
        (
            {"predict": {"score_threshold": 1.5}},
            r"^predict.score_threshold: .*equal to 1, or input should be 'chosen', not 1.5",
        ),
        ({"evaluate": {"resamples": -1}}, r"^evaluate.resamples: "),
        ({"sample": {"min_duration_s": -3}}, r"^sample.min_duration_s: .*not -3"),
        ({"sample": {"test_clips": 0}}, r"^sample.test_clips: there must be at least one"),
        (
            {"annotate": {"splits": {"shares": {"train": 7}}}},
            r"^annotate.splits.shares.train: .*less than 1, not 7",
        ),
        (
            {"annotate": {"splits": {"shares": {"train": 0.5}}}},
            r"^annotate.splits.shares: .*0.8 together.*be 1",
        ),
        # the machine
        ({"train": {"device": "cuda"}}, r"^train.device: cuda is asked for, but PyTorch sees no GPU"),
        ({"predict": {"device": "cuda"}}, r"^predict.device: cuda is asked for"),
        ({"engine": {"kind": "ray"}}, r"^engine.kind: Ray is not installed"),
        ({"tracking": {"uri": "mlflow.db"}}, r"^tracking.uri: .*no scheme; write sqlite:///mlflow.db"),
        ({"tracking": {"uri": "sqlite://mlflow.db"}}, r"^tracking.uri: .*three slashes"),
        ({"storage": {"raw": "bucket/videos"}}, r"^storage.raw: "),
        (
            {"mllm": {"models": [{**MODEL, "api_key_env": "NO_SUCH_KEY"}]}},
            r"NO_SUCH_KEY is not set.*Type: export",
        ),
        (
            {"mllm": {"models": [{"name": "gpt", "path": "no/model"}]}},
            r"mllm.models.0.path: there is no model in no/model",
        ),
        (
            {"mllm": {"models": [MODEL], "segmenter": "no/sam"}},
            r"mllm.segmenter: there is no model in no",
        ),
        # blocks
        (
            {"train": {"model": {"audio": "features"}, "pasted_share": 0}},
            r"^train.model.audio: there are no audio features",
        ),
        ({"extract": {"replace_features": True}}, r"^extract.replace_features: "),
        (
            {"train": {"checkpoint_activations": ["clip_decoder"]}},
            r"train.checkpoint_activations: .*no clip_dec",
        ),
        # disturbances
        ({"predict": {"disturb": {"noize": "pink"}}}, r"^predict.disturb.noize is no .*Did you mean 'noise'"),
        ({"predict": {"disturb": {"noise": "pink"}}}, r"^predict.disturb: noise and snr_db belong together"),
        ({"train": {"disturb": {"shift_s": 99}}}, r"^train.disturb.shift_s: .*equal to 60, not 99"),
        (
            {"train": {"disturb": {"codec": "mp3", "bit_rate_kbps": 9}}},
            r"^train.disturb: bit_rate_kbps is 9; mp3 has 8, 16",
        ),
        ({"trian": {}}, r"^'trian' is no known block .*Did you mean 'train'"),
        ({"train": {"stepz": 1}}, r"^train.stepz is no known parameter .*Did you mean 'steps'"),
    ],
)
def test_a_mistake_is_said_once_with_its_line_and_a_remedy(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    change(**changes)
    said = [str(mistake) for mistake in find_mistakes()]
    assert any(re.search(message, line) for line in said), said
    assert all(re.search(r"\(params.yaml, line \d+\)\.", line) for line in said), said
    same_cause = 1 if "dataset" not in changes else 3  # its manifest twice, its annotations
    assert len(said) == same_cause, said


def test_audio_features_are_not_disturbed_but_another_clips_may_be_heard() -> None:
    hears = {"model": {"audio": "features"}, "pasted_share": 0}
    change(extract={"audio_weights": "params.yaml"}, train=hears, predict={"disturb": {"muted_share": 0.5}})
    said = [str(mistake) for mistake in find_mistakes()]
    assert len(said) == 1 and said[0].startswith("predict.disturb: avism hears audio features, which cannot")
    change(extract={"audio_weights": "params.yaml"}, train={**hears, "disturb": {"clipped_share": 0.1}})
    assert [str(mistake)[:24] for mistake in find_mistakes()] == ["train.disturb: avism hear"[:24]]
    change(
        extract={"audio_weights": "params.yaml"},
        train={**hears, "disturb": {"replaced_by": "other_clip"}},
        predict={"disturb": {"blur_px": 2}},
    )
    assert find_mistakes() == []


def test_the_line_is_the_line() -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("bootstrap_samples: 2000", "bootstrap_samples: 2"))
    number = text[: text.index("bootstrap_samples")].count("\n") + 1
    assert [mistake.where for mistake in find_mistakes()] == [f"params.yaml, line {number}"]


def test_all_mistakes_come_at_once() -> None:
    change(
        compare={"bootstrap_samples": 5},
        qa={"skip": ["nothing"]},
        train={"steps": True, "learning_rate": 1000},
        ingest={"manifest": "none.csv"},
        nonsense={},
    )
    said = " ".join(str(mistake) for mistake in find_mistakes())
    for word in ("bootstrap_samples", "qa.skip", "train.steps", "learning_rate", "none.csv", "nonsense"):
        assert word in said


def test_a_missing_block_is_named() -> None:
    document = yaml.safe_load(Path("params.yaml").read_text())
    for name in ("compare", "variants", "tracking"):
        del document[name]
    Path("params.yaml").write_text(yaml.safe_dump(document))
    said = [mistake.what for mistake in find_mistakes()]
    # tracking need not be there
    assert sorted(said) == ["the block 'compare' is missing", "the block 'variants' is missing"]


def test_files_of_stages_that_have_run_are_not_looked_for() -> None:
    """Who scores pulled models on a machine that cannot train is not asked for what training needs."""
    document = change(train={"start_from": "gone.safetensors"}, annotate={"category_map": "gone.yaml"})
    assert len(find_mistakes("sample")) == 2
    assert [m.what for m in find_mistakes("train@avism")] == [
        "train.start_from: there is no gone.safetensors"
    ]
    assert len(find_mistakes("evaluate@avism")) == 1  # the other variant may still be trained
    stages = {
        f"train@{name}": {
            "params": {"params.yaml": {"train": document["train"], f"variants.{name}": settings}}
        }
        for name, settings in document["variants"].items()
        if name != "avism"
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    try:
        assert find_mistakes("evaluate@avism") == []
        assert len(find_mistakes()) == 2
    finally:
        Path("dvc.lock").unlink()


def test_an_address_in_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlflow.db")
    assert "MLFLOW_TRACKING_URI: it begins with no scheme" in str(find_mistakes()[0])


def test_a_download_with_features_needs_no_weights(tmp_path: Path) -> None:
    frames = tmp_path / "train/JPEGImages/dog"
    frames.mkdir(parents=True)
    manifest, labels = tmp_path / "manifest.csv", tmp_path / "labels.json"
    manifest.write_text(f"video_id,source\ndog,{frames}\n")
    labels.write_text("{}")
    mine: dict[str, Any] = {
        "dataset": "mine",
        "ingest": {"manifest": str(manifest)},
        "annotate": {"source": str(labels), "splits": {"manifest": str(manifest)}},
        "train": {"model": {"audio": "features"}, "pasted_share": 0},
    }
    change(**mine)
    assert [m.what[:50] for m in find_mistakes()] == ["train.model.audio: there are no audio features: ex"]
    (tmp_path / "train/FEATAudios").mkdir()
    assert find_mistakes() == []


def test_networks_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(name: str, config: dict[str, Any]) -> str | None:
        built.append(config["audio"])
        return "too many" if config["frame_queries"] > 5000 else None

    monkeypatch.setattr(machine, "_why_not_built", build)
    assert find_mistakes() == [] and built == ["vggish", "none"]
    assert find_mistakes() == [] and len(built) == 2
    change(variants={"avism": {"model": {"frame_queries": 6000}}})
    said = [mistake.what for mistake in find_mistakes()]
    assert said == ["variants.avism.model: the network of avism cannot be built: too many"]
    assert len(built) == 3
    assert len(find_mistakes()) == 1 and len(built) == 4  # what failed is tried again


def test_a_network_that_cannot_be_built_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    os.chdir(ROOT)
    settings = {"channels": 48, "heads": 8, "backbone_pretrained": False, "audio": "none"}
    assert machine._why_not_built("avism", settings) is None
    assert "8 parts to freeze" in str(
        machine._why_not_built(
            "avism", {**settings, "backbone_frozen_parts": 9, "backbone": "efficientnet_lite0"}
        )
    )


def leaves(values: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    return [place, *(leaf for key, value in inner for leaf in leaves(value, (*place, key)))]


DOCUMENT = yaml.safe_load((ROOT / "params.yaml").read_text())
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["cuda", "none", "../up", "data", "params.yaml", "1e400", "\x00", "*", "~", "/dev/null"]),
    st.lists(st.integers(-5, 5), max_size=3),
    st.dictionaries(st.one_of(st.text(max_size=5), st.integers(), st.none(), st.dates()), st.integers()),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.sampled_from(leaves(DOCUMENT)[1:]), min_size=1, max_size=3), values=st.data())
def test_whatever_stands_there_is_right_or_a_clean_message(
    places: list[tuple[Any, ...]], values: st.DataObject
) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    for place in places:
        inner = document
        for key in place[:-1]:
            inner = inner[key] if isinstance(inner, dict) and key in inner else None
            if not isinstance(inner, dict | list):
                break
        else:
            if isinstance(inner, dict) or (isinstance(inner, list) and place[-1] < len(inner)):
                inner[place[-1]] = values.draw(ANYTHING)
    Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    for mistake in find_mistakes():
        assert mistake.where
        assert "Traceback" not in str(mistake)


def test_a_stage_of_another_pipeline_is_asked_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("train: {}\n")
    assert find_mistakes("train@tiny") == []  # its graph lies elsewhere: a stage with `wdir`
    assert find_mistakes()  # by hand all is looked at
    Path("dvc.yaml").write_text("stages:\n  train:\n    cmd: python their_own.py\n")
    assert find_mistakes("train@tiny") == []
