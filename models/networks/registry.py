"""All networks by name, and ``build``, which makes one."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, overload

from models.networks.avism.avism import Avism, AvismConfig
from models.networks.h2s.h2s import H2s, H2sConfig
from models.networks.tpavi.tpavi import Tpavi, TpaviConfig

Network = Avism | Tpavi  # an H2s is an Avism

# name -> its dataclass of settings, and what makes it of one
NETWORKS: dict[str, tuple[type, Callable[[Any], Network]]] = {
    "avism": (AvismConfig, Avism),
    "h2s": (H2sConfig, H2s),
    "tpavi": (TpaviConfig, Tpavi),
}


@overload
def build(name: Literal["avism"], **config: Any) -> Avism: ...
@overload
def build(name: Literal["h2s"], **config: Any) -> H2s: ...
@overload
def build(name: Literal["tpavi"], **config: Any) -> Tpavi: ...
@overload
def build(name: str, **config: Any) -> Network: ...
def build(name: str, **config: Any) -> Network:
    """Make a network by name.

    Raises:
        ValueError: unknown network or unknown setting; the allowed ones are listed.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown model {name!r}; allowed: {', '.join(NETWORKS)}")
    settings, network = NETWORKS[name]
    allowed = {field.name for field in fields(settings)}
    unknown = sorted(set(config) - allowed)
    if unknown:
        raise ValueError(
            f"unknown settings of {name}: {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}"
        )
    return network(settings(**config))
