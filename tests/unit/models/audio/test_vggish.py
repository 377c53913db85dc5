"""VGGish against the published network, its weights out of files, and its place in the model."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.audio import encoders
from models.audio.encoders import build_vggish
from models.audio.log_mel import SAMPLE_RATE_HZ, LogMel
from models.audio.vggish import Postprocess, VGGish, load_vggish
from models.checkpoints.saved import load_model, save_model
from models.golden import golden_weight
from tests.support.tiny_model import SETTINGS, tiny_card, tiny_model
from tests.support.vggish_weights import vggish_state, write_vggish

pytestmark = pytest.mark.slow

GOLDEN = Path("tests/data/golden")
PUBLISHED_SIZE: dict[str, Any] = {
    "audio_channels": (64, 128, 256, 256, 512, 512),
    "audio_hidden": 4096,
    "audio_normalise": False,
    "audio_tagging": False,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("weights")
    yield write_vggish(folder / "vggish.pth")
    shutil.rmtree(folder)


def test_embeddings_are_the_published_ones() -> None:
    """What torchvggish made of the golden log-mel's first seconds, with and without its postprocessing.

    Its weights follow from their names, as in the other golden fixtures.
    """
    network = VGGish(postprocess=True)
    names = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    names["pproc.pca_eigen_vectors"] = names.pop("postprocess.eigen_vectors")
    names["pproc.pca_means"] = names.pop("postprocess.means")
    load_vggish(
        network, {name: torch.from_numpy(golden_weight(name, shape)) for name, shape in names.items()}
    )
    log_mel = torch.from_numpy(np.load(GOLDEN / "logmel_16k/expected.npz")["log_mel"][:2]).float()
    expected = np.load(GOLDEN / "vggish/expected.npz")
    with torch.no_grad():
        whole = network(log_mel).numpy()
        network.postprocess = None
        embedding = network(log_mel).numpy()
    np.testing.assert_allclose(embedding, expected["embedding"], rtol=0, atol=1e-5)
    assert (embedding == 0).any()  # the last ReLU is part of it
    off = np.abs(whole - expected["postprocessed"])  # a value between two whole numbers may fall either way
    assert off.max() <= 1 and (off != 0).mean() < 0.02


def test_postprocessing_gives_whole_numbers_and_lets_gradients_through() -> None:
    torch.manual_seed(0)
    embedding = torch.randn(50, 128, requires_grad=True)
    result = Postprocess()(embedding)
    assert torch.equal(result, result.round()) and result.min() == 0 and result.max() == 255
    result.sum().backward()
    inside = embedding.detach().abs() < 2
    torch.testing.assert_close(embedding.grad, inside * torch.tensor(255 / 4))


def test_published_weights_load_from_a_file(tmp_path: Path) -> None:
    """In which formats files are read: test_checkpoint_file.py."""
    state = vggish_state()
    file = tmp_path / "vggish.pth"
    torch.save(state, file)
    front, network = build_vggish(weights=file, postprocess=True)
    assert isinstance(front, LogMel) and isinstance(network, VGGish) and network.postprocess is not None
    for name, value in state.items():
        if name.startswith("pproc."):
            own = getattr(network.postprocess, name.removeprefix("pproc.pca_"))
        else:
            own = network.state_dict()[name]
        torch.testing.assert_close(own, value)
    file.unlink()  # one of them is large
    # older versions of torchvggish have another name for the same
    state["pproc.pca_matrix"] = state.pop("pproc.pca_eigen_vectors")
    state["pproc.pca_means"] = state["pproc.pca_means"][:, 0] + 1
    load_vggish(network, state)
    torch.testing.assert_close(network.postprocess.means[:, 0], state["pproc.pca_means"])


def on_meta(**settings: Any) -> VGGish:
    """Names and shapes of a VGGish, without its 288 MB."""
    with torch.device("meta"):
        return VGGish(**settings)


def test_other_files_say_what_is_wrong(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "VGGish", on_meta)
    with pytest.raises(ValueError, match=r"there are no weights at .*none\.pth"):
        build_vggish(weights=tmp_path / "none.pth")
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"cut\.pth is damaged"):
        build_vggish(weights=tmp_path / "cut.pth")
    (tmp_path / "text.safetensors").write_text("weights")
    with pytest.raises(ValueError, match=r"text\.safetensors is damaged"):
        build_vggish(weights=tmp_path / "text.safetensors")
    torch.save(VGGish(channels=(8,) * 6, hidden=4), tmp_path / "module.pth")  # runs code when it is loaded
    with pytest.raises(ValueError, match=r"module\.pth is damaged, or holds more"):
        build_vggish(weights=tmp_path / "module.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds no parameters by name"):
        build_vggish(weights=tmp_path / "list.pth")
    for junk in (b"hello world", b"\x80\xff."):
        (tmp_path / "junk.pth").write_bytes(junk)
        with pytest.raises(ValueError, match=r"audio_weights: .*junk\.pth is damaged"):
            build_vggish(weights=tmp_path / "junk.pth")

    state = vggish_state()
    state["embeddings.4.bias"] = torch.zeros(3)
    del state["features.0.bias"]
    state["classifier.weight"] = torch.zeros(2)
    state.pop("pproc.pca_means")
    network = on_meta()
    with pytest.raises(ValueError) as caught:
        load_vggish(network, state)
    for part in (
        "missing: features.0.bias",
        "unexpected: classifier.weight",
        "embeddings.4.bias: shape (3,) instead of (128,)",
    ):
        assert part in str(caught.value)
    assert "pproc" not in str(caught.value)
    with pytest.raises(ValueError, match=r"'features\.3\.bias' is no tensor but int"):
        load_vggish(network, state | {"features.3.bias": 3})
    without = {name: value for name, value in vggish_state().items() if not name.startswith("pproc.")}
    with pytest.raises(ValueError, match=r"missing: pproc\.\* \(all 2\).*state_dict\(\)"):
        load_vggish(on_meta(postprocess=True), without)
    many = {f"layer{index}.weight": torch.zeros(1) for index in range(30)}
    with pytest.raises(ValueError, match=r"48 entries differ: missing: features\.\*.*layer29"):
        load_vggish(network, many)


def test_weights_are_for_the_published_size(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"set audio_channels to \[64, .*audio_hidden to 4096.*are \[8, 8"):
        tiny_model(audio_weights=str(weights))
    with pytest.raises(ValueError, match="audio_normalise to false"):
        tiny_model(**PUBLISHED_SIZE | {"audio_normalise": True}, audio_weights=str(weights))
    tiny_model(audio="none", audio_weights="nowhere.pth")  # a deaf variant needs none
    network = on_meta()
    assert sum(x.numel() for x in network.parameters()) == 72_141_184
    with pytest.raises(ValueError, match="six convolutions"):
        VGGish(channels=(8, 8))


def test_a_model_with_published_weights_is_saved_whole(tmp_path: Path) -> None:
    file = write_vggish(tmp_path / "vggish.pth")
    settings = {**SETTINGS, **PUBLISHED_SIZE, "audio_weights": str(file), "audio_postprocess": True}
    model = tiny_model(**settings)
    torch.testing.assert_close(
        model.audio_encoder.state_dict()["features.3.weight"], torch.load(file)["features.3.weight"]
    )
    sound = torch.randn(2, SAMPLE_RATE_HZ) * 0.1
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", model, tiny_card("avism", settings))
    file.unlink()  # the model's own weights are all that is needed from now on
    loaded, _ = load_model(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_audio(sound), model.encode_audio(sound))
        assert model.encode_audio(sound).max() > 2  # of 255


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_encoder_learns_in_the_loop_unless_frozen(precision: str, frozen: bool) -> None:
    model = tiny_model(audio_normalise=False, audio_tagging=False, audio_frozen=frozen).train()
    assert model.training and model.audio_encoder.training is not frozen
    random = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (1, 2, 3, 32, 48), generator=random, dtype=torch.uint8)
    sound = torch.randn(1, 2, SAMPLE_RATE_HZ, generator=random) * 0.1
    # exactly log-mel, then the network: the front end in full precision whatever the rest computes in
    examples = LogMel()(sound[0])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        heard = model.encode_audio(sound[0])
        torch.testing.assert_close(heard, model.audio_encoder(examples), rtol=0, atol=0)
        assert heard.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
        output = model(frames, sound)
        loss = (
            output.video.logits[-1].float().square().mean() + output.frame.logits[-1].float().square().mean()
        )
    loss.backward()
    gradients = [x.grad for x in model.audio_encoder.parameters()]
    if frozen:
        assert gradients == [None] * len(gradients)
        assert not heard.requires_grad
    else:
        assert all(x is not None and x.isfinite().all() for x in gradients)
        assert model.audio_encoder.features[0].weight.grad.abs().sum() > 0
    assert model.frame_decoder.query_content.weight.grad.abs().sum() > 0
    model.eval().train()
    assert model.audio_encoder.training is not frozen
