from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Discriminator, Field, Tag, model_validator

from components.core.run.errors import AvisError
from components.core.run.params import Block, EngineParams, read_block, read_variant, read_variant_names


class Backbone(Block):
    name: Literal["lite0", "r50"] = "lite0"
    freeze: int = 0


class Train(Block):
    steps: int = Field(default=10, ge=1)
    learning_rate: float = 0.1
    backbone: Backbone = Backbone()

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.steps * self.learning_rate > 1000:
            raise ValueError("steps times learning_rate is too much")
        return self


TEXT = """\
train:
  steps: 100
  learning_rate: 1e-4
  backbone:
    name: r50
    freeze: 2
variants:
  plain:
  short:
    steps: 5
    backbone:
      freeze: 1
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


def test_a_block_and_what_overrides_it(params: Path) -> None:
    assert read_block("train", Train, path=params).learning_rate == 1e-4  # text to YAML, a number to us
    changed = read_block("train", Train, path=params, override={"backbone": {"name": "lite0"}})
    assert changed.backbone == Backbone(name="lite0", freeze=2)


def test_a_variant_is_laid_over_train_key_by_key(params: Path) -> None:
    assert read_variant_names(params) == ["plain", "short"]
    assert read_variant("plain", Train, params).steps == 100
    short = read_variant("short", Train, params)
    assert (short.steps, short.backbone) == (5, Backbone(name="r50", freeze=1))


def test_an_unknown_variant_lists_the_known_ones(params: Path) -> None:
    with pytest.raises(AvisError, match=r"'shrt'.*Did you mean 'short'.*Allowed: plain, short"):
        read_variant("shrt", Train, params)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps: 100",
            "stepz: 100",
            "train.stepz is no known.*line 2.*Did you mean 'steps'.*Allowed: steps, ",
        ),
        ("steps: 100", "steps: many", r"train.steps: .*integer.*, not 'many' \(.*line 2"),
        ("steps: 100", "steps: 0", "train.steps: .*greater than or equal to 1.*line 2"),
        ("name: r50", "name: r51", "train.backbone.name: .*'lite0' or 'r50'.*line 5"),
        ("name: r50", "nam: r50", "train.backbone.nam is no known.*line 5.*'name'.*Allowed: name, freeze"),
        ("  learning_rate: 1e-4", "  steps: 3", "train.steps stands twice.*lines 2 and 3"),
        ("steps: 100", "steps: [", "not valid YAML.*line"),
        ("steps: 100", "steps: 99999999", r"^train: steps times learning_rate is too much \(.*line 1\)\.$"),
        ("steps: 100", "steps: 2026-02-31", "not valid YAML: day"),
        ("steps: 100", "steps: &again [*again]", "not valid YAML"),
        ("train:\n", "trian:\n", "'trian' is no known block.*line 1.*Did you mean 'train'"),
    ],
)
def test_a_mistake_names_line_field_and_remedy(params: Path, old: str, new: str, message: str) -> None:
    params.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(AvisError, match=message) as caught:
        read_block("train", Train, path=params)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_variant_is_looked_for_there(params: Path) -> None:
    params.write_text(TEXT.replace("steps: 5", "steps: x"))
    with pytest.raises(AvisError, match=r"variants.short.steps: .*line 10"):
        read_variant("short", Train, params)


@pytest.mark.parametrize("name", ["../up", "a b", "a;b", "-x", ".x", "1", "''"])
def test_a_variants_name_must_do_as_a_folder_and_a_word(params: Path, name: str) -> None:
    params.write_text(TEXT.replace("  plain:", f"  {name}:"))
    for read in (read_variant_names, lambda path: read_variant("short", Train, path)):
        with pytest.raises(
            AvisError, match=r"cannot be the name of a variant \(.*params.yaml, line \d+\). Use"
        ):
            read(params)


def test_missing_file_and_block(tmp_path: Path, params: Path) -> None:
    with pytest.raises(AvisError, match=r"no parameter file.*repository root"):
        read_block("train", Train, path=tmp_path / "none.yaml")
    with pytest.raises(AvisError, match=r"'engine' is missing.*There are: train, variants"):
        read_block("engine", EngineParams, path=params)
    assert read_block("engine", EngineParams, path=params, optional=True) == EngineParams()
    with pytest.raises(AvisError, match="is a folder"):
        read_block("train", Train, path=tmp_path)
    params.write_text("train: 5\n")
    with pytest.raises(AvisError, match=r"train must be a block.*line 1"):
        read_block("train", Train, path=params)


class Horn(Block):
    name: Literal["horn"] = "horn"
    length_m: float = 1.0


class Bell(Block):
    name: Literal["bell"]
    width_m: float = 1.0


class Orchestra(Block):
    model: Annotated[
        Annotated[Horn, Tag("horn")] | Annotated[Bell, Tag("bell")],
        Discriminator(lambda values: values.get("name", "horn")),
    ]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("{name: bell, widht_m: 2}", r"train.model.widht_m is no known .*line 2.*'width_m'.*: name, width_m"),
        ("{length_m: x}", r"train.model.length_m: .*number.*, not 'x' \(.*line 2"),
        ("{name: bell, length_m: 2, a: 1}", r"Allowed: name, width_m\. Also wrong: train.model.a\."),
    ],
)
def test_a_mistake_in_one_of_several_kinds_of_block(params: Path, block: str, message: str) -> None:
    params.write_text(f"train:\n  model: {block}\n")
    with pytest.raises(AvisError, match=message):
        read_block("train", Orchestra, path=params)


def test_another_network_takes_over_no_setting(params: Path) -> None:
    text = "train:\n  model: {name: horn, length_m: 2}\nvariants:\n"
    params.write_text(text + "  bell: {model: {name: bell}}\n  horn: {model: {name: horn}}\n")
    assert read_variant("bell", Orchestra, params).model == Bell(name="bell")
    assert read_variant("horn", Orchestra, params).model == Horn(length_m=2)
