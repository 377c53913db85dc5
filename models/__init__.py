"""The networks. ``build(name, **config)`` makes one; nothing here imports another folder of ours."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.avism import Avism

MODELS = ("avism",)


def build(name: str, **config: Any) -> "Avism":
    """Make a model by name.

    Raises:
        ValueError: unknown model or unknown setting; the allowed ones are listed.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; allowed: {', '.join(MODELS)}")
    from dataclasses import fields

    from models.avism import Avism, AvismConfig

    allowed = {field.name for field in fields(AvismConfig)}
    unknown = sorted(set(config) - allowed)
    if unknown:
        raise ValueError(
            f"unknown settings of {name}: {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}"
        )
    return Avism(AvismConfig(**config))
