"""All networks by name: what ``models.build`` makes."""

from collections.abc import Callable
from typing import Any

from models.networks.avism.avism import Avism, AvismConfig
from models.networks.tpavi.tpavi import Tpavi, TpaviConfig

Network = Avism | Tpavi

# name -> its dataclass of settings, and what makes it of one
NETWORKS: dict[str, tuple[type, Callable[[Any], Network]]] = {
    "avism": (AvismConfig, Avism),
    "tpavi": (TpaviConfig, Tpavi),
}
