"""What a stage is made of, as dvc.lock writes it, and which of its entries can still be had."""

import hashlib
import json
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.git import git
from pipelines.dvc.graph import address, locked_stages
from pipelines.dvc.repository import open_repo


@dataclass(frozen=True)
class Ingredients:
    """All that decides what a stage makes.

    digest: a hash over it. data: MD5 by path of what it reads below data/.
    """

    digest: str
    data: dict[str, str]


def ingredients(root: Path, name: str) -> Ingredients:
    """Hash a stage's command, parameters, code and data as they lie in the checkout now.

    Raises:
        AvisError: there is no such stage, or one of the files that it reads is missing.
    """
    from dvc.exceptions import DvcException
    from dvc.stage.serialize import to_single_stage_lockfile

    try:
        with open_repo(root) as repo, repo.lock:
            # not by `collect`, which looks in the current folder
            (stage,) = (stage for stage in repo.index.stages if address(stage, root) == name)
            stage.save_deps()
            entry: dict[str, Any] = to_single_stage_lockfile(stage)
    except (DvcException, ValueError) as error:
        raise AvisError(f"DVC cannot tell what {name} is made of: {error}", where=str(root)) from error
    kept = {"cmd": str(entry["cmd"]), "params": entry.get("params", {})}
    read = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    text = json.dumps({**kept, "deps": read}, sort_keys=True, default=str)
    data = {path: md5 for path, md5 in read.items() if path.startswith("data/")}
    return Ingredients(hashlib.sha256(text.encode()).hexdigest(), data)


def output_md5(root: Path, path: str) -> str:
    """The MD5 of an output of the pipeline in dvc.lock.

    Raises:
        AvisError: no stage of dvc.lock makes it.
    """
    try:
        stages = yaml.safe_load((root / "dvc.lock").read_bytes())["stages"]
    except FileNotFoundError:
        stages = {}
    for stage in stages.values():
        for out in stage.get("outs", []):
            if out["path"] == path:
                return str(out["md5"])
    raise AvisError(f"no stage made {path}", where=str(root / "dvc.lock"))


def begin_with(root: Path, commit: str) -> None:
    """Let a checkout begin with what an earlier run made: its dvc.lock, and the small files beside it.

    DVC compares every hash, so entries that do not fit cost nothing; those that fit save their stages, and
    downloads and frames (which DVC's run cache does not keep) are completed instead of made anew.

    Args:
        root: the checkout.
        commit: of the earlier run; a commit that the checkout descends from has nothing to add.
    """
    if not git(root, "rev-list", "--max-count=1", f"HEAD..{commit}"):
        return
    earlier = yaml.safe_load(git(root, "show", f"{commit}:dvc.lock"))["stages"]
    try:
        own = yaml.safe_load((root / "dvc.lock").read_bytes()) or {}
    except FileNotFoundError:
        own = {}
    newer_last = [own.get("stages", {}), earlier]
    if _time_of(root, "HEAD", "dvc.lock") > _time_of(root, commit, "dvc.lock"):  # somebody built it by hand
        newer_last.reverse()
    lock = {"schema": "2.0", "stages": {**newer_last[0], **newer_last[1]}}
    write_text(root / "dvc.lock", yaml.safe_dump(lock, sort_keys=False))
    made = {out["path"] for stage in earlier.values() for out in stage.get("outs", [])}
    small = [
        name
        for name in git(root, "ls-tree", "-r", "--name-only", commit, "data").splitlines()
        if name in made
    ]
    if small:
        git(root, "checkout", "--quiet", commit, "--", *small)


def take_what_is_there(root: Path) -> None:
    """Where a folder's files are not all to be had, put those there that are, and let its stage do the rest.

    DVC checks a folder out whole or not at all; downloads of days would be made anew for one missing video.
    """
    from dvc.exceptions import DvcException

    with open_repo(root) as repo, repo.lock:
        for stage in repo.index.stages:
            name, whole = address(stage, root), True
            for out in stage.outs:
                try:
                    out.checkout(force=True, allow_missing=True)
                except (DvcException, OSError):
                    whole = False
                    _link_members(repo.cache.local, out)
            if not whole:
                _drop(root, [name])


def _link_members(cache: Any, out: Any) -> None:
    """Link the members of a folder that the cache has into its place, or copy them."""
    try:
        tree = out.get_obj()
    except (OSError, ValueError):
        tree = None
    for key, _, found in tree or ():
        place = Path(out.fspath, *key)
        if ".." in key or place.exists() or not cache.exists(found.value):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cache.oid_to_path(found.value), place)


def _drop(root: Path, names: Collection[str]) -> None:
    """Take stages out of dvc.lock."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(os.fspath(root / "dvc.lock")) as lock:
        for name in names:
            lock["stages"].pop(name, None)


def _time_of(root: Path, commit: str, path: str) -> int:
    """When a file was last changed up to a commit, in seconds; 0 where there is none."""
    return int(git(root, "log", "-1", "--format=%ct", commit, "--", path) or 0)


def drop_lost(root: Path, kept: Collection[str]) -> list[str]:
    """Take entries out of dvc.lock whose files are neither in DVC's cache nor were found at its remote.

    A commit that has them could not be pulled. Their stages run again where they are asked for.

    Args:
        root: the checkout, in which `dvc pull` has fetched what could be had.
        kept: stages that just ran; they are not looked at.

    Returns:
        the stages' names.
    """
    lost = []
    with open_repo(root) as repo, repo.lock:
        stages = {address(stage, root): stage for stage in repo.index.stages}
        for name in locked_stages(root):
            if name in kept:
                continue
            outs = stages[name].outs if name in stages else []
            if name not in stages or any(out.use_cache and out.changed_cache() for out in outs):
                lost.append(name)
        if lost:
            _drop(root, lost)
    return lost
