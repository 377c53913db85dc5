"""Training on a Ray cluster (engine.kind: ray): Ray Train starts the processes, on whatever machines it has.

The stage stays here: it reads, records the run and writes the model. Workers train; the first of them says
how it goes through a queue, and leaves its checkpoint where a local training has it. So the repository's
folder must be the same on all machines (a shared file system).
"""

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm

from components.core.run.errors import AvisError, is_out_of_memory
from components.core.run.params import EngineParams
from components.core.run.paths import Paths, name_of_seed
from components.core.run.process import SPIN_VARIABLES
from components.core.run.ray_cluster import ray_cluster
from components.train.checkpoint import load_checkpoint
from components.train.params import TrainParams
from components.train.plan import Plan, make_plan, plan_together
from components.train.processes.distributed import Stopped, Team, backend
from components.train.processes.launch import most_that_share
from components.train.processes.memory import out_of_memory
from components.train.progress import Fitted, Logger
from components.train.stage import finish, forget_checkpoints, recorded

_POLL_S = 0.5
_RESTARTS = 3  # after a lost worker or machine; training goes on from its last checkpoint


def train_on_ray(variant: str, params: TrainParams, engine: EngineParams, paths: Paths | None = None) -> None:
    """Train a variant on the Ray cluster at RAY_ADDRESS, or on one that is started here for it.

    Raises:
        AvisError: Ray is not installed or not reachable, the workers find no place, or as `stage.train`.
    """
    paths = Paths((paths or Paths()).root.resolve())
    # A cluster was started by hand, and its workers load torch before they run any code of ours.
    spin = {name: os.environ[name] for name in SPIN_VARIABLES if name in os.environ}
    # What workers have to say comes through the queue; Ray's own log of them would bury it.
    with ray_cluster(engine.workers, runtime_env={"env_vars": spin}) as ray:
        for number in range(1, params.seeds + 1):
            name = name_of_seed(variant, number)
            _train_once(ray, make_plan(name, params.with_seed(number), paths, with_weights=True), engine)
    forget_checkpoints(variant, params, paths)


def _train_once(ray: Any, plan: Plan, engine: EngineParams) -> None:
    with recorded(plan) as run:
        fitted = _fit(ray, plan, engine, run.run_id, lambda row, step: run.metrics(row, step=step))
        finish(plan, fitted, run)


def _fit(ray: Any, plan: Plan, engine: EngineParams, run_id: str, log: Logger) -> Fitted:
    """Run the workers, pass on what they say, and load what they trained into the plan's model."""
    workers, on_gpus = _size(ray, plan.params, engine)
    print(f"train {plan.variant}: {workers} Ray workers, on {'GPUs' if on_gpus else 'CPUs'}", flush=True)
    kept = plan.paths.training_checkpoint(plan.variant)
    bar = tqdm(total=plan.params.steps, desc=f"train {plan.variant}", unit="step", mininterval=1.0)

    def show(values: Mapping[str, float], step: int) -> None:
        log(values, step)
        if "train/loss" in values:  # scores of validation come, too
            bar.set_postfix(loss=f"{values['train/loss']:.2f}", refresh=False)
        bar.update(step - bar.n)

    for attempt in range(_RESTARTS + 1):
        with _listening(show) as said:
            lost = _run_workers(ray, plan, workers, on_gpus, run_id, said)
        if lost is None:
            break
        if attempt == _RESTARTS:
            raise AvisError(
                f"the training lost workers {attempt + 1} times: {lost}",
                where="engine.kind: ray",
                passing=True,
            )
        tqdm.write(f"train {plan.variant}: {lost}; going on from the last checkpoint")
    bar.close()
    done = load_checkpoint(kept, plan.fingerprint)
    if done is None or not done.fitted.ended(plan.params):
        raise AvisError(
            "the workers trained, but their checkpoint is not here",
            where=str(kept),
            fix="The repository's folder must be shared by all machines of the Ray cluster.",
        )
    plan.model.load_state_dict(done.weights)
    plan.model.eval()
    shutil.rmtree(_ray_files(plan.paths) / plan.variant, ignore_errors=True)
    return done.fitted


def _size(ray: Any, params: TrainParams, engine: EngineParams) -> tuple[int, bool]:
    """How many workers, and whether each has a GPU."""
    has = ray.cluster_resources()
    on_gpus = params.device != "cpu" and has.get("GPU", 0) > 0
    available = int(has.get("GPU" if on_gpus else "CPU", 1))
    workers = engine.workers or most_that_share(params, available)
    if workers > available:
        raise AvisError(
            f"{workers} workers are asked for, but the Ray cluster has {available} "
            f"{'GPUs' if on_gpus else 'CPUs'}",
            where="params.yaml, engine.workers",
            fix=f"Set it to {most_that_share(params, available)}, or to 0: as many as can share the clips.",
        )
    return workers, on_gpus


def _run_workers(ray: Any, plan: Plan, workers: int, on_gpus: bool, run_id: str, said: Any) -> str | None:
    """Train; None when the workers are done, or have said why they cannot; else how some were lost.

    Raises:
        AvisError: a worker failed with an exception, which starting again would not mend.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    params, paths = plan.params, plan.paths
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "variant": plan.variant,
            "params": params,
            "root": paths.root,
            "folder": Path.cwd(),
            "run_id": run_id,
            "said": said,
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpus),
        torch_config=TorchConfig(
            backend=backend(torch.device("cuda" if on_gpus else "cpu")),
            timeout_s=max(1, round(params.process_timeout_s)),
        ),
        run_config=RunConfig(name=plan.variant, storage_path=str(_ray_files(paths))),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        failures = list(getattr(error, "worker_failures", {}).values()) or [error]
        own = [failure for failure in failures if not _is_lost_worker(failure)]
        if len(own) == len(failures):
            raise AvisError(f"a worker failed: {_last_line(own[0])}", where="engine.kind: ray") from error
        return f"a worker was lost ({_last_line(next(x for x in failures if _is_lost_worker(x)))})"
    return None


def _ray_files(paths: Paths) -> Path:
    """Where Ray Train keeps what it wants to know of a training."""
    return paths.root / ".checkpoints" / "ray"


def _is_lost_worker(failure: BaseException) -> bool:
    """Did a process or its machine go away? Its peers only notice that it no longer answers."""
    return "died" in str(failure).lower() or "ActorUnavailable" in type(failure).__name__


def _last_line(failure: BaseException) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return lines[-1] if lines else type(failure).__name__


@contextmanager
def _listening(log: Logger) -> Iterator[Any]:
    """A queue for the workers: ("row", values, step) is logged, ("error", error) raised in the end."""
    from ray.util.queue import Empty, Queue

    said = Queue(actor_options={"num_cpus": 0})
    over = threading.Event()
    errors: list[AvisError] = []

    def listen() -> None:
        while True:
            try:
                kind, *content = said.get(timeout=_POLL_S)
            except Empty:
                if over.is_set():
                    return
                continue
            if kind == "row":
                log(*content)
            else:
                errors.append(*content)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield said
    except AvisError:
        over.set()
        thread.join()
        if errors:  # the worker's own words are better than Ray's
            raise errors[0] from None
        raise
    over.set()
    thread.join()
    said.shutdown()
    if errors:
        raise errors[0]


def _work(config: dict[str, Any]) -> None:
    """One worker; Ray has made the process group."""
    import ray.train.torch

    os.chdir(config["folder"])  # params.yaml names files relative to the repository's root
    said, params = config["said"], config["params"]
    team = Team(ray.train.torch.get_device(), dist.get_rank(), dist.get_world_size())
    if team.device.type == "cpu":
        here = ray.train.get_context().get_local_world_size()
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
    try:
        plan = plan_together(config["variant"], params, Paths(config["root"]), team)
        plan.fit(team, log=lambda row, step: said.put(("row", dict(row), step)), run_id=config["run_id"])
    except Stopped:
        return
    except AvisError as error:
        said.put(("error", error))
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            found = out_of_memory(error, params, rank=team.rank, processes=team.size)
            said.put(("error", found))
        raise  # the others do not know
