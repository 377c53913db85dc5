"""`avis champion …`: the registered versions, and which of them is the champion."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.flow import Repository, Revision, run_flow

if TYPE_CHECKING:
    from components.core.tracking.registry import Registry, Version

_SCORES = ("mAP", "HOTA", "FSLA")

champion = typer.Typer(help="The registered versions of the model, and which of them is the champion.")


@champion.callback(invoke_without_command=True)
def show_versions(context: typer.Context) -> None:
    """Show all registered versions: scores, what was decided about each, and its commit."""
    if context.invoked_subcommand is None:
        status()


@champion.command()
def status() -> None:
    """Show all versions, what was decided about each, and what has to be done where nothing was."""
    from components.core.text.terminal import print_table
    from components.core.tracking.registry import CHAMPION, REASON
    from pipelines.flows.approval import state

    registry = _registry()
    versions = registry.versions()
    if not versions:
        print(f"{registry.model} has no version yet: avis retrain makes and registers one.")
        return
    rows = [
        (
            str(version.number),
            ", ".join(version.aliases),
            time.strftime("%Y-%m-%d", time.localtime(version.created_s)),
            *(version.tags.get(f"avis.score.{name}", "-") for name in _SCORES),
            version.commit[:8],
            version.decision or "-",
        )
        for version in versions
    ]
    columns = ("no.", "", "registered", *_SCORES, "commit", "decision")
    print_table(columns, rows, numbers=("no.", *_SCORES))
    champion = next((version for version in versions if CHAMPION in version.aliases), None)
    print("\nWhy:")
    for version in versions:
        why = version.tags.get(REASON)
        print(f"  {version.number}: {state(version, champion)}{f', {why}' if why else ''}")


@champion.command("evaluate")
def evaluate_champion(revision: Revision = "main", repository: Repository = None) -> None:
    """Score the champion on the test clips of a revision: does it do worse on fresh ones?"""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.champion import evaluate_champion as flow

    run_flow(lambda: flow(revision, repository, root=root, return_state=True))


@champion.command()
def rollback(
    to: Annotated[int | None, typer.Argument(metavar="VERSION", help="Else the previous champion.")] = None,
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make the previous champion, or a given version, the champion again."""
    from components.core.tracking.registry import PREVIOUS

    registry = _registry()

    def previous() -> "Version":
        registry.finish()  # a promotion that was cut off: it decides who the previous one is
        target = registry.version(to) if to is not None else registry.with_alias(PREVIOUS)
        if target is None:
            raise AvisError(
                f"{registry.model} has no previous champion", fix="Name a version: avis champion shows them."
            )
        return target

    _make_champion(registry, previous, reason or "rolled back", decision="rollback")


@champion.command()
def promote(
    version: Annotated[int, typer.Argument(help="As `avis champion` shows it.")],
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make a version the champion by hand, whatever was measured."""
    registry = _registry()
    _make_champion(registry, lambda: registry.version(version), reason or "by hand", decision="by hand")


_Number = Annotated[int, typer.Argument(metavar="VERSION", help="As `avis champion status` shows it.")]
_By = Annotated[str, typer.Option(help="Who says so; kept with the version.")]
_Reason = Annotated[str, typer.Option(help="Kept with the version.")]


@champion.command()
def approve(version: _Number, by: _By = "", reason: _Reason = "") -> None:
    """Make a version that waits for a person's word the champion."""
    from pipelines.flows.approval import settle

    print(settle(_registry(), version, approve=True, by=by, why=reason))


@champion.command()
def refuse(version: _Number, by: _By = "", reason: _Reason = "") -> None:
    """Refuse a version that waits for a person's word, or was not decided on."""
    from pipelines.flows.approval import settle

    print(settle(_registry(), version, approve=False, by=by, why=reason))


@champion.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="A new folder for the model.")],
    version: Annotated[int | None, typer.Option(help="Else the champion.")] = None,
) -> None:
    """Get a version's model from DVC, for `avis predict --model`."""
    from components.core.tracking.registry import CHAMPION
    from pipelines.dvc.graph import find_root
    from pipelines.flows.champion_model import fetch_version

    if folder.exists() and any(folder.iterdir()):
        raise AvisError("the folder is not empty", where=str(folder), fix="Name a new one.")
    registry = _registry()
    wanted = registry.version(version) if version is not None else registry.with_alias(CHAMPION)
    if wanted is None:
        raise AvisError(f"{registry.model} has no champion yet")
    fetch_version(find_root(Path.cwd()), wanted, folder)
    print(f"{folder}: version {wanted.number}, commit {wanted.commit}")
    print(f"To use it: avis predict VIDEO --model {folder}")


def _registry() -> "Registry":
    from pipelines.dvc.graph import find_root
    from pipelines.flows.registry_access import open_registry, promotion_params

    root = find_root(Path.cwd())
    return open_registry(root, promotion_params(root))


def _make_champion(
    registry: "Registry", find: Callable[[], "Version"], reason: str, *, decision: str
) -> None:
    from components.core.tracking.registry import CHAMPION
    from pipelines.flows.notifications import notify

    with registry.alone():
        target = find()
        if CHAMPION in target.aliases and target.decision:
            raise AvisError(f"version {target.number} is the champion already")
        if not target.commit:
            raise AvisError(
                f"version {target.number} was not registered by avis: its tags name no commit",
                fix="No challenger could be compared with it.",
            )
        former = registry.promote(target, reason, decision=decision)
    instead = f", in place of version {former.number}" if former and former.number != target.number else ""
    message = f"Version {target.number} of {registry.model} is the champion{instead}: {reason}"
    print(message)
    for problem in notify("promotion", f"{registry.model} {target.number} is the champion", message):
        print(problem)
