"""What `avis serve` does: a model, a queue, and uvicorn."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.run.output_folder import alone_in
from components.core.run.params import read_block
from components.core.run.workers.confinement import Limits
from components.core.video.any_model import Reading, examine
from components.extract.params import ExtractParams
from components.tools.prediction.one_video import Wanted
from components.tools.prediction.run import has_gpu
from components.tools.prediction.saving import chosen_savers
from pipelines.serving.app import application
from pipelines.serving.jobs import Jobs, Rules

OUTPUTS = ("film", "page", "objects", "results", "csv")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHORTEST_KEY = 16
_ASK_EVERY_S = 30.0  # the registry for its champion


def read_keys(path: Path) -> dict[str, str]:
    """Owners by key, of a file with both in each line.

    Raises:
        AvisError: a line is none, a key is short or stands there twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        owner, _, key = line.strip().partition(" ")
        if not owner or owner.startswith("#"):
            continue
        if len(key := key.strip()) < _SHORTEST_KEY or key in found:
            raise AvisError(
                f"line {number} has no key of at least {_SHORTEST_KEY} signs that no other line has",
                where=str(path),
                fix="Write OWNER KEY; a key: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
            )
        found[key] = owner
    return found


def run_server(
    wanted: Callable[[], Wanted],
    folder: Path,
    rules: Rules,
    keys: dict[str, str],
    most_bytes: int,
    host: str,
    port: int,
) -> None:
    """Serve until the process is ended.

    Raises:
        AvisError: there is no such model, the port is in use, or another server has the folder.
    """
    import uvicorn

    wanted()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
        except OSError as error:
            raise AvisError(
                f"port {port}: {error.strerror}", where=host, fix="Name another with --port."
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, "avis serve"):
            jobs = Jobs(folder / "jobs", rules, wanted, Limits(memory=not has_gpu(), network=False))
            print(f"http://{host}:{port}   (Ctrl-C ends it)", flush=True)
            config = uvicorn.Config(
                application(jobs, keys, most_bytes, LOOPBACK if host in LOOPBACK else ()), log_level="warning"
            )
            uvicorn.Server(config).run([taken])


def follow(model: Callable[[], Path], *, moves: bool) -> Callable[[], Wanted]:
    """Return what says with which model a video is predicted; of an alias of the registry the one of now.

    While the registry or the new model's files cannot be had, the last one goes on.

    Args:
        model: finds its files.
        moves: whether it is to be asked again.

    Raises:
        AvisError: by what is returned, at its first call: there is no such model.
    """
    params = read_block("predict", PredictParams, optional=True)
    extract = read_block("extract", ExtractParams, optional=True)
    last: Wanted | None = None
    asked_s = 0.0

    def wanted() -> Wanted:
        nonlocal last, asked_s
        if last is not None and not (moves and time.monotonic() - asked_s > _ASK_EVERY_S):
            return last
        asked_s = time.monotonic()
        try:
            chosen = model()
            if last is None or chosen != last.model:
                for sentence in examine(chosen, Reading()):
                    print(sentence)
                last = Wanted(
                    model=chosen,
                    params=params,
                    save=tuple(saver.name for saver in chosen_savers(OUTPUTS)),
                    audio_weights=Path(extract.audio_weights) if extract.audio_weights else None,
                    resampling=extract.resampling,
                )
                print(f"Videos are predicted with {chosen}", flush=True)
        except AvisError as error:
            if last is None:
                raise
            print(f"{error} The model before stays in use.", flush=True)
        return last

    return wanted
