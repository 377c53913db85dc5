"""The small project in odd surroundings: every byte that it makes is as in ordinary ones.

    python -m tests.campaigns.surroundings FOLDER --faketime .../libfaketimeMT.so.1

FOLDER: new, or one where an earlier call made the ordinary one. `place`: a path with spaces and accents, no
HOME, umask 077, the locale C, a zone of +5:45. `clock`: libfaketime moves the clock of all processes a day
ahead, back, and a day behind, all three seconds.
"""

import argparse
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.campaigns.kills import digests, stage_actions
from tests.support.small_project import make_small_project

CLOCKS = ("+1d", "+0", "-1d", "+0")


def compute(root: Path, environment: dict[str, str], *, umask: int = -1) -> dict[str, str]:
    """Make the project and all of its results; their digests by file."""
    if not root.exists():
        root.mkdir(parents=True)
        make_small_project(root)
        (root / ".venv").symlink_to(Path(sys.prefix))
    command = [root / ".venv/bin/python", "-m", "dvc", "repro", "--no-run-cache"]
    done = subprocess.run(command, cwd=root, env=environment, umask=umask, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{root}: it fails")
    stages = [
        action for action in stage_actions(root) if action.name != "compare"
    ]  # it tells how long all took
    return digests(root, [place for stage in stages for place in stage.outputs])


def with_clock_that_jumps(root: Path, environment: dict[str, str], library: Path) -> dict[str, str]:
    """The same, by a clock that is moved all the time."""
    now = root.parent / "clock"
    ended = threading.Event()

    def move() -> None:
        for clock in itertools.cycle(CLOCKS):
            (root.parent / "clock-next").write_text(clock)
            (root.parent / "clock-next").replace(now)
            if ended.wait(3):
                return

    root.parent.mkdir(parents=True, exist_ok=True)
    now.write_text("+0")
    mover = threading.Thread(target=move)
    mover.start()
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(now),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    try:
        return compute(root, environment | faked)
    finally:
        ended.set()
        mover.join()


def main() -> None:
    """Compute it in each of the surroundings, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faketime", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    ordinary = {**os.environ, "MLFLOW_TRACKING_URI": "none", "DVC_NO_ANALYTICS": "1"}
    expected = compute(folder / "ordinary", ordinary)
    odd = {**ordinary, "LC_ALL": "C", "TZ": "Asia/Kathmandu"}
    del odd["HOME"]
    found = {"place": compute(folder / "Fünf  Räume" / "pro jekt", odd, umask=0o077)}
    if asked.faketime:
        found["clock"] = with_clock_that_jumps(folder / "clock" / "project", ordinary, asked.faketime)
    for name, now in found.items():
        wrong = sorted(file for file in {*now, *expected} if now.get(file) != expected.get(file))
        print(f"{name}: {len(now)} files, {len(wrong)} differ {wrong[:10]}", flush=True)
    raise SystemExit(any(now != expected for now in found.values()))


if __name__ == "__main__":
    main()
