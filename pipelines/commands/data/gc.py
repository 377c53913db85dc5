"""`avis gc`: what lies on the disk and is needed no longer."""

import time
from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError

_REST_S = 24 * 3600.0  # what was written to since may belong to a process that is at work


def gc(
    free: Annotated[bool, typer.Option("--free", help="Remove it, instead of showing it.")] = False,
) -> None:
    """Show, or free, disk space that nothing needs: no checkout, no commit, no registered version.

    Nothing is freed while a run works in this checkout, or in a clone of it.
    """
    from components.core.run.files import leftovers, remove
    from components.core.run.paths import Paths
    from pipelines.dvc.garbage import commits_to_read
    from pipelines.dvc.graph import find_root
    from pipelines.dvc.workspace_lock import hold_workspace
    from pipelines.flows.clones import kept, remove_kept
    from pipelines.studies.workspace import alone_with_cells, left

    root = find_root(Path.cwd())
    with hold_workspace(root, purpose="avis gc", wait=False), alone_with_cells(root, "avis gc"):
        clones = kept(root)
        _show(clones, "clones of unattended runs that failed")
        old_s = time.time() - _REST_S
        unfinished = [path for path in leftovers(Paths(root / "data").root) if path.lstat().st_mtime < old_s]
        _show(unfinished, "unfinished files of processes that were killed")
        workspaces = left(root)
        _show(workspaces, "workspaces of studies that did not end well")
        if free:
            busy = remove_kept(root)
            if busy:
                raise AvisError(
                    "an unattended run is at work", where=", ".join(busy), fix="Wait for its end."
                )
            for path in [*unfinished, *workspaces]:
                remove(path)
        count = len(commits_to_read(root))
        print(f"Reading what the data's {count} states in git need, about a second each", flush=True)
        unused = _unused(root)
        _show(unused, "objects of DVC's cache that no checkout, commit or registered version needs")
        if free:
            for file in unused:
                file.unlink(missing_ok=True)
    print("This was removed." if free else "Nothing was removed: `avis gc --free` does.")


def _unused(root: Path) -> list[Path]:
    from components.core.tracking.address import NO_TRACKING, tracking_uri
    from components.core.tracking.registry import WEIGHTS_MD5
    from pipelines.dvc.garbage import unused_objects
    from pipelines.flows.registry_access import open_registry, promotion_params

    is_tracked = tracking_uri(root) != NO_TRACKING
    versions = open_registry(root, promotion_params(root)).versions() if is_tracked else []
    commits = {version.commit for version in versions if version.commit}
    return unused_objects(root, commits, {version.tags.get(WEIGHTS_MD5, "") for version in versions})


def _show(paths: list[Path], what: str) -> None:
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    size_bytes = sum(file.lstat().st_size for file in files if not file.is_dir())
    print(f"{size_bytes / 1e6:10.1f} MB  {len(paths)} {what}")
