"""What a training takes over from weights: parameters that fit, and rows of the class heads by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models import build
from models.checkpoints.aviseg_categories import AVISEG_CATEGORIES
from models.checkpoints.parameter_names import published_name
from models.checkpoints.recognised import Choices, recognise
from models.checkpoints.saved import save_weights
from models.checkpoints.starting import begin, read_start
from tests.support.tiny_model import tiny_model

PUBLISHED: dict[str, Any] = {"presence_head": False, "audio_tagging": False, "audio": "features"}
HEADS = ("frame_decoder.class_head.weight", "video_module.class_head.weight", "video_module.class_head.bias")


def published(path: Path, categories: int) -> dict[str, Tensor]:
    """Write what AVISM's program would, small, without a backbone; returns its parameters under our names."""
    own: dict[str, Tensor] = tiny_model(categories, seed=1, **PUBLISHED).state_dict()
    own = {name: value for name, value in own.items() if not name.startswith("backbone.")}
    renamed = {published_name(name, "avism"): value for name, value in own.items()}
    assert "avism_module.class_embed.weight" in renamed
    torch.save({"model": {**renamed, "criterion.empty_weight": torch.ones(categories + 1)}}, path)
    return own


def test_a_published_file_keeps_the_rows_of_its_categories_by_name(tmp_path: Path) -> None:
    theirs = published(tmp_path / "avism.pth", 26)
    model = tiny_model(4, seed=2, **PUBLISHED)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    start = read_start(tmp_path / "avism.pth")
    assert start.notes == ("it has 26 categories without names: they are taken for AVISeg's",)
    started = begin(model, start, {9: "horse", 2: "bell", 4: "cat", 5: "Lawn mower"})  # order by id
    after = model.state_dict()
    for name in HEADS:
        assert torch.equal(after[name][0], fresh[name][0]), f"bell of {name}"
        assert torch.equal(after[name][1], theirs[name][10]), f"cat of {name}"
        assert torch.equal(after[name][2], fresh[name][2]), f"lawn mower of {name}"
        assert torch.equal(after[name][3], theirs[name][25]), f"horse of {name}"
        assert torch.equal(after[name][4], theirs[name][26]), f"no object of {name}"
    others = [name for name in theirs if "class_head" not in name]
    assert all(torch.equal(after[name], theirs[name]) for name in others)
    backbone = [name for name in fresh if name.startswith("backbone.")]
    assert all(torch.equal(after[name], fresh[name]) for name in backbone)
    assert (started.taken, started.of) == (len(theirs), len(fresh))
    assert started.sentences() == [
        "categories kept by name: cat, horse; drawn anew: bell, Lawn mower; forgotten: person, violin, "
        "guitar, cello, flute and 19 more",
        "'Lawn mower' of the annotations starts anew, though the weights know 'lawn_mover': if they are the "
        "same, give annotate.category_map a file with the line `Lawn mower: lawn_mover`",
    ]


def test_a_file_that_knows_none_of_the_categories(tmp_path: Path) -> None:
    state = tiny_model(2, seed=1).state_dict()
    save_weights(tmp_path / "w.safetensors", state, categories={1: "violin", 2: "dog"})
    model = tiny_model(2, seed=2)
    row = model.video_module.class_head.weight[0].clone()
    started = begin(model, read_start(tmp_path / "w.safetensors"), {1: "Violin", 2: "harp"})
    assert torch.equal(model.video_module.class_head.weight[0], row)
    assert started.alike == {"Violin": "violin"}
    assert (
        "the weights know none of the annotations' categories: every row of the class heads is new"
        in started.sentences()
    )


def test_the_same_categories_need_no_word(tmp_path: Path) -> None:
    state = tiny_model(2, seed=1).state_dict()
    save_weights(tmp_path / "w.safetensors", state, categories={1: "violin", 2: "dog"})
    assert (
        begin(tiny_model(2), read_start(tmp_path / "w.safetensors"), {4: "dog", 7: "violin"}).sentences()
        == []
    )


def test_rows_without_names_are_not_taken_for_other_categories(tmp_path: Path) -> None:
    published(tmp_path / "avism.pth", 3)
    model = tiny_model(3, seed=2, **PUBLISHED)
    fresh = model.video_module.class_head.weight.clone()
    started = begin(model, read_start(tmp_path / "avism.pth"), {1: "cat", 2: "dog", 3: "harp"})
    assert torch.equal(model.video_module.class_head.weight, fresh)  # in shape they would fit
    assert started.known == [] and started.taken < started.of


def test_names_of_another_number_than_the_rows_name_nothing(tmp_path: Path) -> None:
    """Both readers of files say the same of them."""
    state = tiny_model(2, seed=1).state_dict()
    names = {1: "violin", 2: "dog", 3: "cat"}
    save_weights(tmp_path / "w.safetensors", state, categories=names)
    assert read_start(tmp_path / "w.safetensors").categories is None
    seen = recognise(tmp_path / "w.safetensors", Choices(heads=2, window=3))
    assert seen.categories is None and seen.categories_from == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 32}, r"of another size than train\.model: .* do not fit \(.* is 16.*, not .*32"),
        ({"name": "tpavi"}, r"it is an AVISM, and train\.model is a TPAVI"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    published(tmp_path / "avism.pth", 26)
    if "name" in changes:
        model: Any = build(
            "tpavi", backbone="efficientnet_lite0", backbone_pretrained=False, channels=16, heads=2
        )
    else:
        model = tiny_model(2, **{**PUBLISHED, **changes})
    before = model.state_dict()["pixel_decoder.level_embed"].clone()
    with pytest.raises(ValueError, match=message):
        begin(model, read_start(tmp_path / "avism.pth"), {1: "cat", 2: "dog"})
    assert torch.equal(model.state_dict()["pixel_decoder.level_embed"], before)


def test_a_folder_that_training_wrote_and_what_is_no_weights(tmp_path: Path) -> None:
    save_weights(tmp_path / "model.safetensors", {"frame_decoder.x": torch.ones(2)}, categories={1: "dog"})
    assert read_start(tmp_path).categories == ("dog",)
    (tmp_path / "notes.pth").write_text("no weights")
    with pytest.raises(ValueError, match="is damaged, or holds more than tensors"):
        read_start(tmp_path / "notes.pth")
    with pytest.raises(FileNotFoundError):
        read_start(tmp_path / "none.pth")
    save_file({"pixel_decoder.x": torch.ones(1)}, tmp_path / "plain.safetensors")
    assert read_start(tmp_path / "plain.safetensors").categories is None


def test_the_released_order_of_categories() -> None:
    assert len(set(AVISEG_CATEGORIES)) == 26
    assert AVISEG_CATEGORIES[0] == "person" and AVISEG_CATEGORIES[25] == "horse"
