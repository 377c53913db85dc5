"""`avis champion …`: the registered versions, and which of them is the champion."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.core.run.errors import AvisError
from components.core.tracking.registry import CHAMPION, DECISION, PREVIOUS, REASON, Registry, Version
from pipelines.dvc.graph import find_root
from pipelines.flows.champion_model import fetch_version
from pipelines.flows.notifications import notify
from pipelines.flows.registry_access import open_registry, promotion_params

_SCORES = ("mAP", "HOTA", "FSLA")


def _registry() -> Registry:
    root = find_root(Path.cwd())
    return open_registry(root, promotion_params(root))


def show_versions() -> None:
    """Print all versions with their scores, what was decided about them, and their commits."""
    registry = _registry()
    versions = registry.versions()
    if not versions:
        print(f"{registry.model} has no version yet: avis retrain makes and registers one.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("no.", "", "registered", *_SCORES, "commit", "decision"):
        table.add_column(name, justify="right" if name in ("no.", *_SCORES) else "left", no_wrap=True)
    for version in versions:
        table.add_row(
            str(version.number),
            ", ".join(version.aliases),
            time.strftime("%Y-%m-%d", time.localtime(version.created_s)),
            *(version.tags.get(f"avis.score.{name}", "-") for name in _SCORES),
            version.commit[:8],
            version.tags.get(DECISION, "-"),
        )
    Console(markup=False).print(table)
    print("\nWhy:")
    for version in versions:
        if version.tags.get(REASON):
            print(f"  {version.number}: {version.tags[DECISION]}, {version.tags[REASON]}")


def rollback(to: int | None, reason: str) -> None:
    """Make the previous champion, or a given version, the champion again.

    Raises:
        AvisError: there is none, or it is the champion already.
    """
    registry = _registry()
    target = registry.version(to) if to is not None else registry.with_alias(PREVIOUS)
    if target is None:
        raise AvisError(
            f"{registry.model} has no previous champion", fix="Name a version: avis champion shows them."
        )
    _make_champion(registry, target, reason or "rolled back", decision="rollback")


def promote(number: int, reason: str) -> None:
    """Make a version the champion by hand, whatever was measured.

    Raises:
        AvisError: there is no such version, or it is the champion already.
    """
    registry = _registry()
    _make_champion(registry, registry.version(number), reason or "by hand", decision="by hand")


def _make_champion(registry: Registry, target: Version, reason: str, *, decision: str) -> None:
    if CHAMPION in target.aliases:
        raise AvisError(f"version {target.number} is the champion already")
    if not target.commit:
        raise AvisError(
            f"version {target.number} was not registered by avis: its tags name no commit",
            fix="No challenger could be compared with it.",
        )
    former = registry.promote(target, reason, decision=decision)
    instead = f", in place of version {former.number}" if former else ""
    message = f"Version {target.number} of {registry.model} is the champion{instead}: {reason}"
    print(message)
    for problem in notify("promotion", f"{registry.model} {target.number} is the champion", message):
        print(problem)


def fetch(folder: Path, number: int | None) -> None:
    """Put a version's model, by default the champion's, into a folder.

    Raises:
        AvisError: there is no such version, its files cannot be had, or the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise AvisError("the folder is not empty", where=str(folder), fix="Name a new one.")
    registry = _registry()
    version = registry.version(number) if number is not None else registry.with_alias(CHAMPION)
    if version is None:
        raise AvisError(f"{registry.model} has no champion yet")
    fetch_version(find_root(Path.cwd()), version, folder)
    print(f"{folder}: version {version.number}, commit {version.commit}")
    print(f"To use it: avis predict VIDEO --model {folder}")
