"""The networks. ``build(name, **config)`` makes one, ``load_published(checkpoint)`` a released one.

Nothing here imports another folder of ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from models.networks.avism.avism import Avism
    from models.networks.registry import Network
    from models.networks.tpavi.tpavi import Tpavi

MODELS = ("avism", "tpavi")  # keys of models.networks.registry.NETWORKS, which takes seconds to import


@overload
def build(name: Literal["avism"], **config: Any) -> "Avism": ...
@overload
def build(name: Literal["tpavi"], **config: Any) -> "Tpavi": ...
@overload
def build(name: str, **config: Any) -> "Network": ...
def build(name: str, **config: Any) -> "Network":
    """Make a model by name.

    Raises:
        ValueError: unknown model or unknown setting; the allowed ones are listed.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; allowed: {', '.join(MODELS)}")
    from dataclasses import fields

    from models.networks.registry import NETWORKS

    settings, network = NETWORKS[name]
    allowed = {field.name for field in fields(settings)}
    unknown = sorted(set(config) - allowed)
    if unknown:
        raise ValueError(
            f"unknown settings of {name}: {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}"
        )
    return network(settings(**config))


def load_published(checkpoint: "Path | str | Mapping[str, Tensor | NDArray[Any]]", **config: Any) -> "Avism":
    """A released checkpoint, a file or a state dict, as a model in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint of this model; missing, unexpected and misshapen entries are listed.
    """
    from models.checkpoints import published

    return published.load_published(checkpoint, **config)
