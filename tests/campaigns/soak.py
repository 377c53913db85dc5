"""A week of schedules in a row, with servers away, disks full, videos gone and runs killed: what grows?

    python -m tests.campaigns.soak FOLDER --days 7     (FOLDER: new)

Each hour `ingest` looks for videos of a site on loopback, each night `retrain` trains on what its newest
branch has. Fetching and extracting are the real stages; training and scoring cost nothing. After each day is
counted what a machine that runs for years must not collect. At the end old branches are deleted, `avis gc
--free` frees what nothing needs, and every registered version must still be there, from this machine's cache
alone.
"""

import argparse
import csv
import gc
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest import mock

import psutil
import yaml

from tests.support.clips import make_clip
from tests.support.prefect_server import prefect_server

ROOT = Path(__file__).parents[2]
CLIPS = 12
GRAPH = """
stages:
  ingest:
    cmd: exec python -m components.ingest
    params: [ingest]
    deps: [manifest.csv]
    outs: [{data/raw: {persist: true}}]
  extract:
    cmd: exec python -m components.extract
    params: [extract]
    deps: [data/raw]
    outs: [{data/media: {persist: true}}]
  train:
    foreach: ${variants}
    do:
      cmd: exec python toy.py train
      deps: [data/media]
      outs: [data/model/avism/model.safetensors, data/model/avism/config.json, data/model/avism/clips.json,
             data/model/avism/run.json]
  evaluate:
    foreach: ${variants}
    do:
      cmd: exec python toy.py evaluate
      deps: [data/model/avism/model.safetensors]
      outs: [data/evaluation/avism/counts.safetensors, data/evaluation/avism/per_clip.csv]
      metrics: [{data/evaluation/avism/metrics.json: {cache: false}}]
"""
TOY = """
    import sys
    from pathlib import Path
    from components.core.run.files import write_json
    from components.core.run.process import run_stage
    from components.core.tracking.run import continue_run, training_run

    model, evaluation = Path("data/model/avism"), Path("data/evaluation/avism")

    def train():
        clips = len(list(Path("data/media/audio").glob("*.wav")))
        with training_run(variant="avism", params={"clips": clips}) as run:
            run.metrics({"loss": 1.5}, step=1)
            model.mkdir(parents=True, exist_ok=True)
            (model / "model.safetensors").write_text(str(clips))
            write_json(model / "config.json", {})
            write_json(model / "clips.json", [])
            write_json(model / "run.json", {"run_id": run.run_id})

    def evaluate():
        from tests.campaigns.soak import found_by
        from tests.support.promotion_scores import clip_name, counts_of, scores_of, write_scores

        found = found_by(int((model / "model.safetensors").read_text()))
        evaluation.mkdir(parents=True, exist_ok=True)
        write_scores(evaluation, counts_of(found, clips=len(found)))
        values = scores_of(found, clips=len(found)).protocols
        write_json(evaluation / "metrics.json", {name: part.values for name, part in values.items()})
        (evaluation / "per_clip.csv").write_text("\\n".join(["video", *map(clip_name, found), ""]))
        with continue_run(model / "run.json") as run:
            run.artifact(evaluation / "per_clip.csv", "evaluation")

    run_stage(sys.argv[1], {"train": train, "evaluate": evaluate}[sys.argv[1]])
"""
# As `sitecustomize` of each process that is started: nothing that is synced below data/ finds room.
FULL = """
    import os
    sync = os.fsync
    def full(number):
        if "/data/" in os.readlink(f"/proc/self/fd/{int(number)}"):
            raise OSError(28, "No space left on device")
        sync(number)
    os.fsync = full
"""
RUN = """
    import sys
    from pathlib import Path
    from tests.campaigns.soak import Week
    Week(Path(sys.argv[1])).ingest_here()
"""


def found_by(clips: int) -> dict[int, int]:
    """How many frames of each test clip a toy model finds that was trained on so many clips."""
    return dict.fromkeys(range(1, CLIPS + 1), min(clips % 5, 4))


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    is_away = False

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if Quiet.is_away:
            self.send_error(503)
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if Quiet.is_away:
            self.send_error(503)
        else:
            super().do_HEAD()


class Week:
    """A folder with a site, an origin, a checkout (base), a DVC remote and MLflow's database."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, folder / "site"
        self.base, self.origin = folder / "base", folder / "origin.git"

    def make(self, url: str) -> None:
        """Make and push the project; the address of the site stands in its manifest."""
        self.site.mkdir(parents=True, exist_ok=True)
        make_clip(self.site / "first.mp4", seconds=2)
        _run(self.folder, "git", "init", "-q", "--bare", "-b", "main", str(self.origin))
        _run(self.folder, "git", "clone", "-q", str(self.origin), str(self.base))
        (self.base / "dvc.yaml").write_text(GRAPH)
        (self.base / "toy.py").write_text(dedent(TOY))
        (self.base / ".gitignore").write_text("mlflow.db*\nmlruns\n__pycache__\ndata/.*\n.journal*\n")
        (self.base / "manifest.csv").write_text(f"video_id,source\nfirst,{url}/first.mp4\n")
        params = {
            "ingest": {"manifest": "manifest.csv", "sleep_s": 0.0, "attempts": 1, "max_failed_share": 0.9,
                       "retry_permanent_after_days": 0},
            "engine": {"workers": 1}, "extract": {}, "annotate": {"source": "labels.json"},
            "tracking": {"uri": f"sqlite:///{self.folder}/mlflow.db"},
            "train": {}, "variants": {"avism": {}}, "promotion": {"resamples": 200},
        }  # fmt: skip
        (self.base / "params.yaml").write_text(yaml.safe_dump(params))
        _run(self.base, sys.executable, "-m", "dvc", "init", "-q")
        with (self.base / ".dvc/config").open("a") as config:
            config.write("[core]\n    remote = storage\n['remote \"storage\"']\n")
            config.write(f"    url = {self.folder}/store\n")
        _run(self.base, "git", "add", "-A")
        _run(self.base, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "begin")
        _run(self.base, "git", "push", "-q", "origin", "HEAD:main")

    def ingest_here(self, ids: list[str] | None = None) -> str:
        """Run the flow in this process; how it ended."""
        from pipelines.flows.ingest import ingest

        state = ingest(ids, root=self.base, return_state=True)
        return f"{state.name}: {state.message}"

    def ingest_and_kill(self, after_s: float) -> str:
        """Run the flow in a process that is killed in the middle."""
        command = [sys.executable, "-c", dedent(RUN), str(self.folder)]
        with (self.folder / "killed.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        with suppress(subprocess.TimeoutExpired):
            return f"ended with {process.wait(after_s)} before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        return "killed"

    def retrain(self) -> str:
        """Train on what the newest ingest left; what a network would do is a number here."""
        from pipelines.flows import contest
        from pipelines.flows.champion_model import fetch_version
        from pipelines.flows.retrain import retrain
        from tests.support.promotion_scores import counts_of

        def measure(root: Path, version: Any, scratch: Path, *_: object, **_named: object) -> list[Any]:
            fetch_version(root, version, scratch / "model", seeds=True)
            found = found_by(int((scratch / "model/model.safetensors").read_text()))
            return [counts_of(found, clips=len(found))]

        with mock.patch.object(contest, "measure_version", measure):
            state = retrain(
                root=self.base, revision="avis/latest-ingest", trigger="schedule", return_state=True
            )
        return f"{state.name}: {state.message}"

    def versions(self) -> list[Any]:
        """The registered versions."""
        from pipelines.flows.registry_access import open_registry, promotion_params

        return open_registry(self.base, promotion_params(self.base)).versions()

    def counts(self) -> dict[str, int]:
        """What must not grow with each run, and what may."""
        gc.collect()
        branches = _run(self.origin, "git", "branch", "--list", "avis/*", "--format=%(refname:short)").split()
        tracking = self.base / "data/.tracking"
        mlflow, prefect = self.folder / "mlflow.db", self.folder / "prefect/prefect.db"
        return {
            "processes": len(_others()),
            "threads": threading.active_count(),
            "file handles": psutil.Process().num_fds(),
            "temporary files": sum(1 for _ in Path(os.environ["TMPDIR"]).rglob("*")),
            "clones": len([p for p in (self.base / ".dvc/tmp/workspaces").glob("*") if p.name != "holds"]),
            "holds": len(list((self.base / ".dvc/tmp/workspaces/holds").glob("*"))),
            "unfinished": sum(".unfinished-" in path.name for path in self.base.rglob(".*")),
            "spool": sum(path.is_file() for path in tracking.rglob("*")) if tracking.is_dir() else 0,
            "branches": len(branches),
            "versions": len(self.versions()) if mlflow.exists() else 0,
            "MLflow runs": _rows(mlflow, "runs"),
            "Prefect runs": _rows(prefect, "flow_run"),
            "Prefect tasks": _rows(prefect, "task_run"),
            "Prefect events": _rows(prefect, "events"),
            "Prefect logs": _rows(prefect, "log"),
            "Prefect artifacts": _rows(prefect, "artifact"),
            "kB of Prefect": _kb(prefect),
            "kB of MLflow": _kb(mlflow),
            "kB of .dvc/tmp": _kb(self.base / ".dvc/tmp"),
            "kB of the cache": _kb(self.base / ".dvc/cache"),
            "kB of the remote": _kb(self.folder / "store"),
        }

    def hour(self, number: int, draw: random.Random, url: str, full: Path) -> str:
        """One hour: perhaps a new video, perhaps one gone, perhaps a fault; then the schedule."""
        ids = []
        clips = sorted(self.site.glob("*.mp4"))
        if draw.random() < 0.3:
            make_clip(self.site / f"clip{number}.mp4", seconds=2)
            ids = [f"{url}/clip{number}.mp4"]
        if len(clips) > 3 and draw.random() < 0.1:
            draw.choice(clips).unlink()
        fault = draw.choice([*["none"] * 5, "site", "remote", "origin", "disk", "kill", "MLflow"])
        if fault == "kill":
            return f"{fault}: {self.ingest_and_kill(draw.uniform(4, 20))}"
        places = {
            "remote": self.folder / "store",
            "origin": self.origin,
            "MLflow": self.folder / "mlflow.db",
        }
        path = [str(full)] if fault == "disk" else []
        Quiet.is_away = fault == "site"
        with (
            _away(places.get(fault)),
            mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join([*path, str(ROOT)])}),
        ):
            said = self.ingest_here(ids)
        Quiet.is_away = False
        return f"{fault}: {said}"

    def tidy(self) -> list[str]:
        """Delete old branches and free what nothing needs; what is wrong afterwards."""
        for branch in _run(
            self.origin, "git", "branch", "--list", "avis/*-*", "--format=%(refname:short)"
        ).split():
            if not branch.startswith("avis/latest"):
                _run(self.origin, "git", "branch", "-D", branch)
        _run(self.base, "git", "fetch", "--quiet", "--prune", "--tags", "origin")
        before_kb = _kb(self.base / ".dvc/cache")
        print(_run(self.base, sys.executable, "-m", "pipelines.cli", "gc", "--free"), flush=True)
        print(f"The cache: {before_kb} kB before, {_kb(self.base / '.dvc/cache')} kB after", flush=True)
        problems = []
        (self.folder / "store").rename(self.folder / "store-away")
        for version in self.versions():
            look = self.folder / "look"
            _run(self.folder, "git", "clone", "-q", str(self.origin), str(look))
            _run(look, "git", "checkout", "-q", version.commit)
            _run(look, sys.executable, "-m", "dvc", "cache", "dir", "--local", str(self.base / ".dvc/cache"))
            try:
                _run(look, sys.executable, "-m", "dvc", "checkout", "-q")
                if not (look / "data/model/avism/model.safetensors").is_file():
                    problems.append(f"version {version.number} has no weights")
            except subprocess.CalledProcessError as error:
                problems.append(f"version {version.number}: {error.stderr[-300:]}")
            shutil.rmtree(look)
        (self.folder / "store-away").rename(self.folder / "store")
        return problems


def _run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    done.check_returncode()
    return done.stdout.strip()


def _others() -> list[psutil.Process]:
    """Processes that were started from here and run on, but for the server."""
    return [child for child in psutil.Process().children(recursive=True) if child.is_running()]


def _rows(database: Path, table: str) -> int:
    with suppress(sqlite3.Error), sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
        return int(opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    return 0


def _kb(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.lstat().st_size for file in files if file.is_file()) // 1000


@contextmanager
def _away(place: Path | None) -> Iterator[None]:
    """Put something in its place that is neither a folder nor a database."""
    if place is None or not place.exists():
        yield
        return
    kept = place.with_name(f"{place.name}-away")
    place.rename(kept)
    (place.touch if kept.is_dir() else place.mkdir)()
    try:
        yield
    finally:
        (place.unlink if kept.is_dir() else place.rmdir)()
        kept.rename(place)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    """Make the week, live it, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--hours", type=int, default=24, help="of a day")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    temporary, full = folder / "tmp", folder / "full"
    for new in (temporary, full):
        new.mkdir(parents=True)
    (full / "sitecustomize.py").write_text(dedent(FULL))
    os.environ |= {"TMPDIR": str(temporary), "DVC_NO_ANALYTICS": "1"}
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    draw = random.Random(asked.seed)
    week = Week(folder)
    rows = []
    with prefect_server(folder / "prefect") as server, _served(folder / "site") as url:
        os.environ |= {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(folder / "prefect")}
        week.make(url)
        for day in range(asked.days):
            for hour in range(asked.hours):
                number = day * asked.hours + hour
                print(f"day {day + 1}, {hour:02}:00  {week.hour(number, draw, url, full)[:200]}", flush=True)
            print(f"day {day + 1}, night  {week.retrain()[:300]}", flush=True)
            rows.append({"day": day + 1, **week.counts()})
            print(rows[-1], flush=True)
            with (folder / "counts.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        problems = week.tidy()
    bounded = ("processes", "threads", "file handles", "temporary files", "clones", "unfinished", "spool")
    problems += [
        f"{name} grow: {[row[name] for row in rows]}"
        for name in bounded
        if rows[-1][name] > rows[min(1, len(rows) - 1)][name] + 1
    ]
    print("\n".join(problems) or "Nothing was lost, nothing grows that must not.")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
