"""Memory savers change no gradient and no name, and leave the model as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from components.core.run.errors import AvisError
from components.train.params import TrainParams
from components.train.processes.distributed import Team
from components.train.processes.wrapping import in_training, recomputable, without_part
from tests.support.tiny_model import tiny_model, train_settings

ALONE = Team(torch.device("cpu"))
FRAMES = torch.randint(
    0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
SOUND = torch.randn(1, 2, 16_000, generator=torch.Generator().manual_seed(2))
ALL_PARTS = ["backbone", "pixel_decoder", "frame_decoder"]


def params_of(**changes: Any) -> TrainParams:
    return TrainParams.model_validate(train_settings(**changes))


@contextmanager
def counted_memory() -> Iterator[list[int]]:
    """Bytes that autograd keeps for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    total: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield total
    total.append(sum(kept.values()))


def gradients(model: nn.Module, **changes: Any) -> tuple[dict[str, Tensor], int]:
    model.train()
    model.zero_grad()
    with in_training(model, params_of(**changes), ALONE) as running:
        with counted_memory() as kept:
            output = running.network(FRAMES, SOUND)
        loss = output.frame.logits[-1].square().mean() + output.video.logits[-1].square().mean()
        loss = loss + output.video_mask_features.square().mean()
        running.backward(loss, deaf=False, last=True)
    return {name: x.grad.clone() for name, x in model.named_parameters() if x.grad is not None}, kept[0]


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("part", ALL_PARTS)
def test_a_recomputed_part_gives_the_same_gradients_in_less_memory(part: str) -> None:
    decoders = {"channels": 64, "hidden": 256, "pixel_hidden": 256, "frame_queries": 40}
    decoders |= {"frame_layers": 6 if part == "frame_decoder" else 3, "pixel_layers": 4}
    model = tiny_model(**decoders, backbone_frozen_parts=0 if part == "backbone" else 8)
    names = list(model.state_dict())
    plain, much = gradients(model)
    again, less = gradients(model, checkpoint_activations=[part])
    assert_close(again, plain)
    assert less < 0.9 * much, part
    assert list(model.state_dict()) == names
    assert gradients(model)[1] == much  # afterwards the model is as it was


def test_all_parts_together_keep_half_at_most() -> None:
    model = tiny_model(frame_layers=6, pixel_layers=4)
    plain, much = gradients(model)
    again, less = gradients(model, checkpoint_activations=ALL_PARTS)
    assert_close(again, plain)
    assert less < 0.5 * much


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "resnet50", "swin_base"])
def test_each_backbone_has_blocks_to_recompute(backbone: str) -> None:
    with torch.device("meta"):
        model = tiny_model(backbone=backbone)
    blocks = recomputable(model, "backbone")
    assert len(blocks) >= 16
    held = {id(x) for block in blocks for x in block.parameters()}
    total = sum(x.numel() for x in model.backbone.parameters())
    assert sum(x.numel() for x in model.backbone.parameters() if id(x) in held) > 0.8 * total


def test_a_part_that_the_model_lacks_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(AvisError, match=r"no pixel_decoder to compute again.*checkpoint_activations"):
        recomputable(model, "pixel_decoder")


def test_parameters_without_a_part_are_found_by_name() -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = {id(x): name for name, x in model.named_parameters()}
    model.train()
    assert without_part(model, params_of(), ALONE.device, deaf=False) == []
    deaf = {names[id(x)] for x in without_part(model, params_of(), ALONE.device, deaf=True)}
    assert any(name.startswith("audio_encoder.") for name in deaf)
    assert any(name.startswith("frame_decoder.audio_fusion.") for name in deaf)
    assert not any(name.startswith(("backbone.", "pixel_decoder.")) for name in deaf)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


class Pooled(torch.nn.Module):
    """What a backbone gives, without its layers."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [torch.nn.functional.avg_pool2d(x, 4 * 2**level) for level in range(4)]
        return [
            y.mean(1, keepdim=True).expand(-1, c, -1, -1) for y, c in zip(maps, self.channels, strict=True)
        ]


@pytest.mark.usefixtures("without_yt_dlp")
@pytest.mark.integration  # it builds C++
@pytest.mark.timeout(1200)
def test_compiled_it_gives_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(
        backbone_frozen_parts=8,
        audio="none",
        audio_tagging=False,
        frame_layers=1,
        video_encoder_layers=1,
        video_decoder_layers=1,
        video_supervision=1,
    )
    model.backbone.network = Pooled(model.backbone.channels)  # a real one takes minutes to compile
    whole = nn.Module.compile

    def one_by_inductor(module: nn.Module, **named: Any) -> None:
        """Inductor's C++ for all parts takes two minutes; the others end with the graphs it would get."""
        how = {} if module is model.backbone else {"backend": "aot_eager_decomp_partition"}
        whole(module, **named, **how)

    monkeypatch.setattr(nn.Module, "compile", one_by_inductor)
    plain, _ = gradients(model)
    compiled, _ = gradients(model, compile=True, checkpoint_activations=["frame_decoder"])
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-2, atol=1e-5)
    for name in compiled.keys() - plain.keys():  # of outputs that the loss does not use
        assert not compiled[name].any()
    assert all(child._compiled_call_impl is None for child in model.children())


@pytest.mark.gpu
def test_on_a_gpu_a_step_does_not_wait_for_it() -> None:
    """A forward and backward pass and the optimiser's step run without a synchronisation."""
    device = torch.device("cuda")
    model = tiny_model().to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(2):  # the first allocates
        torch.cuda.set_sync_debug_mode("error" if _ else "default")
        try:
            output = model(FRAMES.to(device, non_blocking=True), SOUND.to(device, non_blocking=True))
            output.video.logits[-1].square().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_recomputing_lowers_the_peak_on_a_gpu() -> None:
    device = torch.device("cuda")
    peaks = []
    for parts in ([], ALL_PARTS):
        model = tiny_model(frame_layers=6, pixel_layers=4).to(device).train()
        params = params_of(checkpoint_activations=parts)
        frames = torch.randint(0, 256, (1, 4, 3, 256, 256), dtype=torch.uint8, device=device)
        torch.cuda.reset_peak_memory_stats()
        with in_training(model, params, Team(device)) as running:
            output = running.network(frames, None)
            running.backward(output.video_mask_features.square().mean(), deaf=True, last=True)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 0.8 * peaks[0]
