"""`avis retrain`: the flow that trains a challenger."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.flow import Repository, Revision, run_flow


def retrain(
    revision: Revision = "main",
    repository: Repository = None,
    force: Annotated[bool, typer.Option(help="Compare once more although nothing changed.")] = False,
    ask_first: Annotated[
        bool, typer.Option("--ask-first", help="A better one waits for `avis champion approve`.")
    ] = False,
    retries: Annotated[int, typer.Option(min=0, help="Further tries where a second one may help.")] = 1,
) -> None:
    """Train a challenger in a clone of its own, and promote it if it is better than the champion."""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.retrain import retrain as flow

    options = {"force": force, "ask_first": ask_first, "retries": retries, "root": root}
    run_flow(lambda: flow(revision, repository, **options, return_state=True))
