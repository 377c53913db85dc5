"""Kills at random moments: whatever is killed, the same command once more ends with the same bytes.

    python -m tests.campaigns.kills FOLDER --kills 200 --seed 1     (FOLDER: new; the project is made in it)

Of the small project each stage, many commands, a rebuild and a retraining are run undisturbed; then, again
and again, one of them is started anew with its outputs removed, by turns, all or none, and DVC's caches of
runs, and killed: SIGKILL or SIGTERM to any process of it, or SIGINT to all, as Ctrl-C in a terminal does.
Then nothing that it started may run on, the same command must succeed, and every byte must be as before.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from tests.support.small_project import make_small_project

# What says how long something took, where, or in which run, and by design is another each time.
TIMES = ("timing.json", "run.json", "predictions.csv", "prediction.json", "history.csv")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_LONGEST_S = 3600.0  # of a command beside other work
_END_S = 120.0  # within this all that was started has ended: on a busy machine a sender imports MLflow


@dataclass(frozen=True)
class Action:
    """A command of the project. outputs: what it makes; digests: of them, where it was not disturbed."""

    name: str
    command: Sequence[str]
    outputs: Sequence[str] = ()
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kill:
    """How one ended that was killed. problem: empty if all was well."""

    action: str
    signal: str
    after_s: float
    hit: bool  # it was still at work
    problem: str


def digests(root: Path, places: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files below some places, except what differs by design; hidden ones must not be."""
    found = {}
    for place in places:
        path = root / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            of_training = file.name == "metrics.json" and file.parent.parent.name == "model"
            if file.is_file() and file.name not in TIMES and not of_training:
                found[str(file.relative_to(root))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def stage_actions(root: Path) -> Iterator[Action]:
    """Each stage of the graph, as DVC starts it."""
    from pipelines.dvc.graph import read_graph
    from pipelines.dvc.repository import open_repo

    order = [stage.name for stage in read_graph(root)]
    with open_repo(root) as repo:
        outputs = {stage.name: [os.path.relpath(out.fs_path, root) for out in stage.outs]
                   for stage in repo.index.stages}  # fmt: skip
    for name in order:
        command = ("-m", "dvc", "repro", "--quiet", "--single-item", "--force", "--no-run-cache", name)
        yield Action(name, command, outputs[name])


def commands(root: Path) -> Iterator[Action]:
    """Commands that write."""
    avis = ("-m", "pipelines.cli")
    video = next(iter(sorted((root / "data/raw").glob("*.mp4")))).relative_to(root).as_posix()
    test = "data/annotations/test.json"
    for form, target in (("coco_video", "out/y.zip"), ("cvat", "out/c.zip"), ("aviseg", "out/a.json")):
        yield Action(f"convert {form}", (*avis, "convert", test, target, "--to", form), [target])
    model = ("--model", "data/model/avism", "--out", "out/p")
    yield Action("predict", (*avis, "predict", video, *model), ["out/p"])
    yield Action("export", (*avis, "export", "aviseg", "out/aviseg"), ["out/aviseg"])
    yield Action("rebuild", (*avis, "rebuild"), ["data/qa", "data/comparison"])
    yield Action("retrain", (*avis, "retrain"))


def run(root: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command of the project in a session of its own; what it says goes to a file beside it."""
    python = root / ".venv" / "bin" / "python"
    environment = {**os.environ, "PREFECT_HOME": str(root.parent / "prefect"), "DVC_NO_ANALYTICS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (root.parent / "said").open("wb") as said:
        return subprocess.Popen(
            [python, *command], cwd=root, env=environment, stdin=subprocess.DEVNULL,
            stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip


def finish(root: Path, action: Action) -> str:
    """Run an action to its end; returns what was wrong."""
    process = run(root, action.command)
    try:
        code = process.wait(_LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "it does not end"
    return "" if code == 0 else f"it fails: {(root.parent / 'said').read_text(errors='replace')[-1500:]}"


def kill_once(
    root: Path, action: Action, number: signal.Signals, after_s: float, draw: random.Random
) -> Kill:
    """Start, kill, start again, compare."""
    prepare(root, action, draw)
    process = run(root, action.command)
    time.sleep(after_s)
    parent = psutil.Process(process.pid)
    family = [parent, *(child for child in _below(parent) if not _is_sender(child))]
    hit = process.poll() is None
    if number == signal.SIGINT:
        _send(lambda: os.killpg(process.pid, number))
    else:
        _send(lambda: draw.choice(family).send_signal(number))
    problem = ""
    deadline_s = time.monotonic() + _END_S
    while (alive := [one for one in family if _runs(one)]) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    if alive:
        problem = f"runs on: {[' '.join(one.cmdline())[-80:] for one in alive]}"
        for one in alive:
            _send(one.kill)
    process.wait()
    problem = problem or finish(root, action)
    if "is not empty" in problem:  # it was done, and does not do it again; the bytes are compared
        problem = ""
    if not problem and action.name == "retrain":
        problem = undecided(root)
    if not problem:
        now = digests(root, action.outputs)
        if now != action.digests:  # since an input that says how long something took was made anew, perhaps
            remove(root, action.outputs)
            problem = finish(root, action)
            action.digests.clear()
            action.digests.update(digests(root, action.outputs))
        wrong = sorted(name for name in {*now, *action.digests} if now.get(name) != action.digests.get(name))
        problem = problem or (f"differs: {wrong[:5]}" if wrong else "")
    left = [str(path.relative_to(root)) for place in action.outputs for path in _unfinished(root / place)]
    problem = problem or (f"left over: {left[:5]}" if left else "")
    return Kill(action.name, number.name, round(after_s, 2), hit, problem)


def prepare(root: Path, action: Action, draw: random.Random) -> None:
    """Remove what would spare the action its work: by turns all of its outputs, or none."""
    shutil.rmtree(root / ".dvc/cache/runs", ignore_errors=True)
    if action.name == "retrain":
        new_training(root)
    elif action.name == "rebuild":  # it does what is not up to date
        shutil.rmtree(root / "data/qa", ignore_errors=True)
        shutil.rmtree(root / ".dvc/cache/files", ignore_errors=True)
    elif action.outputs[0].startswith("out/") or draw.random() < 0.5:
        remove(root, action.outputs)


def remove(root: Path, outputs: Sequence[str]) -> None:
    """Remove what an action made."""
    for place in outputs:
        if (root / place).is_dir():
            shutil.rmtree(root / place)
        else:
            (root / place).unlink(missing_ok=True)


def new_training(root: Path) -> None:
    """Push another seed, so that there is something to train; a folder is the origin, another the remote."""
    owner = root.parent / "owner"
    if not owner.exists():
        _git(root, "clone", "--quiet", "--bare", str(root), str(root.parent / "origin.git"))
        _git(root, "remote", "add", "origin", str(root.parent / "origin.git"))
        _git(root.parent, "clone", "--quiet", str(root.parent / "origin.git"), str(owner))
        add = (root / ".venv/bin/python", "-m", "dvc", "remote", "add", "--default", "storage")
        subprocess.run([*add, str(root.parent / "store")], cwd=owner, check=True, capture_output=True)
    params = yaml.safe_load((owner / "params.yaml").read_text())
    before = params["variants"]["avism"] or {}
    params["variants"]["avism"] = {**before, "seed": before.get("seed", 1) + 1}
    (owner / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    _git(owner, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-am", "another seed")
    _git(owner, "push", "--quiet", "origin", "HEAD:main")


def undecided(root: Path) -> str:
    """What is wrong after a retraining: each training is one version, decided on, one is the champion."""
    from components.core.run.git import git
    from pipelines.flows.registry_access import open_registry, promotion_params

    versions = open_registry(root, promotion_params(root)).versions()
    trained = len(git(root.parent / "owner", "log", "--format=%h", "--grep", "another seed").splitlines())
    champions = [version.number for version in versions if "champion" in version.aliases]
    open_ = [version.number for version in versions if version.decision not in ("promoted", "refused")]
    tags = git(root.parent / "origin.git", "tag", "--list", "avis/avis/*").splitlines()
    clones = [path.name for path in (root / ".dvc/tmp/workspaces").iterdir() if path.name != "holds"]
    if len(versions) == len(tags) == trained and len(champions) == 1 and not open_ and not clones:
        return ""
    return f"{trained} trainings, {versions=}, {champions=}, {open_=}, {tags=}, {clones=}"


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def campaign(root: Path, actions: Sequence[Action], kills: int, seed: int) -> Iterator[Kill]:
    """Run each action undisturbed, then kill them at random; yields how each ended."""
    draw = random.Random(seed)
    duration_s = {}
    for action in actions:
        prepare(root, action, draw)
        begun = time.monotonic()
        problem = finish(root, action)
        duration_s[action.name] = time.monotonic() - begun
        if problem:
            raise SystemExit(f"{action.name}, undisturbed: {problem}")
        action.digests.update(digests(root, action.outputs))
        print(f"{action.name}: {duration_s[action.name]:.1f} s, {len(action.digests)} files", flush=True)
    for _ in range(kills):
        action = draw.choice(actions)
        yield kill_once(root, action, draw.choice(SIGNALS), draw.uniform(0, duration_s[action.name]), draw)


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_sender(process: psutil.Process) -> bool:
    """What sends to MLflow serves all stages, outlives them, and ends by itself."""
    try:
        return any("tracking.sender" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _unfinished(place: Path) -> list[Path]:
    hidden = (*place.parent.glob(".*"), *place.rglob(".*"))
    return [path for path in hidden if ".unfinished-" in path.name or ".scratch-" in path.name]


def _send(send: Callable[[], None]) -> None:
    with suppress(psutil.Error, ProcessLookupError):  # it has ended just now
        send()


def main() -> None:
    """Make the project, kill, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="names of actions")
    asked = parser.parse_args()
    root = asked.folder.resolve() / "project"
    if not root.exists():
        root.mkdir(parents=True)
        make_small_project(root)
        (root / ".venv").symlink_to(Path(sys.prefix))
        problem = finish(root, Action("repro", ("-m", "dvc", "repro", "--quiet")))
        if problem:
            raise SystemExit(problem)
    actions = [
        action
        for action in (*stage_actions(root), *commands(root))
        if not asked.only or action.name in asked.only
    ]
    failed = hit = 0
    for number, kill in enumerate(campaign(root, actions, asked.kills, asked.seed), 1):
        hit += kill.hit
        failed += bool(kill.problem)
        what = f"{number}: {kill.signal} after {kill.after_s} s of {kill.action}"
        print(f"{what}: {kill.problem or 'well'}", flush=True)
    print(f"{asked.kills} kills, {hit} of them before the end; {failed} problems")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
