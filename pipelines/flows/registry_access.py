"""The registry of a checkout, and patience with a server that is away."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from components.core.run.errors import AvisError
from components.core.run.params import PARAMS, read_block, read_variant_names
from components.core.run.paths import Paths
from components.core.tracking.address import tracking_params, tracking_uri
from components.core.tracking.registry import Registry, RegistryAway
from components.tools.promotion.params import PromotionParams

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE_S = 600.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 60.0


def promotion_params(root: Path) -> PromotionParams:
    """Read the block `promotion` of a checkout; without one its defaults hold.

    Raises:
        AvisError: a field is unknown or wrong, or there is no such variant.
    """
    params = read_block("promotion", PromotionParams, path=root / PARAMS, optional=True)
    variants = read_variant_names(root / PARAMS)
    variant = params.variant or next(iter(variants), "")
    if variant not in variants:
        raise AvisError(
            f"there is no variant {variant!r}" if variant else "there is no variant to promote",
            where=f"{root / PARAMS}, promotion.variant",
            fix=f"There are: {', '.join(variants) or 'none'}.",
        )
    return params.model_copy(update={"variant": variant})


def open_registry(base: Path, params: PromotionParams) -> Registry:
    """Connect to the registry of a checkout.

    Raises:
        AvisError: MLflow is away, or nothing is tracked.
    """
    folder = Paths(base / "data").tracking
    experiment = tracking_params(base / PARAMS).experiment
    return Registry(tracking_uri(base), folder, model=params.model, experiment=experiment)


def when_there(log: Callable[[str], None], call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call; while MLflow is away wait and call again, longer each time.

    Args:
        log: is told of each wait.
        call, arguments, named: what to call with what.

    Raises:
        RegistryAway: it was away for all of PATIENCE_S.
    """
    deadline = time.monotonic() + PATIENCE_S
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            return call(*arguments, **named)
        except RegistryAway as error:
            if time.monotonic() + wait_s > deadline:
                raise
            log(f"{error} Next try in {wait_s:.0f} s.")
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
