"""The network as the loop calls it: shared among processes, recomputed to save memory, compiled."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from components.core.run.errors import AvisError
from components.train.params import TrainParams
from components.train.processes.distributed import Team

SOUND_WIDTHS = {"vggish": 16_000, "features": 128}

# Buffers never change in training, or SyncBatchNorm keeps them equal. PyTorch 2.14 has a new name for it.
_BUFFERS_STAY: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)


@dataclass
class Running:
    """What the loop calls instead of the model."""

    network: nn.Module
    idle: list[nn.Parameter]  # that never have a part
    idle_when_deaf: list[nn.Parameter]  # that have none in a step without sound

    def backward(self, loss: Tensor, *, deaf: bool, last: bool) -> None:
        """Add up gradients; with the last part of a step they are shared among the processes.

        DDP waits for the gradient of every parameter, so one without a part in the step gets a zero. The
        optimiser must not see that zero (it would decay the weight), so it is taken away again.
        """
        idle = self.idle_when_deaf if deaf else self.idle
        if last and idle:
            loss = loss + 0.0 * torch.stack([parameter.sum() for parameter in idle]).sum()
        loss.backward()
        for parameter in idle:
            parameter.grad = None

    def exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Around the forward and backward pass of one part: only after the last one gradients are shared."""
        if isinstance(self.network, DistributedDataParallel) and not last:
            held: AbstractContextManager[None] = self.network.no_sync()
            return held
        return nullcontext()


@contextmanager
def in_training(model: nn.Module, params: TrainParams, team: Team) -> Iterator[Running]:
    """Make ``model`` ready to be trained; afterwards it is as it was, its weights aside."""
    running = Running(model, [], [])
    with ExitStack() as undo:
        if team.size > 1:
            running.idle = without_part(model, params, team.device, deaf=False)
            running.idle_when_deaf = without_part(model, params, team.device, deaf=True)
        for part in params.checkpoint_activations:
            for module in recomputable(model, part):
                undo.enter_context(_recomputed(module))
        if params.compile:
            for child in model.children():
                undo.enter_context(_compiled(child, many_sizes=_many_sizes(params)))
        if team.size > 1:
            if team.device.type == "cuda":
                _synchronise_norms(model)
            team.spread(model)
            # of kernels of one pixel, in another order of memory: they are copied, and 16 kB each
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            running.network = DistributedDataParallel(
                model,
                device_ids=[team.device] if team.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                init_sync=False,  # `spread` did it; whether DDP takes buffers along depends on its version
                **_BUFFERS_STAY,
            )
        yield running


def recomputable(model: nn.Module, part: str) -> list[nn.Module]:
    """The modules of a part whose inside is not kept for the backward pass, as small as is worth it.

    Raises:
        AvisError: the model has no such part.
    """
    found = getattr(model, part, None)
    if not isinstance(found, nn.Module):
        raise AvisError(
            f"this model has no {part} to compute again", where="params.yaml, train.checkpoint_activations"
        )
    if part == "backbone":
        stages: list[nn.Module] = list(getattr(found, "parts", ()))
        stages = [getattr(stage, "blocks", stage) for stage in stages]  # of a Swin stage
        return [
            block for stage in stages for block in (stage if isinstance(stage, nn.Sequential) else [stage])
        ]
    return [
        layer
        for child in found.children()
        if isinstance(child, nn.ModuleList)
        for layer in child
        if any(isinstance(inner, nn.LayerNorm) for inner in layer.modules())  # a transformer layer
    ]


@contextmanager
def _recomputed(module: nn.Module) -> Iterator[None]:
    """Compute the module again in the backward pass. Its parameters keep their names: no wrapper module."""
    plain = module.forward
    random = any(
        getattr(x, "p", 0) or getattr(x, "drop_prob", 0) for x in module.modules()
    )  # dropout, drop path

    def forward(*inputs: Any, **named: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return plain(*inputs, **named)
        return checkpoint(plain, *inputs, use_reentrant=False, preserve_rng_state=random, **named)

    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # the class's own shows again


@contextmanager
def _compiled(module: nn.Module, *, many_sizes: bool) -> Iterator[None]:
    module.compile(dynamic=True if many_sizes else None)
    try:
        yield
    finally:
        module._compiled_call_impl = None


def _many_sizes(params: TrainParams) -> bool:
    return len(params.short_sides_px) > 1 or params.crop_px is not None


def _synchronise_norms(model: nn.Module) -> None:
    """Batch norms that learn see the clips of all processes (gloo cannot: on CPUs each sees its own)."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) in kinds and child.training:
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def without_part(
    model: nn.Module, params: TrainParams, device: torch.device, *, deaf: bool
) -> list[nn.Parameter]:
    """The parameters that no output depends on, found by a trial on a small black clip."""
    kept = {
        name: value.clone() for name, value in model.named_buffers()
    }  # a batch norm would count the trial
    sources = params.model.sources
    side = 64 if sources is None else 128  # H2S sorts the cells of its coarsest map into 8 clusters
    frames = torch.zeros(1, params.frames_per_clip, 3, side, side, dtype=torch.uint8, device=device)
    width = SOUND_WIDTHS.get(params.model.audio, 1)
    shape = (width,) if sources is None else (sources, width)
    # of zeros all cells are alike, and all of one cluster
    sound = torch.zeros(1, params.frames_per_clip, *shape, device=device)
    output = model(frames, None if deaf else sound)
    total = torch.stack([tensor.float().sum() for tensor in _tensors(output) if tensor.requires_grad]).sum()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(total, learned, allow_unused=True)
    for name, value in model.named_buffers():
        value.copy_(kept[name])
    return [parameter for parameter, gradient in zip(learned, gradients, strict=True) if gradient is None]


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested dataclasses and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
