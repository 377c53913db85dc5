"""The processes of one training: who they are, what they tell each other, and how all of them stop.

torchrun, our own launcher and Ray start them; each has one device. What they agree on goes through gloo on
the CPU, so that no GPU has to be waited for; gradients go through nccl between GPUs.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from components.core.run.errors import AvisError, is_out_of_memory
from components.train.params import TrainParams
from components.train.processes.launch import THREADS_ALONE
from components.train.processes.memory import out_of_memory

T = TypeVar("T")


class Stopped(SystemExit):
    """Ends a process without a word: another one says why."""

    def __init__(self) -> None:
        super().__init__(1)


@contextmanager
def threads_alone() -> Iterator[None]:
    """Within, a process that `launch` started computes with the threads of all, which wait or have ended."""
    shared = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get(THREADS_ALONE, shared)))
    try:
        yield
    finally:
        torch.set_num_threads(shared)


@dataclass(frozen=True)
class Team:
    """This process among all of the training. A training on one device is a team of one."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Only this process writes files, records the run and shows progress."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """What every process passes here, in the order of the processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def all_or_none(self, found: T | AvisError) -> T:
        """What was found, if no process has an error instead; else all end and the first process says it.

        Raises:
            AvisError: in the first process, the first one's error.
            Stopped: in the others.
        """
        error = found if isinstance(found, AvisError) else None
        if self.sum([float(error is not None)])[0]:
            first = next(one for one in self.gather(error) if one is not None)
            if not self.leads:
                raise Stopped
            raise first
        return found  # type: ignore[return-value]

    def first_alone(self, work: Callable[[], T], *, every_s: float) -> T | None:
        """What the first process makes, while the others wait, however long it takes; None in the others.

        Meanwhile it says every ``every_s`` that it lives, or the others would hold it for lost.
        """
        if self.size == 1:
            return work()
        if not self.leads:
            while self.sum([0.0])[0]:
                pass
            return None
        done, lost = threading.Event(), []

        def breathe() -> None:
            try:
                while not done.wait(every_s):
                    self.sum([1.0])
            except RuntimeError as error:
                lost.append(error)

        breath = threading.Thread(target=breathe, daemon=True)
        breath.start()
        try:
            with threads_alone():
                made = work()
        finally:
            done.set()
            breath.join()
        if lost:
            raise lost[0]
        self.sum([0.0])
        return made

    def from_first(self, value: Any) -> Any:
        """The first process's value, tensors in nested dictionaries and lists included, in all processes."""
        if self.size == 1:
            return value
        tensors: list[Tensor] = []
        frame = [_take_out(value, tensors) if self.leads else None]
        dist.broadcast_object_list(frame, src=0)
        return _fill_in(frame[0], self.leads, tensors)

    @torch.no_grad()
    def spread(self, model: nn.Module) -> None:
        """Give all processes the first one's weights and buffers (a frozen batch norm's are all buffers)."""
        if self.size > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor, src=0)


@dataclass
class _Hole:
    """Stands for a tensor while the rest of a structure is sent."""

    index: int
    shape: torch.Size
    dtype: torch.dtype


def _take_out(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value.detach().cpu().contiguous())
        return _Hole(len(tensors) - 1, value.shape, value.dtype)
    if isinstance(value, dict):
        return {key: _take_out(item, tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_take_out(item, tensors) for item in value)
    return value


def _fill_in(frame: Any, leads: bool, tensors: list[Tensor]) -> Any:
    if isinstance(frame, _Hole):
        tensor = tensors[frame.index] if leads else torch.empty(frame.shape, dtype=frame.dtype)
        dist.broadcast(tensor, src=0)
        return tensor
    if isinstance(frame, dict):
        return {key: _fill_in(item, leads, tensors) for key, item in frame.items()}
    if isinstance(frame, list | tuple):
        return type(frame)(_fill_in(item, leads, tensors) for item in frame)
    return frame


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU when there is one. Raises AvisError when cuda is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise AvisError(
            "train.device is cuda, but PyTorch sees no GPU", where="params.yaml", fix="Set it to auto or cpu."
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def backend(device: torch.device) -> str:
    """What tensors travel through, by where they are."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


@contextmanager
def join(params: TrainParams) -> Iterator[Team]:
    """Meet the other processes that torchrun (or our launcher) started; alone without it.

    Raises:
        AvisError: no place among the others; no device for this process; too little memory; another process
            fell silent.
        Stopped: another process ended, and has said why.
    """
    device = choose_device(params.device)
    rank, size = _place()
    if size > 1:
        device = _own_device(device)
        if rank:  # it writes nothing, so it may end at once, even while it waits for the others
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            dist.init_process_group(
                backend(device),
                timeout=timedelta(seconds=params.process_timeout_s),
                rank=rank,
                world_size=size,
            )
        except dist.DistError as error:
            raise AvisError(
                f"the processes do not find each other: {error}",
                where=f"process {rank} of {size}, {os.environ.get('MASTER_ADDR')}",
                fix="See that all of them were started, with the same rendezvous address.",
            ) from None
    with _explained(params, rank, size):
        yield Team(device, rank, size)
    if size > 1:
        dist.destroy_process_group()


def _place() -> tuple[int, int]:
    """Rank of this process and number of all, from the environment."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    given = {name: os.environ[name] for name in names if name in os.environ}
    try:
        rank, size = int(given.get("RANK", "0")), int(given.get("WORLD_SIZE", "1"))
        complete = size == 1 or (len(given) == len(names) and 0 < int(given["MASTER_PORT"]) < 2**16)
    except ValueError:
        rank, size, complete = 0, 0, False
    if not (complete and 0 <= rank < size):
        raise AvisError(
            "the environment is not that of one process among several",
            where=", ".join(f"{name}={value}" for name, value in given.items()),
            fix=f"For several processes start it with torchrun; for one unset {', '.join(given)}.",
        )
    return rank, size


@contextmanager
def _explained(params: TrainParams, rank: int, size: int) -> Iterator[None]:
    """Turn what a user can mend (memory, a lost process) into one message."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise out_of_memory(error, params, rank=rank, processes=size) from None
        if isinstance(error, RuntimeError) and is_loss_of_another(error):
            raise _lost(error, rank, params) from error
        raise


def is_loss_of_another(error: RuntimeError) -> bool:
    """Does this say that another process ended or fell silent?"""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "Gloo", "NCCL"))


def _lost(error: Exception, rank: int, params: TrainParams) -> AvisError | Stopped:
    """Why this process cannot go on: one other is silent (we say so), or has ended (it has said why)."""
    if rank:
        return Stopped()
    if "imed out" in str(error) or "imeout" in str(error):
        return AvisError(
            f"another process of this training has been silent for {params.process_timeout_s:g} s",
            where="params.yaml, train.process_timeout_s",
            fix="See what it does, or allow more time.",
        )
    return AvisError("another process of this training ended", fix="What it wrote says why.")


def _own_device(device: torch.device) -> torch.device:
    """The GPU of this process on its machine."""
    if device.type != "cuda":
        return device
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        started = os.environ.get("LOCAL_WORLD_SIZE", place + 1)
        raise AvisError(
            f"{started} processes were started on a machine with {count} GPUs",
            fix=f"Start {count} at most: torchrun --nproc-per-node={count}, or train.processes: {count}.",
        )
    own = torch.device("cuda", place)
    torch.cuda.set_device(own)
    return own
