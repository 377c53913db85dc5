"""A version's files, from its commit: into a folder, checked against what the registry says of them.

Of a version that is named, or of `models:/NAME@ALIAS` and `models:/NAME/VERSION` as MLflow writes them.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import yaml

from components.core.metrics.counts_file import CountsFile, read_counts
from components.core.run.errors import AvisError
from components.core.run.files import replace_file
from components.core.run.git import git
from components.core.run.paths import SEEDS, Paths, numbers_of_seeds
from components.core.tracking.registry import WEIGHTS_MD5, Version
from pipelines.dvc.graph import find_root
from pipelines.dvc.processes import Children, read_lines, time_limit
from pipelines.dvc.repository import open_repo
from pipelines.flows.gpu import count_gpus, gpu_slot, make_limit
from pipelines.flows.registry_access import open_registry, promotion_params

FILES = ("model.safetensors", "config.json", "clips.json", "run.json")
_LIST = "seeds.json"  # DVC's list of what that folder holds
_ADDRESS = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<number>\d+))")


def fetch_version(root: Path, version: Version, folder: Path, *, seeds: bool = False) -> None:
    """Put the model of a registered version into a folder.

    Args:
        root: a checkout of the repository that has its commit, or can fetch it from `origin`.
        version: which.
        folder: model.safetensors, config.json, clips.json and run.json come here.
        seeds: whether those of its trainings with further seeds come along, into seeds/2, ….

    Raises:
        AvisError: the commit or the data is gone, or the weights are not those that were registered.
    """
    variant = version.tags.get("avis.variant", "")
    where = f"version {version.number}, commit {version.commit[:12] or 'unknown'}"
    if not version.commit or not variant:
        raise AvisError(
            "this version was not registered by avis: its tags name no commit",
            where=where,
            fix="If it is the champion: avis champion promote N makes another version the champion.",
        )
    _have_commit(root, version, where)
    lock = yaml.safe_load(git(root, "show", f"{version.commit}:dvc.lock", where=where))
    md5s = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}
    place = Paths().model(variant).as_posix()
    wanted = {name: str(md5s.get(f"{place}/{name}", "")) for name in FILES}
    if not all(wanted.values()) or wanted[FILES[0]] != version.tags.get(WEIGHTS_MD5):
        raise AvisError("the weights of this commit are not those that were registered", where=where)
    shutil.rmtree(folder / SEEDS, ignore_errors=True)  # another version's
    folder.mkdir(parents=True, exist_ok=True)
    listed = md5s.get(f"{place}/{SEEDS}", "") if seeds else ""
    if listed:
        _copy(root, {_LIST: str(listed)}, folder, where)
        for entry in json.loads((folder / _LIST).read_text()):
            number, _, name = entry["relpath"].partition("/")
            if number.isdigit() and name in FILES:
                wanted[f"{SEEDS}/{number}/{name}"] = str(entry["md5"])
    _copy(root, wanted, folder, where)


def _copy(root: Path, wanted: dict[str, str], folder: Path, where: str) -> None:
    """Copy files by their MD5 from DVC's cache; what is not there is fetched from the remote."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    with open_repo(root) as repo:
        cache = repo.cache.local
        missing = {HashInfo("md5", md5) for md5 in wanted.values() if not cache.exists(md5)}
        try:
            if missing:
                repo.cloud.pull(missing)
        except DvcException as error:
            raise AvisError(f"its files cannot be fetched: {error}", where=where) from error
        lost = [name for name, md5 in wanted.items() if not cache.exists(md5)]
        if lost:
            raise AvisError(f"{', '.join(lost)}: neither in DVC's cache nor at its remote", where=where)
        for name, md5 in wanted.items():
            with replace_file(folder / name) as new:
                shutil.copyfile(cache.oid_to_path(md5), new)


def _have_commit(root: Path, version: Version, where: str) -> None:
    try:
        git(root, "cat-file", "-e", f"{version.commit}^{{commit}}")
    except AvisError:
        git(root, "fetch", "--quiet", "--force", "--tags", "origin", where=where)
        git(root, "cat-file", "-e", f"{version.commit}^{{commit}}", where=where, fix="Its commit is gone.")


def measure_version(
    root: Path,
    version: Version,
    scratch: Path,
    log: Callable[[str], None],
    *,
    timeouts_s: Mapping[str, float],
    seeds: bool = False,
) -> list[CountsFile]:
    """Score a registered version on the test clips of a checkout: its model, then those of further seeds.

    Args:
        root: the checkout: its test annotations, media, parameters and code.
        version: which.
        scratch: a folder for its files and results.
        log: gets each line of what the scoring says.
        timeouts_s: of stages; that of `predict`, or `default`, holds here.
        seeds: whether to score its trainings with further seeds, too.

    Raises:
        AvisError: its files cannot be had, or it cannot be scored: it says why.
    """
    log(f"Scores version {version.number}")
    fetch_version(root, version, scratch / "model", seeds=seeds)
    command = [sys.executable, "-m", "components.tools.promotion.measure"]
    reason = ""
    children = Children()
    with ExitStack() as held:
        if count_gpus():
            make_limit()
            held.enter_context(gpu_slot(stopped=lambda: children.stopped, say=log))
        child = held.enter_context(
            children.start([*command, *map(os.fspath, (scratch / "model", scratch / "out"))], root)
        )
        limit_s = timeouts_s.get("predict", timeouts_s.get("default"))
        expired = held.enter_context(time_limit(child, limit_s))
        assert child.stdout is not None  # noqa: S101 (it was opened as a pipe)
        for line in read_lines(child.stdout):
            log(line)
            reason = line
        code = child.wait()
    if expired.is_set():
        raise AvisError(f"scoring version {version.number} took longer than its limit of {limit_s:g} s")
    if code:
        raise AvisError(
            f"version {version.number} cannot be scored: {reason.removeprefix('champion: ')}",
            fix="If the code no longer reads its configuration: avis champion promote N makes another version"
            " the champion by hand.",
        )
    further = [
        scratch / "out" / SEEDS / str(number) for number in numbers_of_seeds(scratch / "model" / SEEDS)
    ]
    return [
        read_counts(folder / "counts.safetensors", stage="evaluate") for folder in (scratch / "out", *further)
    ]


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
