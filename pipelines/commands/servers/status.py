"""`avis status`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipelines.servers.health import Seen


def status() -> None:
    """Show the servers of this checkout; exit code 1 unless all are ready."""
    from pipelines.dvc.graph import find_root
    from pipelines.servers.health import disk, examine, queue
    from pipelines.servers.services import shared_environment
    from pipelines.servers.setup import setup_of

    root = find_root(Path.cwd())
    setup = setup_of(root)
    found = examine(root, setup)
    show(found)
    waiting, room = queue(shared_environment(root, setup)["PREFECT_API_URL"]), disk(root)
    if waiting is not None:
        print(f"\n{waiting.running} runs at work, {waiting.late} waiting for a worker", end="")
    print(f"\n{room.free_gb:.1f} of {room.size_gb:.1f} GB free")
    if all(one.state == "down" for one in found):
        print("They were ended, or their supervisor was, with the machine, say: avis up starts them again.")
    raise typer.Exit(0 if all(one.state == "ready" for one in found) else 1)


def show(found: "list[Seen]") -> None:
    """Print a line for each server."""
    for one in found:
        since = f"since {one.since:%Y-%m-%d %H:%M} UTC" if one.since else ""
        print(f"{one.name:12} {one.state:9} {one.pid or '':>8}  {since:26} {one.page or ''}".rstrip())
