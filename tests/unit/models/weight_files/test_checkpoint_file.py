"""Checkpoint files: read without running what is in them."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from safetensors.torch import save_file

from models.weight_files.checkpoint_file import (
    named_tensors,
    read_checkpoint,
    read_weights,
    require_same_entries,
)

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class Command:
    """Unpickled carelessly, it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


class Codec:
    def __reduce__(self) -> tuple[Any, ...]:
        import codecs

        return codecs.encode, ("text", "rot13")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_pickle_protocol(protocol: int, tmp_path: Path) -> None:
    content = {"model": OrderedDict(a=VALUES, b=VALUES.T, c=np.int64(3), d=np.array(2.5)), "__author__": "x"}
    del content["model"]["c"]  # type: ignore[attr-defined]
    content["iteration"] = np.int64(3)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    state = read_checkpoint(tmp_path / "a.pkl")
    assert {name: tuple(x.shape) for name, x in state.items()} == {"a": (2, 3), "b": (3, 2), "d": ()}
    assert torch.equal(state["b"], torch.from_numpy(VALUES.T.copy()))


@pytest.mark.parametrize("home", ["numpy.core", "numpy._core"])
def test_pickles_of_numpy_1_and_2(home: str, tmp_path: Path) -> None:
    content = pickle.dumps({"model": {"a": VALUES}}, 0)
    here = np.ndarray.__reduce__(VALUES)[0].__module__.encode()
    assert here in content
    (tmp_path / "a.pkl").write_bytes(content.replace(here, f"{home}.multiarray".encode()))
    assert torch.equal(read_checkpoint(tmp_path / "a.pkl")["a"], torch.from_numpy(VALUES))


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_old_and_new(zipped: bool, tmp_path: Path) -> None:
    content = {"model": {"a": torch.from_numpy(VALUES)}, "lr": np.float64(1e-4), "array": VALUES}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["a"], torch.from_numpy(VALUES))


@pytest.mark.parametrize("form", ["pickle", "in a tensor's bytes", "torch", "torch, old"])
def test_code_is_not_run(form: str, tmp_path: Path) -> None:
    touched, file = tmp_path / "touched", tmp_path / "evil"
    content = {"model": {"a": torch.zeros(1), "b": Command(touched)}}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    elif form == "in a tensor's bytes":
        # what a tensor in a plain pickle consists of is read by torch: safely, too
        inner = pickle.dumps(Command(touched), 2)
        call = b"\x80\x02ctorch.storage\n_load_from_bytes\nB" + len(inner).to_bytes(4, "little") + inner
        file.write_bytes(call + b"\x85R.")
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "torch")
    said = r"evil is damaged, or holds more than tensors and arrays: it wants to run (\S*system|code)$"
    with pytest.raises(ValueError, match=said):
        read_checkpoint(file)
    assert not touched.exists()


def test_what_is_wrong_is_said_in_words_of_ours(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100)}, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:700])
    (tmp_path / "half.safetensors").write_bytes(safetensors_bytes({"a": torch.zeros(100)})[:-4])
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>Sign in</html>")
    (tmp_path / "empty.pth").touch()
    for name, reason in (
        ("half.pth", "its end is missing"),
        ("half.safetensors", "its end is missing"),
        ("page.pth", "it is a web page"),
        ("empty.pth", "it is empty"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_checkpoint(tmp_path / name)


def test_no_codec_but_latin1_is_admitted(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": Codec()}))
    with pytest.raises(ValueError, match="rot13"):
        read_checkpoint(tmp_path / "a.pkl")


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": np.array([{}, None])}))
    with pytest.raises(ValueError, match="'a' is no tensor but ndarray"):
        read_checkpoint(tmp_path / "a.pkl")


@pytest.mark.parametrize("name", ["a.pth", "a.pkl", "empty.pth", "text.pth"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": np.zeros(1000)}))
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("<html>404</html>")
    file = tmp_path / name
    if name.startswith("a."):
        file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        read_checkpoint(file)


def test_caffe2_resnets_are_another_network(tmp_path: Path) -> None:
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": VALUES}}))
    with pytest.raises(ValueError, match=r"Caffe2 model.*stride in the 1x1.*Allowed: torchvision's R-50"):
        read_checkpoint(tmp_path / "R-50.pkl")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_safetensors_are_read_whatever_the_file_is_called(name: str, tmp_path: Path) -> None:
    save_file({"a": torch.from_numpy(VALUES)}, tmp_path / name)
    assert torch.equal(read_checkpoint(str(tmp_path / name))["a"], torch.from_numpy(VALUES))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-4])
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        read_checkpoint(tmp_path / name)


def test_what_is_no_file_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder; allowed: a \.pth .*\.safetensors"):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"3 is no path but of type int; allowed: a \.pth"):
        read_checkpoint(3)  # type: ignore[arg-type]


def test_names_and_counts_are_worded() -> None:
    with pytest.raises(ValueError, match="an entry is called 3, of type int; names must be text"):
        named_tensors({3: torch.zeros(1)})
    with pytest.raises(ValueError, match=r"1 entry differs: missing: a$"):
        require_same_entries({"a": torch.zeros(1)}, {})


def test_parameters_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = {
        "a.weight": torch.ones(3),
        "b.weight": torch.tensor([1.0, float("nan")]),
        "c.steps": torch.tensor(3),
    }
    torch.save(weights, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"broken\.pth: 1 of 3 parameters .*NaN.*, first b\.weight"):
        read_weights(tmp_path / "broken.pth")
