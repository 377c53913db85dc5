"""What a training step costs beside other work, by how OpenMP's threads wait for each other.

    .venv/bin/python -m benchmarks.shared_machine                    all settings, about 8 minutes in all
    .venv/bin/python -m benchmarks.shared_machine --minutes 2 --settings "" GOMP_SPINCOUNT=10000

The demo's model trains on the demo's clips (`make demo` first) through the stage's own loop, one process per
setting, all started beforehand and waiting. Then they take turns, a few steps each: on the machine as it is,
and beside a Python loop on each core. So whatever else the machine does meets all settings alike, and step n
has the same clips in each. A setting is a list of environment variables; an empty one is OpenMP's default.
Nothing is written: no model, no checkpoint, no run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

SETTINGS = (
    "",
    "GOMP_SPINCOUNT=0",
    "GOMP_SPINCOUNT=1000",
    "GOMP_SPINCOUNT=3000",
    "GOMP_SPINCOUNT=10000",
    "GOMP_SPINCOUNT=100000",
    "OMP_WAIT_POLICY=PASSIVE",
)
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "KMP_BLOCKTIME")
WARM_STEPS = 2  # the first ones allocate memory and choose kernels
STEPS_OF_A_TURN = 2
CONDITIONS = ("idle", "busy")
BURN = "while True: pass"


@dataclass
class Trainer:
    """A training process that does as many steps as it is told, and says what each took."""

    setting: str
    process: subprocess.Popen[str]
    errors: IO[bytes]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CONDITIONS})
    cpu_seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CONDITIONS})

    def run(self, steps: int) -> list[dict[str, float]]:
        if self.process.stdin is None or self.process.stdout is None:
            raise ValueError("the process has no pipes")
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            reason = (self.errors.read().decode(errors="replace").strip().splitlines() or ["?"])[-1]
            sys.exit(f"{self.setting or 'default'}: {reason}")
        found: list[dict[str, float]] = json.loads(line)
        return found

    def measure(self, condition: str) -> None:
        for step in self.run(STEPS_OF_A_TURN):
            self.seconds[condition].append(step["seconds"])
            self.cpu_seconds[condition].append(step["cpu_seconds"])


class Enough(Exception):  # noqa: N818
    """Ends the training from within its log."""


def train_on_demand() -> None:
    """The child: train, a number of steps for each line of stdin; an answer is a line of JSON."""
    from components.core.run.params import read_variant, read_variant_names
    from components.core.run.paths import Paths
    from components.train.loop import fit
    from components.train.params import TrainParams
    from components.train.plan import make_plan

    answers, sys.stdout = sys.stdout, sys.stderr  # what the stage prints is no answer
    variant = read_variant_names()[0]
    params = read_variant(variant, TrainParams).model_copy(
        update={"steps": 100_000, "log_every_steps": 1, "device": "cpu", "processes": 1}
    )
    plan = make_plan(variant, params, Paths(), with_weights=True)
    left, done = 1, []  # one step to begin with: the log is called after a step
    start, cpu_start = 0.0, 0.0

    def log(row: Mapping[str, float], step: int) -> None:
        nonlocal left, done, start, cpu_start
        done.append({"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu_start})
        left -= 1
        if left == 0:
            if step > 1:
                print(json.dumps(done), file=answers, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise Enough
            left, done = int(line), []
        start, cpu_start = time.monotonic(), time.process_time()

    try:
        fit(plan.model, plan.clips, params, log=log)
    except Enough:
        return


@contextmanager
def trainer(setting: str) -> Iterator[Trainer]:
    """Start a training process with a setting; it loads while others do."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    environment |= dict(part.split("=", 1) for part in setting.split())
    command = [sys.executable, "-m", "benchmarks.shared_machine", "--child"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Trainer(setting, process, errors)
        finally:
            process.kill()


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Python processes that do nothing but compute."""
    started = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    """Measure in turns until the time is up, then print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=6.0, help="after loading; one round at least")
    parser.add_argument("--rest", type=float, default=0.0, help="after each turn, in lengths of that turn")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        train_on_demand()
        return
    cores = len(os.sched_getaffinity(0))
    before = os.getloadavg()[0]
    with ExitStack() as stack:
        trainers = [stack.enter_context(trainer(setting)) for setting in arguments.settings]
        for each in trainers:
            each.run(WARM_STEPS)
        rounds = take_turns(trainers, cores, time.monotonic() + 60 * arguments.minutes, arguments.rest)
    report(trainers, cores, rounds, before)


def take_turns(trainers: list[Trainer], cores: int, until: float, rest: float) -> int:
    """Rounds of all settings in both conditions; at least one, and none begun that would not fit."""

    def measure(one: Trainer, condition: str, burning: int) -> None:
        start = time.monotonic()
        with burners(burning):
            one.measure(condition)
        time.sleep(rest * (time.monotonic() - start))

    rounds, longest = 0, 0.0
    while rounds == 0 or time.monotonic() + longest < until:
        start = time.monotonic()
        turn = trainers[rounds % len(trainers) :] + trainers[: rounds % len(trainers)]
        for each in turn:
            measure(each, "idle", 0)
        for each in turn:
            measure(each, "busy", cores)
        rounds, longest = rounds + 1, max(longest, time.monotonic() - start)
    return rounds


def report(trainers: list[Trainer], cores: int, rounds: int, load: float) -> None:
    """Medians and the slowest step; the cost is the median ratio to the first setting's same idle step."""
    median = statistics.median
    print(
        f"{datetime.now(UTC):%Y-%m-%d} {platform.machine()}, {cores} cores, load before {load:.1f}; "
        f"{rounds} rounds of {STEPS_OF_A_TURN} steps\n"
    )
    rows: list[tuple[Any, ...]] = [
        ("setting", "idle s", "CPU s", "cost", "busy s", "CPU s", "slowest s", "busy / idle")
    ]
    for each in trainers:
        idle, busy = median(each.seconds["idle"]), median(each.seconds["busy"])
        pairs = zip(each.seconds["idle"], trainers[0].seconds["idle"], strict=True)
        cost = median(own / first for own, first in pairs)
        rows.append(
            (
                each.setting or "default",
                f"{idle:.2f}",
                f"{median(each.cpu_seconds['idle']):.2f}",
                f"{100 * (cost - 1):+.1f} %",
                f"{busy:.2f}",
                f"{median(each.cpu_seconds['busy']):.2f}",
                f"{max(each.seconds['busy']):.2f}",
                f"{busy / idle:.2f}",
            )
        )
    rows.insert(1, ("---", *["---:"] * 7))
    for each in trainers:
        print(each.setting or "default", json.dumps(each.seconds), file=sys.stderr)
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
