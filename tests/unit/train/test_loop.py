"""The training loop: it learns, it stops at NaN, and it goes on after kill -9 as if nothing had been."""

import csv
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.run.errors import AvisError
from components.train.averaging import WeightAverage
from components.train.checkpoint import load_checkpoint
from components.train.examples.batch import TrainingClip
from components.train.loop import fit, write_history
from components.train.params import TrainParams
from components.train.processes.distributed import Team, choose_device
from components.train.progress import Fitted, Validations
from components.train.schedule import build_optimizer, build_schedule
from models.networks.avism.avism import Avism
from models.networks.precision import autocast_type
from tests.support.tiny_model import tiny_model, train_settings

pytestmark = pytest.mark.slow

SECOND = 16_000


class TwoClips:
    """A red square that hums and a blue one that does not, in turn."""

    def __init__(self, *, killed_at: int | None = None, broken_at: int | None = None) -> None:
        self.killed_at, self.broken_at = killed_at, broken_at

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> TrainingClip:
        if index == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == self.broken_at:
            raise AvisError("the frame is missing", where="00007.jpg", fix="Run extract.")
        kind = index % 2
        frames = np.full((2, 32, 32, 3), 100, np.uint8)
        masks = np.zeros((1, 2, 32, 32), bool)
        masks[0, :, 8:24, 4 + 12 * kind : 16 + 12 * kind] = True
        frames[masks[0]] = (220, 30, 30) if kind == 0 else (30, 30, 220)
        sound = np.random.default_rng(kind).normal(0, 0.2, (2, SECOND)).astype(np.float32)
        return TrainingClip(f"clip_{kind}", frames, sound, np.array([kind]), masks)


def params_of(**changes: object) -> TrainParams:
    return TrainParams.model_validate(train_settings(**changes))


def run(model: Avism, source: TwoClips, params: TrainParams, **more: object) -> Fitted:
    return fit(model, source, params, log=lambda values, step: None, **more)  # type: ignore[arg-type]


def test_it_learns_two_clips() -> None:
    params = params_of(steps=30, learning_rate=3e-3, log_every_steps=5, clip_gradient_norm=1.0)
    model = tiny_model()
    logged: list[tuple[int, dict[str, float]]] = []
    fitted = fit(model, TwoClips(), params, log=lambda values, step: logged.append((step, dict(values))))
    assert [step for step, _ in logged] == [5, 10, 15, 20, 25, 30]
    assert fitted.steps == 30 and not model.training
    first, last = logged[0][1], logged[-1][1]
    assert last["train/loss"] < 0.7 * first["train/loss"]
    parts = [value for name, value in last.items() if name not in NO_LOSSES]
    assert sum(parts) == pytest.approx(last["train/loss"], rel=1e-4)


NO_LOSSES = {"train/loss", "train/learning_rate", "train/seconds"}


def test_a_loss_that_is_not_finite_names_the_clips() -> None:
    class Broken(TwoClips):
        def __getitem__(self, index: int) -> TrainingClip:
            clip = super().__getitem__(index)
            bad = replace(clip, name="bad_clip", sound=np.full_like(clip.sound, np.nan))
            return bad if index == 3 else clip

    for precision in ("fp32", "bf16", "fp16"):
        with pytest.raises(
            AvisError, match=r"became nan.*at step 1 \(clips clip_0, bad_clip\).*learning_rate"
        ):
            run(tiny_model(), Broken(), params_of(steps=4, precision=precision))


def test_in_fp16_gradients_that_never_are_numbers_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is skipped by the scaler; when all are, nothing is learned."""
    monkeypatch.setattr("components.train.loop.SMALLEST_SCALE", 2.0**13)  # not 37 steps
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.frame_decoder.class_head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(AvisError, match=r"no number in every one of the last steps, up to step 3.*bf16"):
        run(model, TwoClips(), params_of(steps=10, precision="fp16"))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


class LostWorker(TwoClips):
    """Kills the loader's worker, not the training."""

    def __getitem__(self, index: int) -> TrainingClip:
        if index == 2 and torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_killed_loader_is_one_message() -> None:
    with pytest.raises(AvisError, match=r"the examples do not come: DataLoader worker.*loader_workers"):
        run(tiny_model(), LostWorker(), params_of(steps=4, loader_workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_example_is_one_message(workers: int) -> None:
    with pytest.raises(AvisError) as caught:
        run(tiny_model(), TwoClips(broken_at=3), params_of(steps=4, loader_workers=workers))
    assert str(caught.value) == "the frame is missing (00007.jpg). Run extract."


@pytest.mark.parametrize("decay", [None, 0.6])
def test_killed_and_started_again_it_ends_the_same(tmp_path: Path, decay: float | None) -> None:
    params = params_of(steps=5, checkpoint_every_steps=2, deaf_share=0.3, average_decay=decay)
    undisturbed = tiny_model()
    run(undisturbed, TwoClips(), params)

    checkpoint = tmp_path / "checkpoints" / "tiny.pt"
    process = multiprocessing.get_context("fork").Process(
        target=run,
        args=(tiny_model(), TwoClips(killed_at=2 * 3 + 1), params),
        kwargs={"checkpoint": checkpoint, "fingerprint": "ours", "run_id": "run-1"},
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    unfinished = load_checkpoint(checkpoint, "ours")
    assert unfinished is not None
    assert (unfinished.step, unfinished.run_id) == (2, "run-1")

    resumed = tiny_model(seed=9)  # what it was built with is of no consequence
    fitted = run(resumed, TwoClips(), params, checkpoint=checkpoint, fingerprint="ours")
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert [row["step"] for row in fitted.history] == [1, 2, 3, 4, 5]
    assert fitted.seconds > unfinished.seconds
    # and once more, after the last checkpoint: nothing is left to do
    again = run(tiny_model(seed=3), TwoClips(killed_at=0), params, checkpoint=checkpoint, fingerprint="ours")
    assert again.history == fitted.history


def test_what_is_scored_and_kept_is_the_average_of_the_weights() -> None:
    """The mean of the start and of two steps, as torch's own moving average has it."""
    scored: list[torch.Tensor] = []

    def validate(model: Avism) -> dict[str, float]:
        scored.append(model.video_module.class_head.weight.detach().clone())
        return {"FSLA": 0.0, "HOTA": 0.0, "mAP": 0.0}

    states = []
    for steps in (1, 2):  # of the same schedule: a step rate that does not change
        model = tiny_model()
        run(model, TwoClips(), params_of(steps=steps, schedule="step", warmup_steps=0))
        states.append(model.video_module.class_head.weight.detach())
    start = tiny_model().video_module.class_head.weight.detach()
    wanted = 0.8 * (0.8 * start + 0.2 * states[0]) + 0.2 * states[1]
    model = tiny_model()
    settings = {"validate_every_steps": 2, "schedule": "step", "warmup_steps": 0, "average_decay": 0.8}
    run(model, TwoClips(), params_of(steps=2, **settings), validate=validate)
    assert torch.equal(scored[0], start)
    assert torch.equal(scored[1], model.video_module.class_head.weight)
    assert torch.allclose(scored[1], wanted, atol=1e-7)
    assert not torch.allclose(wanted, states[1], atol=1e-5)


@pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", 5)])
def test_of_the_scored_states_the_best_is_kept_also_when_killed(tmp_path: Path, keep: str, kept: int) -> None:
    params = params_of(
        steps=5, checkpoint_every_steps=3, validate_every_steps=2, keep=keep, average_decay=0.5
    )
    seen: dict[float, torch.Tensor] = {}

    def validate(model: Avism) -> dict[str, float]:
        """The state after two steps is the best, though not in FSLA; each is asked for its weights."""
        model.eval()
        weights = model.video_module.class_head.weight.detach().clone()
        seen[len(seen)] = weights
        return {"FSLA": 40.0, "HOTA": 1.0, "mAP": 2.0} | (
            {"FSLA": 30.0, "HOTA": 60.0} if len(seen) == 2 else {}
        )

    model = tiny_model()
    fitted = run(model, TwoClips(), params, validate=validate)
    assert [row["step"] for row in fitted.history if "val_FSLA" in row] == [0, 2, 4, 5]
    assert [row["step"] for row in fitted.history if "loss" in row] == [1, 2, 3, 4, 5]
    place = {2: 1, 5: 3}[kept]
    assert torch.equal(model.video_module.class_head.weight, seen[place])
    assert not torch.equal(seen[1], seen[3])

    checkpoint = tmp_path / "tiny.pt"
    always = {"checkpoint": checkpoint, "fingerprint": "ours"}
    seen.clear()
    with pytest.raises(AvisError, match="the frame is missing"):
        run(tiny_model(), TwoClips(broken_at=2 * 3), params, validate=validate, **always)
    seen |= dict.fromkeys(range(len(seen), 2), seen[0])  # validated before it broke: 0 and 2
    resumed = tiny_model(seed=9)
    run(resumed, TwoClips(), params, validate=validate, **always)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_it_stops_when_nothing_is_gained_also_when_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores 10, 40, 40, 30: the last two gain nothing over the second."""
    params = params_of(steps=9, validate_every_steps=1, stop_after_validations=2, log_every_steps=5)
    always = {"checkpoint": tmp_path / "tiny.pt", "fingerprint": "ours"}
    scores = iter([10.0, 40.0, 40.0, 30.0])

    def validate(model: Avism) -> dict[str, float]:
        return {"FSLA": next(scores), "HOTA": 1.0, "mAP": 2.0}

    model = tiny_model()
    fitted = run(model, TwoClips(), params, validate=validate, **always)
    assert fitted.steps == 3 and fitted.ended(params)
    assert [row["step"] for row in fitted.history if "loss" in row] == [3]  # the last step is logged, too
    said = capsys.readouterr().out
    assert "stopped after 3 of 9 steps" in said and "did not rise in 2 validations" in said
    again = tiny_model(seed=9)
    resumed = run(again, TwoClips(killed_at=0), params, validate=validate, **always)
    assert resumed.steps == 3 and resumed.history == fitted.history
    assert torch.equal(again.video_module.class_head.weight, model.video_module.class_head.weight)


def test_what_validation_takes_is_said_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    params = params_of(steps=200, validate_every_steps=50, validation_clips=10)
    for validation_s, said in (
        (10.0, "took 10 s, 10% of the time\n"),
        (50.0, "took 50 s, 50% of the time; "),
    ):
        fitted = Fitted([], 100.0, 200, validation_s=validation_s)
        team, average = Team(torch.device("cpu")), WeightAverage(torch.nn.Identity(), None)
        Validations(lambda _: {}, params, team, fitted, print, "train", average).conclude()
        out = capsys.readouterr().out
        assert said in out
    # 50 s of training allow 8.8 s of validation
    assert (
        "lower train.validation_clips from 10 to 1, or raise train.validate_every_steps from 50 to 200" in out
    )


def test_a_checkpoint_of_another_training_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "tiny.pt"
    params = params_of(steps=1)
    run(tiny_model(), TwoClips(), params, checkpoint=checkpoint, fingerprint="theirs")
    fitted = run(tiny_model(), TwoClips(), params, checkpoint=checkpoint, fingerprint="ours")
    assert [row["step"] for row in fitted.history] == [1]
    assert load_checkpoint(checkpoint, "ours") is not None
    aside = tmp_path / "tiny.pt.old"
    assert torch.load(aside, weights_only=True)["fingerprint"] == "theirs"
    said = f"because data, weights or settings changed; what was there is now {aside}\n"
    assert capsys.readouterr().out.count(said) == 1
    assert load_checkpoint(checkpoint, "theirs") is None
    assert not checkpoint.exists()
    assert torch.load(aside, weights_only=True)["fingerprint"] == "ours"  # in place of the former one


def test_a_folder_in_place_of_a_checkpoint_is_set_aside(tmp_path: Path) -> None:
    for _ in range(2):
        checkpoint = tmp_path / "tiny.pt"
        checkpoint.mkdir()
        (checkpoint / "of_somebody").touch()
        assert load_checkpoint(checkpoint, "ours") is None
        assert [file.name for file in tmp_path.rglob("*")] == ["tiny.pt.old", "of_somebody"]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut off", b"no checkpoint", b"hello world", b"\x80\x02]q\x00."]
)
def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    checkpoint = tmp_path / "tiny.pt"
    checkpoint.write_bytes(content)
    assert load_checkpoint(checkpoint, "ours") is None
    assert not checkpoint.exists()


def test_history_is_a_table(tmp_path: Path) -> None:
    rows = [{"step": 10.0, "loss": 1.23456789, "seconds": 2.0}, {"step": 20.0, "loss": 1e-7, "tagging": 0.5}]
    write_history(tmp_path / "history.csv", rows)
    with (tmp_path / "history.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert read[0] == {"step": "10", "loss": "1.23457", "seconds": "2", "tagging": ""}
    assert read[1] == {"step": "20", "loss": "1e-07", "seconds": "", "tagging": "0.5"}


def test_backbone_learns_slower_and_norms_do_not_decay() -> None:
    model = tiny_model(backbone_frozen_parts=3)
    optimizer = build_optimizer(model, params_of(backbone_factor=0.1, class_factor=5, weight_decay=0.05))
    settings = {id(x): group for group in optimizer.param_groups for x in group["params"]}
    named = dict(model.named_parameters())
    assert len(settings) == sum(x.requires_grad for x in named.values())
    for name, rate, decay in [
        ("backbone.network.network.blocks.5.0.conv_pw.weight", 1e-4, 0.05),
        ("frame_decoder.mask_head.layers.0.weight", 1e-3, 0.05),
        ("frame_decoder.class_head.weight", 5e-3, 0.05),
        ("audio_tags.bias", 5e-3, 0.05),
        ("frame_decoder.norm.weight", 1e-3, 0.0),
        ("frame_decoder.query_content.weight", 1e-3, 0.0),
        ("pixel_decoder.input_proj.0.1.weight", 1e-3, 0.0),
    ]:
        group = settings[id(named[name])]
        assert (group["lr"], group["weight_decay"]) == (pytest.approx(rate), decay), name
    assert id(named["backbone.network.network.conv_stem.weight"]) not in settings


def rates(params: TrainParams) -> list[float]:
    optimizer = build_optimizer(tiny_model(), params)
    schedule = build_schedule(optimizer, params)
    seen = []
    for _ in range(params.steps):
        seen.append(schedule.get_last_lr()[-1] / params.learning_rate)
        optimizer.step()
        schedule.step()
    return seen


def test_rates_warm_up_and_fall() -> None:
    steps = rates(params_of(steps=8, schedule="step", milestones=[4, 6], warmup_steps=1))
    assert steps == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = rates(params_of(steps=100))
    assert cosine[0] == 1 and cosine[50] == pytest.approx(0.505) and cosine[-1] < 0.012
    assert cosine == sorted(cosine, reverse=True)


def test_precision_and_device_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert autocast_type("fp32", cpu) is None
    assert autocast_type("bf16", cpu) is torch.bfloat16
    assert autocast_type("auto", cpu) in (None, torch.bfloat16)
    assert choose_device("cpu") == cpu
    gpu = torch.device("cuda")
    for has_bf16, training, prediction in [
        (True, torch.bfloat16, torch.bfloat16),
        (False, torch.float16, None),
    ]:
        # an older GPU, which would say yes to bf16 that it emulates
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, has=has_bf16: has or including_emulation,
        )
        assert autocast_type("auto", gpu, scaled=True) is training
        assert autocast_type("auto", gpu) is prediction
    if not torch.cuda.is_available():
        with pytest.raises(AvisError, match="PyTorch sees no GPU"):
            choose_device("cuda")


@pytest.mark.gpu
def test_it_learns_on_a_gpu() -> None:
    params = params_of(steps=30, learning_rate=3e-3, device="cuda", precision="auto", loader_workers=2)
    history = run(tiny_model(), TwoClips(), params).history
    assert history[-1]["loss"] < history[0]["loss"]
