"""A cluster on a machine that is busy."""

import sys
from types import SimpleNamespace

import pytest

from components.core.run.errors import AvisError
from components.core.run.ray_cluster import ray_cluster

BUSY = "The current node timed out during startup. This could happen because …"


class Ray(SimpleNamespace):
    """What ray_cluster calls of Ray; `init` fails as often as it is told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.shut_down = 0

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: object) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def shutdown(self) -> None:
        self.shut_down += 1


def test_a_node_that_starts_too_slowly_for_ray_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Ray(Exception(BUSY), Exception(BUSY))
    monkeypatch.setitem(sys.modules, "ray", ray)
    with ray_cluster(2) as connected:
        assert connected is ray
        assert ray.shut_down == 2  # what the failed starts left
    assert ray.shut_down == 3


def test_ray_that_never_starts_or_does_not_answer_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray(*(Exception(BUSY) for _ in range(9))))
    with pytest.raises(AvisError, match=r"did not start in 5 tries.*timed out") as caught, ray_cluster(2):
        pass
    assert caught.value.passing
    monkeypatch.setitem(sys.modules, "ray", Ray(ConnectionError("nobody there")))
    with pytest.raises(AvisError, match="no Ray cluster answers: nobody there"), ray_cluster(2):
        pass
    monkeypatch.setitem(sys.modules, "ray", Ray(ValueError("a mistake of ours")))
    with pytest.raises(ValueError, match="a mistake of ours"), ray_cluster(2):
        pass
