"""What programs put around parameters: wrappers, averages, prefixes, shards, half precision."""

import argparse
import collections
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.weight_files.checkpoint_file import read_checkpoint, read_weights
from models.weight_files.contents import Take, weights_of

NAMES = ["weight", "bias"]
RAW_ONES = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
AVERAGED = {name: value * 2 for name, value in RAW_ONES.items()}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def is_state(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


class Training(nn.Module):
    """As a LightningModule: the network beside its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 2)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(2))


def lightning(state: dict[str, Tensor], **more: Any) -> dict[str, Any]:
    """What Lightning 2.6 writes, with what its users keep among the hyperparameters."""
    return {
        "epoch": 1,
        "global_step": 8,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 2}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"dirpath": "checkpoints", "best_k_models": {}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"out": Path("runs"), "args": argparse.Namespace(lr=0.1), "seen": {"a"}},
        "queue": collections.deque([1, 2]),
        "counts": collections.defaultdict(int, a=1),
        **more,
    }


def test_lightning_with_its_objects_and_its_average(tmp_path: Path) -> None:
    network = Training()
    torch.save(lightning(network.state_dict()), tmp_path / "plain.ckpt")
    read = read_weights(tmp_path / "plain.ckpt")
    assert is_state(read.tensors, network.model.state_dict())
    assert read.choices == [] and "model. was taken off 2 names" in read.notes
    assert "left outside of model.: criterion.weight" in read.notes
    assert read.notes[0].startswith("left beside the parameters: epoch, global_step, ")
    content = lightning(
        prefixed("model.", AVERAGED),
        current_model_state=prefixed("model.", RAW_ONES),
        averaging_state={"n_averaged": torch.tensor(8)},
    )
    torch.save(content, tmp_path / "averaged.ckpt")
    with pytest.warns(
        UserWarning, match=r"averaged\.ckpt: of the averaged .* state_dict .*averaged were taken"
    ):
        assert is_state(read_checkpoint(tmp_path / "averaged.ckpt"), AVERAGED)
    raw = read_weights(tmp_path / "averaged.ckpt", "raw")
    assert is_state(raw.tensors, RAW_ONES) and raw.choices == []


def test_timm_saves_both_and_arguments(tmp_path: Path) -> None:
    from timm.utils import CheckpointSaver, ModelEmaV3

    network = nn.Linear(2, 2)
    average = ModelEmaV3(network, decay=0.5)
    nn.init.zeros_(network.weight)
    saver = CheckpointSaver(
        network,
        torch.optim.AdamW(network.parameters()),
        args=argparse.Namespace(model="linear", out=tmp_path),
        model_ema=average,
        checkpoint_dir=str(tmp_path),
        recovery_dir=str(tmp_path),
    )
    saver.save_checkpoint(0)
    read = read_weights(tmp_path / "last.pth.tar")
    assert is_state(read.tensors, average.module.state_dict())
    assert "take=raw takes the others" in read.choices[0]
    assert is_state(read_weights(tmp_path / "last.pth.tar", "raw").tensors, network.state_dict())


@pytest.mark.parametrize(
    "content",
    [
        RAW_ONES,
        {"model": {"state_dict": RAW_ONES}, "best_acc1": torch.tensor(0.7)},
        {"model_state": prefixed("module._orig_mod.", RAW_ONES)},
        {"module": prefixed("_orig_mod.module.", RAW_ONES), "dp_world_size": 8},  # DeepSpeed's
        {"model": prefixed("_forward_module.", RAW_ONES), "trainer": {"hooks": {}}, "iteration": 9},
        {"state_dict": {**prefixed("model.", RAW_ONES), "train_loss.w": torch.ones(1)}},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    read = read_weights(tmp_path / "a.pth")
    assert is_state(read.tensors, RAW_ONES) and read.choices == []
    assert bool(read.notes) == (content is not RAW_ONES)


@pytest.mark.slow
def test_torchs_own_wrappers() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    network[1] = torch.compile(nn.Linear(2, 2))  # a part alone, so the word stands inside
    wanted = {f"{part}.{name}": x for part in "01" for name, x in network[int(part)].state_dict().items()}
    wanted = {name.replace("_orig_mod.", ""): x for name, x in wanted.items()}
    assert is_state(weights_of(network.state_dict(), "it").tensors, wanted)
    average = AveragedModel(nn.DataParallel(nn.Linear(2, 2)), multi_avg_fn=get_ema_multi_avg_fn())
    read = weights_of(average.state_dict(), "it")
    assert is_state(read.tensors, average.module.module.state_dict())
    assert "left outside of module.: n_averaged" in read.notes
    some = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert is_state(weights_of(some, "it").tensors, some)
    with pytest.raises(ValueError, match=r"with and without _orig_mod\."):
        weights_of({"_orig_mod.a": torch.ones(1), "a": torch.ones(1)}, "it")


@pytest.mark.parametrize(
    "content",
    [
        {"model": RAW_ONES, "model_ema": prefixed("module.", AVERAGED)},
        {"model": RAW_ONES, "ema": {"module": AVERAGED, "updates": 7}},  # RT-DETR's
        {"params": RAW_ONES, "params_ema": AVERAGED},  # BasicSR's
        {"net": RAW_ONES, "ema": {"decay": 0.9, "shadow": AVERAGED}},
        {**prefixed("model.", RAW_ONES), **prefixed("model_ema.module.", AVERAGED)},
        # ema-pytorch's
        {**prefixed("online_model.", RAW_ONES), **prefixed("ema_model.", AVERAGED), "step": torch.tensor(1)},
    ],
)
def test_the_average_is_taken_unless_the_raw_are_asked_for(content: dict[str, Any]) -> None:
    found = weights_of(content, "it")
    assert is_state(found.tensors, AVERAGED) and "the averaged were taken" in found.choices[0]
    wanted: dict[Take, dict[str, Tensor]] = {"raw": RAW_ONES, "ema": AVERAGED}
    for take, state in wanted.items():
        found = weights_of(content, "it", take)
        assert is_state(found.tensors, state)
        assert not any("take=" in choice for choice in found.choices)


@pytest.mark.parametrize(
    ("content", "take", "said"),
    [
        (RAW_ONES, "ema", r"holds no averaged \(EMA\) parameters"),
        ({"model_ema": AVERAGED}, "raw", "averaged .* only, under model_ema"),
        (prefixed("ema_model.", AVERAGED), "raw", "averaged .* only, called ema_model"),
        ({"model": RAW_ONES, "net": AVERAGED}, None, "several sets of parameters, model, net"),
        ({"student": RAW_ONES, "teacher": AVERAGED}, None, "several sets of parameters, student, teacher"),
        ({"decay": 0.9, "shadow_params": [torch.ones(2)]}, None, "under shadow_params have no names"),
        ({"model": RAW_ONES, "ema": {"shadow_params": [torch.ones(2)]}}, "ema", "under ema have no names"),
        ({**RAW_ONES, "ema.x": torch.ones(1)}, "ema", r"called ema\..* have other names"),
        ({"optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}}, None, "'optimizer' is no tensor"),
        ({"a": torch.ones(2).to(torch.float8_e4m3fn)}, None, "'a' is quantised"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(content: Any, take: Take | None, said: str) -> None:
    with pytest.raises(ValueError, match=rf"it.*{said}"):
        weights_of(content, "it", take)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": RAW_ONES, "ema": {"shadow_params": [torch.ones(2)]}}, "have no names, so the raw ones"),
        ({**RAW_ONES, "ema.x": torch.ones(1)}, "have other names than the raw ones and were left out"),
        ({"detector": RAW_ONES, "epoch": 3}, "the only set of parameters was taken, under detector"),
    ],
)
def test_what_is_left_of_choice_is_said(content: Any, said: str) -> None:
    read = weights_of(content, "it")
    assert is_state(read.tensors, RAW_ONES) and said in read.choices[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_full_with_the_same_values(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.linspace(-3, 3, 7).to(dtype)
    save_file({"a": values, "count": torch.tensor(3)}, tmp_path / "a.safetensors")
    read = read_weights(tmp_path / "a.safetensors")
    assert read.tensors["a"].dtype == torch.float32 and torch.equal(read.tensors["a"].to(dtype), values)
    assert read.tensors["count"].dtype == torch.int64
    assert "1 of 2 tensors in" in read.choices[0] and "became float32" in read.choices[0]


def test_shared_tensors_have_all_their_names(tmp_path: Path) -> None:
    network = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)})
    network["second"].weight = network["first"].weight
    save_model(network, str(tmp_path / "a.safetensors"))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert is_state(read_checkpoint(tmp_path / name), dict(network.state_dict())), name


def write_shards(folder: Path, ending: str = "safetensors", **index: Any) -> Path:
    """As transformers and accelerate write them."""
    stem = "model" if ending == "safetensors" else "pytorch_model"
    files = [f"{stem}-0000{number}-of-00002.{ending}" for number in (1, 2)]
    for file, name in zip(files, NAMES, strict=True):
        if ending == "bin":
            torch.save({name: RAW_ONES[name]}, folder / file)
        else:
            save_file({name: RAW_ONES[name]}, folder / file)
    document = {"metadata": {"total_size": 24}, "weight_map": dict(zip(NAMES, files, strict=True)), **index}
    path = folder / f"{stem}.{ending}.index.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_by_their_index_or_folder(ending: str, tmp_path: Path) -> None:
    index = write_shards(tmp_path, ending)
    for given in (index, tmp_path):
        assert is_state(read_checkpoint(given), RAW_ONES)
    shard = sorted(tmp_path.glob(f"*-of-*.{ending}"))[1]
    with pytest.raises(ValueError, match=rf"is one of 2 files; allowed: their folder, or .*{index.name}"):
        read_checkpoint(shard)
    shard.unlink()
    with pytest.raises(ValueError, match=rf"of its 2 files {shard.name} is missing, with 1 of 2 tensors"):
        read_checkpoint(tmp_path)


def test_indices_that_do_not_fit_their_shards_are_refused(tmp_path: Path) -> None:
    first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    for places, said in (
        ({"weight": first, "bias": second, "more": second}, rf"{second} lacks 1 tensors .*: more"),
        ({"weight": first}, None),
        ({"bias": first}, rf"{first} lacks 1 tensors .*: bias"),
        ({"weight": "../weights.safetensors"}, "should name files in its own folder"),
        ([], "is no index of shards"),
    ):
        write_shards(tmp_path, weight_map=places)
        if said is None:
            assert list(read_checkpoint(tmp_path)) == ["weight"]
            continue
        with pytest.raises(ValueError, match=said):
            read_checkpoint(tmp_path)


def test_folders_hold_one_file_of_weights(tmp_path: Path) -> None:
    save_file(RAW_ONES, tmp_path / "any.safetensors")
    assert is_state(read_checkpoint(tmp_path), RAW_ONES)
    save_file(RAW_ONES, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"is a folder; .*it holds any\.safetensors, other\.safetensors"):
        read_checkpoint(tmp_path)
    (tmp_path / ".metadata").touch()
    with pytest.raises(ValueError, match="dcp_to_torch FOLDER FILE"):
        read_checkpoint(tmp_path)


def test_detectron2s_arrays_beside_a_trainer(tmp_path: Path) -> None:
    arrays = {name: value.numpy().astype(np.float32) for name, value in RAW_ONES.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "iteration": 3}, 2))
    read = read_weights(tmp_path / "a.pkl")
    assert is_state(read.tensors, RAW_ONES) and read.notes == ["left beside the parameters: iteration"]


class Evil:
    """Not run, and not taken for a parameter either."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.path)!r}, 'w')",)


def test_objects_beside_parameters_are_not_made(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    torch.save({"model": RAW_ONES, "args": Evil(touched)}, tmp_path / "a.pth")
    assert is_state(read_checkpoint(tmp_path / "a.pth"), RAW_ONES)
    torch.save({"model": {**RAW_ONES, "c": Evil(touched)}}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match="'c' is no tensor"):
        read_checkpoint(tmp_path / "b.pth")
    assert not touched.exists()


@pytest.mark.parametrize(
    "claim",
    [
        torch.zeros(1).expand(10**6, 10**6),
        torch.empty((10**6, 10**6), device="meta"),
        torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**7, 10**7)),
        torch.zeros([1] * 20),
    ],
)
def test_a_shape_that_is_larger_than_what_is_stored_is_refused(claim: Tensor) -> None:
    with pytest.raises(ValueError, match="is not stored number by number"):
        weights_of({"weight": claim}, "file")
