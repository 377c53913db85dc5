"""`avis study`: a grid over parameters, trained, scored and compared."""

import os
from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError

_NEW = """\
# {name}: `avis study {name}` computes it, `avis study {name} --dry-run` says how much that is.
title: What this study asks
question: >-
  One or two sentences for the report.

# profile: aviseg-r50         # a file of params/ that is laid over params.yaml first
# variant: avism              # whose settings are changed; without it the first
seeds: 3                      # trainings of each cell: with one, the noise of training is not seen
# reference: full             # the cell that the others are compared with; without it the first
metrics: [FSLA, HOTA, mAP]

# For all cells. A parameter is called by its blocks, with dots; those of `train` change the variant.
base:
  train.steps: 200

# Named cells, and a grid over each of them; either may be missing.
cells:
  full: {{}}
  deaf: {{train.model.audio: none}}
# grid:
#   train.learning_rate: [0.0001, 0.0005]
# axis: train.learning_rate   # curves are drawn along it
# published:                  # what authors printed for the same cell, official protocol
#   full: {{mAP: 45.0}}
"""


def study(
    name: Annotated[
        str | None, typer.Argument(help="A file of params/studies, without .yaml; `list`; or `new`.")
    ] = None,
    new_name: Annotated[
        str | None, typer.Argument(metavar="[NEW]", help="With `new`: what to call it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many cells, trainings and hours it takes, and end.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="A profile to lay over params.yaml, in the place of the study's own.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=100, help="In the place of the study's own.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cells at the same time; by default one a GPU.")
    ] = None,
) -> None:
    """Train and compare the cells of a grid over parameters."""
    from pipelines.dvc.graph import find_root

    os.chdir(find_root(Path.cwd()))
    if name is None or name == "list":
        _list()
    elif name == "new":
        _new(new_name)
    elif new_name is not None:
        raise AvisError(f"{new_name!r} is one word too many", fix=f"avis study {name}")
    else:
        _run(name, dry_run, profile, seeds, jobs)


def _run(name: str, dry_run: bool, profile: str | None, seeds: int | None, jobs: int | None) -> None:
    from pipelines.studies.plan import make_plan

    # what is wrong is said before a server is started for nothing
    plan = make_plan(Path.cwd(), name, profile=profile, seeds=seeds)
    if dry_run:
        print(plan)
        return
    from pipelines.commands.flow import run_flow
    from pipelines.studies.flow import study as flow

    run_flow(lambda: flow(name, root=Path.cwd(), profile=profile, seeds=seeds, jobs=jobs, return_state=True))


def _new(name: str | None) -> None:
    from components.core.run.files import write_text
    from components.tools.studies.definition import study_path

    if name is None or name in ("new", "list"):
        raise AvisError("the new study needs a name", fix="avis study new NAME")
    path = study_path(name)
    if path.exists():
        raise AvisError("there is such a study", where=str(path), fix="Take another name, or edit it.")
    write_text(path, _NEW.format(name=name))
    print(f"{path}: edit it, then run: avis study {name} --dry-run")


def _list() -> None:
    """What exists, its state, its age, and whether code or data changed since."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from pipelines.studies.plan import plan_all

    table = Table("study", "title", "results", "report", box=None)
    for name, plan in plan_all(Path.cwd()).items():
        if isinstance(plan, AvisError):
            table.add_row(escape(name), escape(f"wrong: {plan}"), "", "")
            continue
        there = len(plan.trials) - len(plan.missing())
        report = Path("data/studies") / name / "report.html"
        age = _age(report) if report.is_file() else "none"
        state = (
            "up to date"
            if there == len(plan.trials)
            else ("code, data or parameters changed" if age != "none" else "")
        )
        table.add_row(
            escape(name), escape(plan.study.title), f"{there} of {len(plan.trials)}", f"{age} {state}".strip()
        )
    Console().print(table)


def _age(path: Path) -> str:
    import time

    hours = (time.time() - path.stat().st_mtime) / 3600
    return f"{hours:.0f} hours old" if hours < 48 else f"{hours / 24:.0f} days old"
