"""What Prefect adds to DVC: `avis rebuild` against `dvc repro` on a graph of stages that cost nothing.

    .venv/bin/python benchmarks/prefect_overhead.py [--stages 12] [--tries 3]

A chain, so that nothing runs side by side and every stage pays. Each try runs both on a copy of its own, one
after the other, with a Prefect server running: all stages, then again with nothing to do; and `avis rebuild`
with nothing to do where no server is named. A process of dvc a stage is part of the difference, and so is
starting the flow.
Targets: under 2 s a stage, and under 15 s with nothing to do.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

DVC = [sys.executable, "-m", "dvc"]
AVIS = [sys.executable, "-c", "from pipelines.cli import main; main()"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", type=int, default=12)
    parser.add_argument("--tries", type=int, default=3)
    arguments = parser.parse_args()
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, server(Path(name) / "prefect") as environment:
        folder = Path(name)
        generate(folder / "graph", arguments.stages)
        alone = {key: value for key, value in environment.items() if key != "PREFECT_API_URL"}
        for number in range(arguments.tries):
            plain, tasks = folder / f"plain{number}", folder / f"tasks{number}"
            for copy in (plain, tasks):
                shutil.copytree(folder / "graph", copy)
            for what, command, root, variables in (
                ("dvc repro, all stages", [*DVC, "repro"], plain, environment),
                ("avis rebuild, all stages", [*AVIS, "rebuild"], tasks, environment),
                ("dvc repro, nothing to do", [*DVC, "repro"], plain, environment),
                ("avis rebuild, nothing to do", [*AVIS, "rebuild"], tasks, environment),
                ("avis rebuild, nothing to do, no server", [*AVIS, "rebuild"], tasks, alone),
            ):
                start_s = time.monotonic()
                subprocess.run(command, cwd=root, env=variables, check=True, capture_output=True)
                rows.setdefault(what, []).append(time.monotonic() - start_s)
    for what, seconds in rows.items():
        print(f"{what:<40} {statistics.median(seconds):6.1f} s   ({', '.join(f'{s:.1f}' for s in seconds)})")
    more = [
        ours - plain
        for ours, plain in zip(rows["avis rebuild, all stages"], rows["dvc repro, all stages"], strict=True)
    ]
    print(f"Prefect adds {statistics.median(more) / arguments.stages:.2f} s a stage")


def generate(root: Path, count: int) -> None:
    """Write a chain of stages that copy a file."""
    root.mkdir()
    stages = {
        f"s{number}": {
            "cmd": f"cp {number}.txt {number + 1}.txt",
            "deps": [f"{number}.txt"],
            "outs": [f"{number + 1}.txt"],
        }
        for number in range(count)
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / "0.txt").write_text("0\n")
    for command in (["git", "init", "-q"], [*DVC, "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """Run a Prefect server; yields the environment of those who use it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while process.poll() is None:
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
            yield environment
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
