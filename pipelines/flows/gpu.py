"""One stage at a time on the GPU, over all runs that one Prefect server knows."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from components.core.run.errors import AvisError

LIMIT = "avis-gpu"
USERS = frozenset({"train", "predict"})
"""Groups of stages that load a model. Predicting is short, but its memory would end a training beside it."""
LEASE_S = 300.0
"""How long after the death of its holder a slot comes back: longer than a restart of the server takes."""
ASK_EVERY_S = 10.0


def count_gpus() -> int:
    """Return how many GPUs a stage of this process would see; asks the driver, without importing torch."""
    import pynvml  # type: ignore[import-untyped]

    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def make_limit(slots: int = 1) -> None:
    """Make the limit on the server, unless it has one: Prefect lets everybody pass where there is none."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another run was quicker
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=slots))


def set_limit(slots: int) -> None:
    """Make the limit, or change it."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, slots)


@contextmanager
def gpu_slot(*, stopped: Callable[[], bool], say: Callable[[str], None]) -> Iterator[None]:
    """Hold one of the limit's slots.

    Args:
        stopped: asked while it waits; true: nobody needs the slot any more.
        say: told once that it waits.

    Raises:
        AvisError: if it was stopped meanwhile.
    """
    with ExitStack() as stack:
        told = False
        while True:
            try:
                stack.enter_context(
                    concurrency(
                        LIMIT,
                        strict=True,
                        timeout_seconds=ASK_EVERY_S,
                        lease_duration=LEASE_S,
                        # A server that is away for a while must not end a training of days.
                        raise_on_lease_renewal_failure=False,
                    )
                )
                break
            except AcquireConcurrencySlotTimeoutError:
                if stopped():
                    raise AvisError("the run was stopped") from None
                if not told:
                    say(f"Waits for the GPU: all slots of {LIMIT} are taken")
                told = True
        yield
