"""`avis runs …`: the tracked runs as a table, what two of them differ in, saved searches, other machines."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError

runs = typer.Typer(help="The tracked runs as a table, and what two of them differ in.")

_Which = Annotated[
    str, typer.Argument(help="A run id or its beginning, a variant, champion, challenger, or NAME@VERSION.")
]


@runs.callback(invoke_without_command=True)
def table(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Runs shown.")] = 20,
    all_: Annotated[bool, typer.Option("--all", help="Show all runs.")] = False,
    experiment: Annotated[str | None, typer.Option(help="avis-data has the data stages.")] = None,
    search: Annotated[
        str | None, typer.Option(help="A saved search (avis runs searches), or a filter as MLflow has them.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write all that MLflow knows of the runs to this file instead.")
    ] = None,
) -> None:
    """Show the tracked runs, the newest first, with scores (protocol corrected, percent), commit and data."""
    if context.invoked_subcommand is not None:
        return
    from components.core.text.terminal import plain
    from components.core.tracking.address import tracking_params
    from components.tools.runs.table import open_runs, print_runs, saved_search, write_runs

    saved = saved_search(search)
    tracked = open_runs()
    tracking = tracking_params()
    usual = tracking.experiment if saved.experiment == "models" else tracking.data_experiment
    name, most = experiment or usual, None if all_ else limit
    found = tracked.search([name], where=saved.filter, order=saved.order, limit=most)
    if csv is not None:
        write_runs(found, csv)
        print(f"{csv}: {len(found)} runs")
    elif not found:
        which = " that the search finds" if saved.filter else ""
        print(f"No runs in the experiment {plain(name)}{which}. `dvc repro` makes some.", file=sys.stderr)
    else:
        print_runs(found, saved.columns)
        if len(found) == most:
            print(f"The first {limit}; --all shows all, --limit N more.", file=sys.stderr)


@runs.command()
def diff(
    first: _Which,
    second: _Which,
    experiment: Annotated[str | None, typer.Option(help="Where to look for them.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the differences of all clips to this file.")] = None,
) -> None:
    """Show what two runs differ in: parameters, data, code, environment, scores, and on which clips."""
    from components.compare.params import CompareParams
    from components.core.run.params import read_block
    from components.core.tracking.address import tracking_params
    from components.tools.promotion.params import PromotionParams
    from components.tools.runs.difference import compare, find, write_clips
    from components.tools.runs.difference_table import print_difference
    from components.tools.runs.table import open_runs

    if csv is not None and csv.exists():
        raise AvisError("the file is there already", where=str(csv), fix="Name a new one.")
    tracking = tracking_params()
    experiments = [experiment] if experiment else [tracking.experiment, tracking.data_experiment]
    model = read_block("promotion", PromotionParams, optional=True).model
    tracked = open_runs()
    one, other = (find(wanted, tracked, model=model, experiments=experiments) for wanted in (first, second))
    params = read_block("compare", CompareParams, optional=True)
    found = compare(one, other, tracked, params=params, repository=Path.cwd())
    print_difference(found, params)
    if csv is not None:
        write_clips(csv, found.clips)
        print(f"{csv}: {len(found.clips)} scores of clips")


@runs.command("compare")
def compare_runs(
    which: Annotated[list[str], typer.Argument(help="Two or more, named as for avis runs diff.")],
) -> None:
    """Print an address that opens MLflow with these runs beside each other, their scores as charts."""
    from components.core.run.params import read_block
    from components.core.tracking.address import server_of, tracking_params, tracking_uri
    from components.tools.promotion.params import PromotionParams
    from components.tools.runs.difference import find
    from components.tools.runs.table import open_runs
    from components.tools.runs.views import LOCAL_SERVER, address, comparison, view_tag

    if len(which) < 2:
        raise AvisError("one run alone cannot be compared", fix="Name two or more: avis runs compare A B")
    experiment = tracking_params().experiment
    model = read_block("promotion", PromotionParams, optional=True).model
    tracked = open_runs()
    found = [find(wanted, tracked, model=model, experiments=[experiment]) for wanted in which]
    name, search = comparison([run.run_id for run in found])
    experiment_id = tracked.tag_experiment(experiment, *view_tag(name, search, listed=False))
    server = server_of(tracking_uri())
    print(address(name, search, server=server or LOCAL_SERVER, experiment_id=str(experiment_id)))
    if server is None:
        print("It is there while `make ui` runs.", file=sys.stderr)


@runs.command()
def searches() -> None:
    """List the saved searches, and put them into MLflow as views with plots, each with its address."""
    from components.core.tracking.address import server_of, tracking_params, tracking_uri
    from components.tools.runs.searches import read_searches
    from components.tools.runs.table import open_runs
    from components.tools.runs.views import LOCAL_SERVER, MOST_IMAGES, address, view_tag

    tracking = tracking_params()
    experiments = {"models": tracking.experiment, "data": tracking.data_experiment}
    tracked = open_runs()
    pictured = tracked.search([tracking.experiment], where="tags.`mlflow.loggedImages` = 'True'", limit=1)
    image_keys = [key for run in pictured for key in tracked.image_keys(run.run_id)][:MOST_IMAGES]
    server = server_of(tracking_uri())
    for name, search in read_searches().items():
        tag = view_tag(name, search, image_keys)
        experiment_id = tracked.tag_experiment(experiments[search.experiment], *tag)
        print(f"{name}: {search.purpose}")
        print(f"  avis runs --search {name}")
        if experiment_id is not None:
            print(f"  {address(name, search, server=server or LOCAL_SERVER, experiment_id=experiment_id)}")
    if server is None:
        print("\nThe addresses are there while `make ui` runs.")


@runs.command("export")
def export_runs(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    experiment: Annotated[
        list[str] | None,
        typer.Option(help="Instead of trainings and data stages; may be given several times."),
    ] = None,
) -> None:
    """Write runs with their files, and the registry, to a folder for another machine."""
    from components.core.run.paths import Paths
    from components.core.tracking.address import tracking_params
    from components.core.tracking.history import export_history
    from components.tools.runs.table import open_runs

    open_runs()  # what earlier commands could not send belongs to it
    tracking = tracking_params()
    names = experiment or [tracking.experiment, tracking.data_experiment]
    found = export_history(tracking.uri, folder, names, Paths().tracking)
    print(
        f"{folder}: {found['runs']} runs with {found['files']} files, {found['versions']} versions of models"
    )
    if found["at work"]:
        print(f"{found['at work']} runs that have not ended were left out.", file=sys.stderr)


@runs.command("import")
def import_runs(
    folder: Annotated[Path, typer.Argument(help="What avis runs export wrote, there or here.")],
) -> None:
    """Bring exported runs, files and registry into this MLflow; repeated it brings what is missing."""
    from components.core.run.paths import Paths
    from components.core.tracking.address import NO_TRACKING, tracking_uri
    from components.core.tracking.history import import_history

    uri = tracking_uri()
    if uri == NO_TRACKING:
        raise AvisError(
            "nothing is tracked here", where="tracking.uri in params.yaml, or MLFLOW_TRACKING_URI"
        )
    found = import_history(uri, folder, Paths().tracking)
    print(
        f"{found['runs']} runs and {found['versions']} versions of models are new, {found['known']} were here"
    )
