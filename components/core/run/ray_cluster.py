"""A Ray cluster: the one at RAY_ADDRESS, or one on this machine for as long as it is needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from components.core.run.errors import AvisError

_STARTS = 5


@contextmanager
def ray_cluster(workers: int, **options: Any) -> Iterator[Any]:
    """Ray, connected; a connection that was there before stays.

    Args:
        workers: processors of a cluster that is started here, 0 for all.
        options: of `ray.init`.

    Raises:
        AvisError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise AvisError(
            "engine.kind is 'ray', but Ray is not installed",
            where="params.yaml, engine",
            fix="Install it with: .venv/bin/uv pip install -e '.[ray]', or set engine.kind: local.",
        ) from None
    if ray.is_initialized():
        yield ray
        return
    local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers or None, "include_dashboard": False}
    for start in range(1, _STARTS + 1):
        try:
            ray.init(log_to_driver=False, logging_level="warning", **options, **local)
            break
        except (ConnectionError, RuntimeError) as error:
            raise AvisError(f"no Ray cluster answers: {error}", where="RAY_ADDRESS", passing=True) from None
        except Exception as error:
            # Ray gives a node 30 s, whatever else the machine has to do, and raises a bare Exception.
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if start == _STARTS:
                raise AvisError(f"Ray did not start in {_STARTS} tries: {error}", passing=True) from None
    try:
        yield ray
    finally:
        ray.shutdown()
