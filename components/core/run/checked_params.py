"""What was checked before a stage starts: all of params.yaml, by components/tools/parameters.

That check knows all stages, which this room may not: it is a process of its own, and remembers on what its
verdict rests. So the stages of a run pay for it once.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.params import PARAMS
from components.core.run.paths import Paths

CHECK = "components.tools.parameters"


def require_checked_params(stage: str) -> None:
    """Have all of params.yaml checked, unless it was and nothing has changed since.

    Args:
        stage: as DVC calls it, `train@avism`.

    Raises:
        AvisError: with all mistakes.
    """
    if not PARAMS.is_file() or _is_checked(stage.partition("@")[0]):  # without it, the stage says so itself
        return
    done = subprocess.run(
        [sys.executable, "-m", CHECK, stage], stdout=subprocess.PIPE, text=True, check=False
    )
    mistakes = done.stdout.splitlines()
    if mistakes:
        others = "".join(f"\n  {mistake}" for mistake in mistakes[1:])
        raise AvisError(f"{mistakes[0]} Also wrong:{others}" if others else mistakes[0])
    if done.returncode:
        raise AvisError(f"the check of {PARAMS} ended with {done.returncode}")


def remember(stages: Collection[str], files: Iterable[Path], environment: Iterable[str]) -> None:
    """Note that params.yaml is right.

    Args:
        stages: that may run.
        files: that the verdict rests on, there or missing; the code of the check is added.
        environment: the variables that it rests on.
    """
    root = Path(__file__).parents[3]
    files_of_code = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    code = {Path(file) for file in files_of_code if file}
    own = {path for path in code if path.is_relative_to(root) and ".venv" not in path.parts}
    verdict = {
        "stages": list(stages),
        "files": {str(path): _state(path) for path in sorted({*files, *own})},
        "environment": {name: _digest(name) for name in sorted(environment)},
    }
    with suppress(
        OSError
    ):  # a disk that is full: it is checked again, and the stage says what it cannot write
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), verdict)


def _is_checked(stage: str) -> bool:
    try:
        verdict = json.loads(_file().read_text(encoding="utf-8"))
        return (
            stage in verdict["stages"]
            and all(_digest(name) == digest for name, digest in verdict["environment"].items())
            and all(_state(Path(path)) == state for path, state in verdict["files"].items())
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _file() -> Path:
    return Paths().checked / "params.json"


def _state(path: Path) -> list[int] | None:
    """What changes when a file does, as DVC sees it; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_mtime_ns, state.st_size, state.st_ino]


def _digest(variable: str) -> str | None:
    """Too short to tell a key by."""
    value = os.environ.get(variable)
    return None if value is None else hashlib.sha256(value.encode()).hexdigest()[:6]
