"""`avis logs`."""

from pathlib import Path
from typing import Annotated

import typer


def logs(
    server: Annotated[str | None, typer.Argument(help="As avis status names them; else all.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Of each.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written.")] = False,
) -> None:
    """Show what the servers said: the ends of the files in .avis/logs."""
    import subprocess

    from components.core.run.errors import AvisError
    from pipelines.dvc.graph import find_root
    from pipelines.servers.setup import LOGS

    folder = find_root(Path.cwd()) / LOGS
    files = sorted(folder.glob("*.log"))
    found = [file for file in files if server in (None, file.stem)]
    if not found:
        names = ", ".join(file.stem for file in files) or "none yet; avis up starts servers"
        raise AvisError("there is no such log", where=server, fix=f"There are: {names}.")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *(file.name for file in found)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, errors="replace") as tail:
        for line in tail.stdout or ():
            print(line, end="", flush=follow)
