"""The published AVISM: its parameter names and shapes, and its outputs for regenerated weights."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from models.avism import Avism, AvismConfig
from models.published import load_published, our_name

GOLDEN = Path("tests/data/golden/avism_r50")


def golden_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    n = np.asarray(random.standard_normal(shape), np.float32)
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(n)
    if name.endswith("running_mean"):
        return 0.1 * n
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) <= 1:
        return 1 + 0.05 * n if name.endswith("weight") else 0.05 * n
    return n / np.float32(np.sqrt(np.prod(shape[1:])))


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    values = json.loads((GOLDEN / "state_dict_shapes.json").read_text())
    return {name: tuple(shape) for name, shape in values.items()}


@pytest.fixture(scope="module")
def outputs(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """What our model makes of the golden weights and input, under the golden names."""
    info = json.loads((GOLDEN / "info.json").read_text())["input"]
    state = {name: torch.as_tensor(golden_weight(name, shape)) for name, shape in shapes.items()}
    model = load_published(Avism(AvismConfig()), state).eval()
    random = np.random.RandomState(info["seed"])
    frames = random.randint(0, 256, (info["T"], 3, info["H"], info["W"])).astype(np.uint8)
    audio = random.standard_normal((info["T"], 128)).astype(np.float32)
    maps: list[torch.Tensor] = []
    model.backbone.register_forward_hook(lambda _module, _input, result: maps.extend(result))
    with torch.no_grad():
        output = model(torch.from_numpy(frames)[None], torch.from_numpy(audio)[None])
    frame, video = output.frame, output.video
    masks = torch.einsum("qc,chw->qhw", frame.mask_embeds[-1][0, :8], output.frame_mask_features[0])
    values = {
        "frame_logits": frame.logits[-1],
        "frame_queries": frame.queries[-1][:, :16],
        "mask_features_f0": output.video_mask_features[0, 0, :16],
        "mask_features": output.video_mask_features,
        "frame_masks_f0": masks,
        "video_logits": video.logits[-1][0],
        "video_mask_embed": video.mask_embeds[-1][0],
        **{f"res{stage}": x for stage, x in enumerate(maps, start=2)},
    }
    return {name: value.numpy() for name, value in values.items()}


@pytest.mark.parametrize(
    "name",
    [
        "frame_logits",
        "frame_queries",
        "mask_features_f0",
        "frame_masks_f0",
        "video_logits",
        "video_mask_embed",
    ],
)
def test_output_is_the_published_one(outputs: dict[str, np.ndarray], name: str) -> None:
    expected = np.load(GOLDEN / "expected.npz")[name]
    assert outputs[name].shape == expected.shape
    np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=1e-3)


def test_statistics_on_the_way_are_the_published_ones(outputs: dict[str, np.ndarray]) -> None:
    """Mean, standard deviation and largest magnitude, of the backbone's maps too."""
    for name, expected in json.loads((GOLDEN / "info.json").read_text())["stats"].items():
        x = outputs[name]
        np.testing.assert_allclose([x.mean(), x.std(), np.abs(x).max()], expected, atol=1e-3, err_msg=name)


def test_every_published_parameter_has_one_of_ours_of_its_shape(shapes: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        own = {name: tuple(x.shape) for name, x in Avism(AvismConfig()).state_dict().items()}
    renamed = {our_name(name): shape for name, shape in shapes.items()}
    del renamed[None]  # weights of the published losses
    assert renamed == own


def test_coco_checkpoints_spell_the_video_module_vita(shapes: dict[str, tuple[int, ...]]) -> None:
    # as VITA's released weights do, inside and out
    for name in shapes:
        assert our_name(name.replace("avism_", "vita_")) == our_name(name)
    assert our_name("vita_module.vita_mask_features.weight") == "video_module.mask_features.weight"
    assert our_name("criterion.empty_weight") is None
    assert our_name("vita_criterion.empty_weight") is None
    assert our_name("pixel_mean") is None


def test_everything_that_does_not_fit_is_listed(shapes: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        model = Avism(AvismConfig())
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
        names = [name for name in state if our_name(name)]
        del state[names[-1]]
        state[names[0]] = torch.empty(3, 5)
        state["sem_seg_head.predictor.spare.weight"] = torch.empty(1)
    with pytest.raises(ValueError, match="3 entries differ") as error:
        load_published(model, state)
    message = str(error.value)
    assert f"missing: {our_name(names[-1])}" in message
    assert "unexpected: frame_decoder.spare.weight" in message
    assert f"{our_name(names[0])}: shape (3, 5) instead of {shapes[names[0]]}" in message


def test_a_checkpoint_file_is_read(tmp_path: Path) -> None:
    """A .pth as released: the state dict under `model`, beside other things."""
    torch.save({"model": {"pixel_mean": torch.zeros(3)}, "iteration": 47_999}, tmp_path / "released.pth")
    with torch.device("meta"):
        model = Avism(AvismConfig())
    with pytest.raises(ValueError, match=f"{len(model.state_dict())} entries differ"):
        load_published(model, tmp_path / "released.pth")
