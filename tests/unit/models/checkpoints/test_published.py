"""Released checkpoints: names, what is read from shapes, and what is said of files that do not fit."""

import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from models import build, load_published
from models.checkpoints.parameter_names import our_entries, our_name
from models.networks.avism.avism import Avism, AvismConfig

pytestmark = pytest.mark.slow

GOLDEN = Path("tests/data/golden")
SMALL: dict[str, Any] = {
    "categories": 3,
    "channels": 32,
    "heads": 8,
    "points": 2,
    "pixel_layers": 2,
    "pixel_hidden": 48,
    "frame_queries": 5,
    "frame_layers": 3,
    "video_queries": 4,
    "video_encoder_layers": 2,
    "video_decoder_layers": 1,
    "hidden": 40,
}


def shapes_of(folder: str) -> dict[str, tuple[int, ...]]:
    values = json.loads((GOLDEN / folder / "state_dict_shapes.json").read_text())
    return {name: tuple(shape) for name, shape in values.items()}


def published_state(model: Avism, folder: str = "avism_r50") -> dict[str, Tensor]:
    """Parameters of a model of ours under their published names."""
    own = model.state_dict()
    state = {name: own[ours] for name in shapes_of(folder) if (ours := our_name(name)) in own}
    assert len(state) == len(own)
    return {**state, "criterion.empty_weight": torch.ones(4)}


@pytest.fixture(scope="module")
def small() -> Avism:
    torch.manual_seed(5)
    return build("avism", **SMALL).eval()


@pytest.fixture(scope="module")
def released(small: Avism) -> dict[str, Tensor]:
    return published_state(small)


@pytest.mark.parametrize(
    ("folder", "config"),
    [
        ("avism_r50", {}),
        ("avism_swin_l", {"backbone": "swin_large", "frame_queries": 200}),
        ("acvis_r50", {"audio_queries": "audio_centric", "count_token": True}),
    ],
)
def test_every_published_parameter_has_one_of_ours_of_its_shape(folder: str, config: dict[str, Any]) -> None:
    with torch.device("meta"):
        own = {name: tuple(x.shape) for name, x in Avism(AvismConfig(**config)).state_dict().items()}
    with torch.device("meta"):
        renamed, left = our_entries({name: torch.empty(x) for name, x in shapes_of(folder).items()})
    assert {name: tuple(x.shape) for name, x in renamed.items()} == own
    # of the losses; computed; unused by ACVIS, too
    assert all(re.search(r"criterion\.|position_index$|\.av_post_proj\.", name) for name in left), left


def test_coco_checkpoints_spell_the_video_module_vita() -> None:
    # as VITA's released weights do, inside and out
    for name in shapes_of("avism_r50"):
        assert our_name(name.replace("avism_", "vita_")) == our_name(name)
    assert our_name("vita_module.vita_mask_features.weight") == "video_module.mask_features.weight"
    assert our_name("criterion.empty_weight") is None
    assert our_name("vita_criterion.empty_weight") is None
    assert our_name("pixel_mean") is None


def test_early_mask2former_names_are_known() -> None:
    assert our_name("sem_seg_head.predictor.static_query.weight") == "frame_decoder.query_content.weight"
    assert our_name("sem_seg_head.adapter_1.weight") == "pixel_decoder.lateral.0.weight"


@pytest.mark.parametrize("form", ["state dict", "arrays", ".pth", ".pkl", "data parallel"])
def test_a_release_becomes_a_ready_model(
    form: str, small: Avism, released: dict[str, Tensor], tmp_path: Path
) -> None:
    """Its architecture is read from the shapes."""
    checkpoint: Any = released
    arrays = {name: value.numpy() for name, value in released.items()}
    if form == "arrays":
        checkpoint = {"model": arrays, "iteration": 47_999}
    elif form == "data parallel":
        checkpoint = {f"module.{name}": value for name, value in released.items()}
    elif form == ".pth":
        checkpoint = tmp_path / "released.pth"
        torch.save({"model": released, "iteration": 47_999, "lr": np.float64(1e-4)}, checkpoint)
    elif form == ".pkl":
        checkpoint = str(tmp_path / "released.pkl")
        Path(checkpoint).write_bytes(pickle.dumps({"model": arrays, "__author__": "third_party"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_published(checkpoint)
    assert model.config == small.config
    assert not model.training
    for name, value in small.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_config_says_what_shapes_cannot(released: dict[str, Tensor]) -> None:
    model = load_published(released, heads=4, window=3)
    assert (model.config.heads, model.config.points, model.config.window) == (4, 4, 3)
    assert model.config.categories == 3
    with pytest.raises(ValueError, match="unknown settings of avism: depth"):
        load_published(released, depth=3)
    with pytest.raises(ValueError, match=r"class_head\.weight: shape \(4, 32\) instead of \(8, 32\)"):
        load_published(released, categories=7)


def test_everything_that_does_not_fit_is_listed(released: dict[str, Tensor]) -> None:
    state = dict(released)
    del state["sem_seg_head.predictor.decoder_norm.bias"]
    state["avism_module.av_proj.weight"] = torch.empty(32, 768)
    state["sem_seg_head.predictor.spare.weight"] = torch.empty(1)
    with pytest.raises(ValueError, match="3 entries differ") as error:
        load_published(state)
    message = str(error.value)
    assert "missing: frame_decoder.norm.bias" in message
    assert "unexpected: frame_decoder.spare.weight" in message
    assert "video_module.audio_proj.weight: shape (32, 768) instead of (32, 128)" in message


def test_ancestors_are_refused_with_the_way_to_start_from_them(released: dict[str, Tensor]) -> None:
    mask2former = {name: x for name, x in released.items() if not name.startswith("avism_module.")}
    mask2former = {name: x for name, x in mask2former.items() if ".av_" not in name}
    with pytest.raises(ValueError, match=r"video_module\.\* \(all \d+\).*Mask2Former.*avis weights"):
        load_published(mask2former)
    vita = {
        name.replace("avism_", "vita_"): x
        for name, x in released.items()
        if ".av_" not in name and "_av_" not in name
    }
    with pytest.raises(ValueError, match=r"missing: frame_decoder\.audio_fusion\.\* .*It is a VITA"):
        load_published(vita)


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save(nn.TransformerEncoderLayer(8, 2, 8).state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other\.pth is of another model: its entries are called self_attn\.in_p"
    ):
        load_published(tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no parameters by name"):
        load_published({})
    with pytest.raises(ValueError, match="'epoch' is no tensor but int"):
        load_published({"epoch": 3})
    with pytest.raises(FileNotFoundError):
        load_published(tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"the checkpoint is of type int; allowed: the path of a \.pth"):
        load_published(3)  # type: ignore[arg-type]
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(ValueError, match=r"resnet18\.pth does not hold a resnet50: .* entries differ"):
        load_published(tmp_path / "resnet18.pth")


def test_models_of_ours_are_for_load_model(small: Avism, tmp_path: Path) -> None:
    save_file(small.state_dict(), tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match=r"ours\.safetensors is already in our names.*saved\.load_model"):
        load_published(tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match=r"is a TPAVI of ours: use models\.checkpoints\.saved\.load_model"):
        load_published({"clip_decoder.x": torch.zeros(1), "pixel_decoder.x": torch.zeros(1)})


def test_released_weights_as_safetensors(released: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: x.contiguous() for name, x in released.items()}, tmp_path / "released.safetensors")
    assert load_published(tmp_path / "released.safetensors").config.categories == 3


def test_backbone_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^backbone_weights, .*none\.pth: No such file or directory$"):
        build("avism", **SMALL, backbone_weights=str(tmp_path / "none.pth"))


def detectron2_names(state: dict[str, Tensor]) -> dict[str, Any]:
    """A torchvision ResNet as in Detectron2's R-50.pkl of it: other names, arrays, the classifier too."""
    renamed = {}
    for name, value in state.items():
        if "layer" not in name:
            name = f"stem.{name}"
        for number in (1, 2, 3, 4):
            name = name.replace(f"layer{number}", f"res{number + 1}")
        for number in (1, 2, 3):
            name = name.replace(f"bn{number}", f"conv{number}.norm")
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        renamed[name] = value.numpy()
    return renamed


@pytest.mark.parametrize("form", ["torchvision", "detectron2"])
def test_a_backbone_alone_leaves_the_rest_untrained_and_says_so(form: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = resnet50()
    state = network.state_dict()
    if form == "torchvision":
        file = tmp_path / "r50.pth"
        torch.save(state, file)
    else:
        file = tmp_path / "R-50.pkl"
        content = {"model": detectron2_names(state), "__author__": "torchvision", "matching_heuristics": True}
        file.write_bytes(pickle.dumps(content))
    with pytest.warns(UserWarning, match=r"backbone \(resnet50\) only: the other \d{3} parameters"):
        model = load_published(file, **{name: SMALL[name] for name in ("channels", "hidden", "categories")})
    stages = model.backbone.network
    assert torch.equal(stages.stem[1].running_var, network.bn1.running_var)
    assert torch.equal(stages.stages[0][0].downsample[0].weight, network.layer1[0].downsample[0].weight)
    assert torch.equal(stages.stages[3][2].bn3.weight, network.layer4[2].bn3.weight)
    assert model.config.channels == 32
    del state["layer2.1.conv2.weight"]
    with pytest.raises(ValueError, match=r"missing: network\.stages\.1\.1\.conv2\.weight"):
        load_published(state)


@pytest.fixture(scope="module")
def swin() -> Any:
    return timm.create_model("swin_base_patch4_window12_384", num_classes=0)


def original_swin(model: nn.Module) -> dict[str, Tensor]:
    """timm's Swin under the names of its authors, with what else is in their files."""
    renamed = {}
    for name, value in model.state_dict().items():
        for stage in (1, 2, 3):
            name = name.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample")
        renamed[name] = value
    renamed["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 144, 144)
    renamed["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(144, 144, dtype=torch.long)
    return {**renamed, "head.weight": torch.zeros(10, 1024), "head.bias": torch.zeros(10)}


@pytest.mark.parametrize("form", ["authors", "converted", "timm"])
def test_swin_alone_by_its_authors_by_timm_and_converted(form: str, swin: Any, tmp_path: Path) -> None:
    state = swin.state_dict() if form == "timm" else original_swin(swin)
    file = tmp_path / ("swin.pkl" if form == "converted" else "swin.pth")
    if form == "converted":  # by Mask2Former's script: tensors in a plain pickle
        file.write_bytes(pickle.dumps({"model": state, "__author__": "third_party"}))
    else:
        torch.save({"model": state}, file)
    model = build("avism", **SMALL, backbone="swin_base", backbone_weights=str(file))
    stages = model.backbone.network
    assert torch.equal(
        stages.stages[2].downsample.reduction.weight, swin.layers[2].downsample.reduction.weight
    )
    assert torch.equal(stages.stages[2].blocks[17].attn.qkv.weight, swin.layers[2].blocks[17].attn.qkv.weight)
    assert torch.equal(stages.norms[1].weight, torch.ones(256))  # no ImageNet file has these
    if form == "authors":
        with pytest.raises(ValueError, match="does not hold a resnet50"):
            build("avism", **SMALL, backbone_weights=str(file))


def test_a_swin_of_another_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"96 channels.*allowed: swin_base \(128\), swin_large \(192\)"):
        load_published({"patch_embed.proj.weight": torch.zeros(96, 3, 4, 4)})


def acvis_state(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ACVIS adds to and takes from AVISM's entries, in its spelling."""
    state = {name.replace("avism_", "vita_"): x for name, x in released.items()}
    state = {name.replace(".av_sf.", ".audio_centric_query_generator."): x for name, x in state.items()}
    state["sem_seg_head.predictor.cls_token.weight"] = torch.randn(1, 32)
    state["sem_seg_head.predictor.cnt_proj.weight"] = torch.randn(2, 32)
    state["sem_seg_head.predictor.cnt_proj.bias"] = torch.randn(2)
    return state


def test_acvis_is_recognised(released: dict[str, Tensor]) -> None:
    state = acvis_state(released)
    model = load_published(state)
    assert (model.config.audio_queries, model.config.count_token) == ("audio_centric", True)
    generator = "sem_seg_head.predictor.audio_centric_query_generator.2.multihead_attn.in_proj_weight"
    own = model.state_dict()
    assert torch.equal(own["frame_decoder.audio_fusion.look.2.attention.in_proj_weight"], state[generator])
    assert torch.equal(
        own["frame_decoder.count_token.weight"], state["sem_seg_head.predictor.cls_token.weight"]
    )
    _renamed, left = our_entries(state)
    assert set(left) == {
        "criterion.empty_weight",
        "sem_seg_head.predictor.av_post_proj.weight",  # kept by ACVIS and never used
        "sem_seg_head.predictor.av_post_proj.bias",
    }


def test_acvis_brings_its_vggish(released: dict[str, Tensor]) -> None:
    """Also the whitening and rounding of its vectors, which are on in the released code."""
    state = acvis_state(released)
    encoder = build("avism", **SMALL, audio="vggish", audio_channels=(8,) * 6, audio_hidden=16).audio_encoder
    state |= {f"audio_backbone.{name}": x for name, x in encoder.state_dict().items()}
    model = load_published(state)
    assert (model.config.audio, model.config.audio_channels, model.config.audio_hidden) == (
        "vggish",
        (8,) * 6,
        16,
    )
    assert not model.config.audio_postprocess
    assert torch.equal(model.audio_encoder.features[13].weight, encoder.features[13].weight)

    state["audio_backbone.pproc.pca_eigen_vectors"] = torch.randn(128, 128)
    state["audio_backbone.pproc.pca_means"] = torch.randn(128, 1)
    model = load_published(state)
    assert model.config.audio_postprocess
    means = model.state_dict()["audio_encoder.postprocess.means"]
    assert torch.equal(means, state["audio_backbone.pproc.pca_means"])
