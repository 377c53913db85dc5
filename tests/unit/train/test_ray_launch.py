"""What the stage makes of what Ray's workers say; the workers themselves are in tests/integration."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.train import ray_launch
from components.train.checkpoint import Checkpoint
from components.train.params import TrainParams
from components.train.plan import make_plan
from tests.support.tiny_model import tiny_model, train_settings, write_square_set


def test_scores_of_validation_are_passed_on_and_the_best_state_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(tmp_path / "data")
    write_square_set(paths)
    plan = make_plan("tiny", TrainParams.model_validate(train_settings()), paths, with_weights=True)
    best, last = tiny_model(seed=1).state_dict(), tiny_model(seed=2).state_dict()
    state = {"model": last, "best": {"step": 0, "weights": best}}
    done = Checkpoint(2, 1.0, [], plan.fingerprint, "run", state)
    said = [({"validation/FSLA": 30.0}, 0), ({"train/loss": 2.0}, 1), ({"validation/FSLA": 20.0}, 2)]

    @contextmanager
    def listening(log: Callable[[Mapping[str, float], int], None]) -> Iterator[None]:
        for values, step in said:
            log(values, step)
        yield None

    monkeypatch.setattr(ray_launch, "_listening", listening)
    monkeypatch.setattr(ray_launch, "_size", lambda *_: (2, False))
    monkeypatch.setattr(ray_launch, "_run_workers", lambda *_: None)
    monkeypatch.setattr(ray_launch, "load_checkpoint", lambda *_: done)
    logged: list[tuple[dict[str, float], int]] = []
    log = lambda values, step: logged.append((dict(values), step))  # noqa: E731
    fitted = ray_launch._fit(None, plan, EngineParams(kind="ray"), "run", log)
    assert logged == said
    assert fitted.best is not None and fitted.best["step"] == 0
    for name, value in plan.model.state_dict().items():
        assert value.equal(best[name]), name
