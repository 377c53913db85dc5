"""Our parameters get their published names back."""

import json
import re
from pathlib import Path

import pytest
import torch

from models import build
from models.checkpoints.parameter_names import criterion_names, our_entries, published_name

SHAPES = Path(__file__).parents[3] / "data/golden/avism_r50/state_dict_shapes.json"


def own_entries(**settings):
    with torch.device("meta"):
        return build("avism", **settings).state_dict()


def test_every_name_and_shape_of_the_published_model():
    published = {name: tuple(shape) for name, shape in json.loads(SHAPES.read_text()).items()}
    own = own_entries(backbone="resnet50")
    named = {published_name(name, "avism"): tuple(value.shape) for name, value in own.items()}
    assert named == {name: shape for name, shape in published.items() if "criterion" not in name}
    assert {name for name in published if "criterion" in name} == set(criterion_names("avism"))


@pytest.mark.parametrize("spelling", ["avism", "vita"])
@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "resnet50"},
        {"backbone": "swin_base"},
        {"backbone": "swin_large", "frame_queries": 200},
        {
            "backbone": "resnet50",
            "audio": "vggish",
            "audio_queries": "audio_centric",
            "count_token": True,
            "audio_postprocess": True,
        },
    ],
)
def test_the_way_back_is_the_way_there(settings, spelling):
    own = own_entries(**settings)
    acvis = settings.get("audio_queries") == "audio_centric"
    published = {published_name(name, spelling, audio_centric=acvis): value for name, value in own.items()}
    assert len(published) == len(own)
    renamed, left = our_entries(published)
    assert not left
    assert {name: x.shape for name, x in renamed.items()} == {name: x.shape for name, x in own.items()}


def test_acvis_and_coco_spellings():
    assert (
        published_name("frame_decoder.audio_fusion.look.1.attention.in_proj_bias", "vita", audio_centric=True)
        == "sem_seg_head.predictor.audio_centric_query_generator.1.multihead_attn.in_proj_bias"
    )
    names = [published_name(name, "vita") for name in own_entries(backbone="resnet50")]
    assert "vita_module.vita_mask_features.weight" in names
    assert not [name for name in names if re.search("avism", name)]


def test_a_parameter_of_ours_alone_keeps_its_name():
    assert published_name("audio_tags.weight", "avism") == "audio_tags.weight"
