"""Training in several processes (real ones, over gloo): the result of one, and one message when it fails."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.core.run.errors import AvisError
from components.train.examples.batch import TrainingClip
from components.train.loop import fit
from components.train.params import TrainParams
from components.train.processes.distributed import Team, join
from components.train.processes.launch import THREADS_ALONE
from tests.support.processes import let_children_compute, run_together
from tests.support.tiny_model import tiny_model, train_settings

let_children_compute()
pytestmark = pytest.mark.slow

SECOND = 16_000


class Squares:
    """Clips of one size: zero to two squares, of which some never sound."""

    def __init__(self, **faults: int) -> None:
        self.faults = faults

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> TrainingClip:
        if index == self.faults.get("unreadable"):
            raise AvisError("the frame is missing", where="00007.jpg", fix="Run extract.")
        if index == self.faults.get("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if index == self.faults.get("hangs"):
            time.sleep(600)
        chance = np.random.default_rng(index)
        count = index % 3
        frames = chance.integers(0, 80, (2, 32, 32, 3), np.uint8)
        masks = np.zeros((count, 2, 32, 32), bool)
        for row in range(count):
            masks[row, : 1 + index % 2, 8:20, 4 + 12 * row : 14 + 12 * row] = True
            frames[masks[row]] = (220, 30, 30) if row else (30, 30, 220)
        sound = chance.normal(0, 0.2, (2, SECOND)).astype(np.float32)
        clip = TrainingClip(f"clip_{index}", frames, sound, np.arange(count), masks)
        return replace(clip, sound=sound * np.nan) if index == self.faults.get("nan") else clip


def params_of(**changes: object) -> TrainParams:
    settings = {
        **{"clips_per_step": 4, "steps": 5, "schedule": "step", "learning_rate": 3e-4},
        **{"clip_gradient_norm": 1.0, **changes},
    }
    return TrainParams.model_validate(train_settings(**settings))


def trained(
    params: TrainParams, source: Squares | None = None, **more: Any
) -> tuple[list[dict[str, float]], Any]:
    """History and weights of a training in as many processes as there are."""
    torch.set_num_threads(1)
    settings = more.pop("model", {})
    with join(params) as team:
        model = tiny_model(seed=team.rank, **settings)
        for buffer in model.buffers():  # only the first one's weights and statistics count
            buffer += team.rank
        fitted = fit(model, source or Squares(), params, log=lambda row, step: None, team=team, **more)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return fitted.history, weights


def assert_same(found: Any, wanted: Any) -> None:
    """The same up to float noise, which Adam magnifies where a gradient is nearly zero."""
    for row, expected in zip(found[0], wanted[0], strict=True):
        assert row.keys() == expected.keys()
        for name in set(row) - {"seconds"}:
            rel = 1e-4 if name == "loss" else 1e-3
            assert row[name] == pytest.approx(expected[name], rel=rel, abs=1e-6), (expected["step"], name)
    for name, value in wanted[1].items():
        assert np.abs(found[1][name] - value).max() < 2e-3, name


@pytest.fixture(scope="module")
def alone() -> Any:
    return trained(params_of(deaf_share=0.3))


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 2), (4, 1)])
def test_however_a_step_is_shared_the_losses_are_the_same(
    alone: Any, processes: int, accumulate: int
) -> None:
    params = params_of(deaf_share=0.3, accumulate=accumulate)
    results = run_together(lambda: trained(params), processes)
    assert_same(results[0], alone)
    for other in results[1:]:  # all processes hold the same weights, to the bit
        assert all(np.array_equal(other[1][name], value) for name, value in results[0][1].items())


def test_accumulated_parts_are_one_step(alone: Any) -> None:
    assert_same(trained(params_of(deaf_share=0.3, accumulate=4)), alone)


def test_a_model_without_sound_and_with_frozen_parts() -> None:
    model = {"audio": "none", "audio_tagging": False, "backbone_frozen_parts": 4}
    params = params_of(model={**train_settings()["model"], **model}, steps=3)
    results = run_together(lambda: trained(params, model=model), 2)
    assert_same(results[0], trained(params, model=model))


def test_it_goes_on_in_another_number_of_processes(tmp_path: Path, alone: Any) -> None:
    checkpoint = tmp_path / "tiny.pt"
    first = params_of(deaf_share=0.3, steps=3)
    run_together(lambda: trained(first, checkpoint=checkpoint), 2)
    for_one = Path(shutil.copy(checkpoint, tmp_path / "for_one.pt"))
    params = params_of(deaf_share=0.3, accumulate=2)
    results = run_together(lambda: trained(params, checkpoint=checkpoint, model={"channels": 16}), 2)
    assert_same(results[0], alone)
    assert_same(trained(params, checkpoint=for_one), alone)


def test_what_one_process_cannot_read_ends_all_with_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    results = run_together(lambda: trained(params_of(), Squares(unreadable=7)), 2)
    assert results == [("AvisError", "the frame is missing (00007.jpg). Run extract."), ("exit", 1)]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_loss_that_is_no_number_ends_all_and_its_clips_are_kept(tmp_path: Path, precision: str) -> None:
    failures, checkpoint = tmp_path / "failures" / "tiny.json", tmp_path / "tiny.pt"
    params = params_of(precision=precision)
    results = run_together(
        lambda: trained(params, Squares(nan=6), failures=failures, checkpoint=checkpoint), 2
    )
    assert results[1] == ("exit", 1)
    kind, message = results[0]
    assert kind == "AvisError" and "at step 1 (clips clip_6, clip_7)" in message  # of the second process
    assert str(failures) in message
    kept = json.loads(failures.read_text())
    assert kept["step"] == 1 and kept["loss"] == "nan"
    assert [(clip["clip"], clip["process"], clip["loss_of_its_part"] == "nan") for clip in kept["clips"]] == [
        ("clip_4", 0, False),
        ("clip_5", 0, False),
        ("clip_6", 1, True),
        ("clip_7", 1, True),
    ]
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["step"] == 1
    assert all(torch.isfinite(value.float()).all() for value in saved["state"]["model"].values())


def test_while_the_others_wait_the_first_process_has_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_ALONE, "3")

    def threads() -> tuple[int | None, int]:
        torch.set_num_threads(1)
        with join(params_of()) as team:
            alone = team.first_alone(torch.get_num_threads, every_s=5)
        return alone, torch.get_num_threads()

    assert run_together(threads, 2) == [(3, 1), (None, 1)]


def test_a_process_that_dies_or_hangs_ends_the_others() -> None:
    results = run_together(lambda: trained(params_of(), Squares(killed=7)), 2)
    assert results[1] == ("died", -signal.SIGKILL)
    assert results[0][0] == "AvisError" and "another process of this training ended" in results[0][1]

    hanging = multiprocessing.get_context("fork").Value("i", 0)

    def hang() -> Any:
        if os.environ["RANK"] == "1":
            hanging.value = os.getpid()
        try:
            return trained(params_of(process_timeout_s=3), Squares(hangs=7))
        finally:
            if os.environ["RANK"] == "0":
                os.kill(hanging.value, signal.SIGKILL)  # torchrun would

    start = time.monotonic()
    results = run_together(hang, 2)
    assert results[0][0] == "AvisError" and "has been silent for 3 s" in results[0][1]
    assert time.monotonic() - start < 600


def test_clips_that_do_not_divide() -> None:
    results = run_together(lambda: trained(params_of(clips_per_step=3)), 2)
    for result in results:
        assert result[0] == "AvisError"
        assert "clips_per_step is 3, which 2 processes x accumulate 1 = 2 parts cannot share" in result[1]
        assert "allowed are 1, 3 parts, or a clips_per_step that is a multiple of 2" in result[1]


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "x"},
        {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "x"},
    ],
)
def test_a_place_that_is_none_is_one_message(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AvisError, match=r"RANK=\d, WORLD_SIZE=.*start it with torchrun"), join(params_of()):
        pass


def test_values_of_the_first_process_reach_all() -> None:
    def share() -> Any:
        with join(params_of()) as team:
            own = {"a": [torch.arange(3.0), (1, torch.tensor(2))], "b": {"rank": team.rank}}
            found = team.from_first(own if team.leads else None)
            return (
                found["a"][0].tolist(),
                found["a"][1][0],
                int(found["a"][1][1]),
                found["b"],
                team.sum([1, 2]),
            )

    assert run_together(share, 3) == [([0.0, 1.0, 2.0], 1, 2, {"rank": 0}, [3.0, 6.0])] * 3
    assert Team(torch.device("cpu")).from_first({"a": 1}) == {"a": 1}


def scored_for_long() -> list[float]:
    """The first process works for longer than the others would wait for a silent one."""
    began = time.monotonic()
    with join(params_of(process_timeout_s=1.0)) as team:

        def work() -> float:
            while time.monotonic() < began + 2.5:
                time.sleep(0.05)
            return 7.0

        return [team.first_alone(work, every_s=0.25) or 0.0, team.sum([1.0])[0]]


def failed_alone() -> None:
    with join(params_of(process_timeout_s=20.0)) as team:
        team.first_alone(lambda: exec("raise ValueError('no clip')"), every_s=0.1)


def test_the_others_wait_while_the_first_one_validates() -> None:
    assert run_together(scored_for_long, 2) == [[7.0, 2.0], [0.0, 2.0]]
    first, second = run_together(failed_alone, 2)
    assert first == ("ValueError", "no clip") and second == ("exit", 1)
