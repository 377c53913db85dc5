"""One after the other, from whatever checkout or machine: a turn is a name in MLflow's registry.

A registered model's name can be made once only, so who makes the next one has the turn. Whoever was killed in
his turn leaves his name; the others take the next number when they have seen the same one for long enough, on
their own clocks, which may differ.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from components.core.tracking.mlflow_store import pages

_LONGEST_S = 30.0  # a turn: a few requests
_PAUSE_S = 0.2


@contextmanager
def turn(client: Any, model: str) -> Iterator[None]:
    """Wait for the turn, and keep it until the block ends."""
    from mlflow.exceptions import MlflowException

    prefix = f"{model}.turn-"
    seen: tuple[str, float] = ("", 0.0)
    while True:
        names = _names(client, prefix)
        newest = names[-1] if names else ""
        if newest != seen[0]:
            seen = (newest, time.monotonic())
        if newest and time.monotonic() - seen[1] < _LONGEST_S:
            time.sleep(_PAUSE_S)
            continue
        number = int(newest.removeprefix(prefix) or 0) + 1
        own = f"{prefix}{number:06d}"
        try:
            client.create_registered_model(own, description=f"a decision about {model} is being written")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            continue
        names = _names(client, prefix)
        if names[-1] == own:
            break
        _remove(client, own)
    try:
        for left in names[:-1]:
            _remove(client, left)
        yield
    finally:
        _remove(client, own)


def _names(client: Any, prefix: str) -> list[str]:
    found = pages(client.search_registered_models, filter_string=f"name LIKE '{prefix}%'")
    return sorted(model.name for model in found if model.name.startswith(prefix))  # _ stands for any letter


def _remove(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # another one was quicker, or it is seen for too long
        client.delete_registered_model(name)
