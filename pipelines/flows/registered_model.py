"""`models:/NAME@ALIAS` and `models:/NAME/VERSION` of MLflow, as a folder of files."""

import os
import re
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.tracking.registry import WEIGHTS_MD5
from pipelines.dvc.graph import find_root
from pipelines.flows.champion_model import fetch_version
from pipelines.flows.registry_access import open_registry, promotion_params

_ADDRESS = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<number>\d+))")


def registered_model(address: str) -> Path:
    """The folder of a registered version's files, fetched from DVC once and kept in the user's cache.

    Raises:
        AvisError: it is no such address, there is no such version, or its files cannot be had.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise AvisError(
            f"{address!r} is no address of a model", fix="Write models:/NAME@ALIAS or models:/NAME/3."
        )
    root = find_root(Path.cwd())
    params = promotion_params(root).model_copy(update={"model": match["name"]})
    registry = open_registry(root, params)
    if match["number"]:
        version = registry.version(int(match["number"]))
    else:
        found = registry.with_alias(match["alias"])
        if found is None:
            known = sorted({alias for one in registry.versions() for alias in one.aliases})
            raise AvisError(
                f"{match['name']} has no version {match['alias']!r}",
                where=address,
                fix=f"There are: {', '.join(known) or 'none'}.",
            )
        version = found
    weights = version.tags.get(WEIGHTS_MD5, "unknown")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avis" / "models"
    folder = cache / f"{weights[:16]}-{version.number}"
    if not (folder / "config.json").is_file():
        fetch_version(root, version, folder)
    return folder
