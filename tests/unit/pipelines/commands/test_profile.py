"""Profiles: blocks are replaced, comments stay."""

import shutil
from pathlib import Path

import pytest
import yaml

from components.core.run.errors import AvisError
from components.core.run.params import ALLOWED_BLOCKS, parse_params
from components.tools.parameters.blocks import BLOCKS, read_blocks
from pipelines.commands.runs.profile import profile as apply_profile
from pipelines.commands.runs.profile import read_document, text_of
from pipelines.dvc.graph import find_root

ROOT = find_root(Path(__file__).parent)
PARAMS = """\
# the head

dataset: sample   # its name

# about ingest
ingest:
  manifest: a.csv
  # inside
  attempts: 3

# about variants
variants:
  demo:
    seed: 1
# about compare
compare: {}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params").mkdir()
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_blocks_are_replaced_whole_and_comments_between_them_stay(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "params/big.yaml").write_text(
        "# A profile\ndataset: other\n\n# of the profile\nvariants:\n  large:\n    seed: 7  # lucky\n"
    )
    apply_profile("big")
    expected = PARAMS.replace("dataset: sample   # its name", "dataset: other")
    expected = expected.replace("  demo:\n    seed: 1\n", "  large:\n    seed: 7  # lucky\n")
    assert (folder / "params.yaml").read_text() == expected
    shown = capsys.readouterr().out
    assert "dataset: sample → other" in shown
    assert "variants.demo.seed: 1 → -" in shown
    assert "3 values changed" in shown
    apply_profile("big")
    assert "Nothing changed" in capsys.readouterr().out


def test_a_profile_may_extend_another_and_add_a_block(folder: Path) -> None:
    (folder / "params/base.yaml").write_text("dataset: base\nmllm:\n  models: []\n")
    (folder / "params/more.yaml").write_text("extends: base\ndataset: more\n")
    apply_profile("more")
    values = yaml.safe_load((folder / "params.yaml").read_text())
    assert values["dataset"] == "more"
    assert values["mllm"] == {"models": []}
    assert values["ingest"]["attempts"] == 3


@pytest.mark.parametrize(
    ("profile", "text", "message"),
    [
        ("other", "dataset: x\n", "no profile 'other'.*Profiles: mine"),
        ("mine", "dataste: x\n", r"'dataste' is no known block \(params/mine.yaml, line 1\)"),
        ("mine", "a: [\n", "not valid YAML"),
        ("mine", "- a\n", "must be a block of 'key: value' lines"),
        ("mine", "extends: mine\n", "'mine' extends itself"),
        ("mine", "extends: other\n", "no profile 'other'.*Profiles: mine"),
    ],
)
def test_mistakes_are_named_and_change_nothing(folder: Path, profile: str, text: str, message: str) -> None:
    (folder / "params/mine.yaml").write_text(text)
    with pytest.raises(AvisError, match=message):
        apply_profile(profile)
    assert (folder / "params.yaml").read_text() == PARAMS


def test_our_parameter_file_has_every_block_with_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert tuple(read_document(Path("params.yaml"))) == ALLOWED_BLOCKS
    values = yaml.safe_load(Path("params.yaml").read_text())
    for name, model in BLOCKS.items():
        assert set(values[name]) == set(model.model_fields), f"{name}: say each value once, commented"


def test_one_profile_after_another_gives_what_the_second_gives_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "params/one.yaml").write_text("variants:\n  large: {}\n\n# of one\nengine: {}\n")
    (folder / "params/two.yaml").write_text("variants:\n  small: [1]\n\n# of two\ncompare:\n  seed: 1\n")
    apply_profile("two")
    alone = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(PARAMS)
    apply_profile("one")
    apply_profile("two")
    assert (folder / "params.yaml").read_text() == alone + "engine: {}\n"
    assert "# about compare\ncompare:\n  seed: 1" in alone and "# of" not in alone


@pytest.mark.parametrize(
    "file", [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))], ids=lambda file: file.name
)
def test_what_is_read_is_written_byte_for_byte(file: Path) -> None:
    assert text_of(read_document(file)) == file.read_text(encoding="utf-8")


def test_a_file_in_another_form_keeps_values_and_comments_and_it_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "params.yaml").write_text(PARAMS.replace("attempts: 3", "attempts:     3"))
    (folder / "params/big.yaml").write_text("dataset: other\n")
    apply_profile("big")
    expected = PARAMS.replace("dataset: sample   # its name", "dataset: other")
    assert (folder / "params.yaml").read_text() == expected
    assert "Spacing and quotes of params.yaml were changed elsewhere" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", *(path.stem for path in sorted((ROOT / "params").glob("*.yaml")))])
def test_every_stage_accepts_its_block_in_every_profile(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "params", tmp_path / "params", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if name:
        apply_profile()
        assert name in capsys.readouterr().out
        apply_profile(name)
    found = read_blocks(parse_params())
    assert not found.mistakes
    assert found.values["variants"]
