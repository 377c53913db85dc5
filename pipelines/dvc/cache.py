"""Remove a video's files from DVC's cache and remotes, in every version that they hold."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.run.files import safe_name


@dataclass
class Removed:
    """How many objects were removed, and which remotes could not be reached."""

    cached: int = 0
    remote: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.cached} objects of DVC's cache"]
        parts += [f"{count} of its remote {name!r}" for name, count in self.remote.items()]
        parts += [f"none of its remote {name!r} ({reason})" for name, reason in self.failed.items()]
        return ", ".join(parts)


def remove_objects(video_ids: Iterable[str]) -> Removed:
    """Remove the objects that only files of these videos have.

    The listings of folders (`.dir` objects) of all versions tell which file has which hash. A hash that a
    file of another video has, too, stays. An older version that had the videos can then be checked out only
    without them: that is what was asked for.
    """
    removed = Removed()
    try:
        from dvc.repo import Repo

        repo = Repo()
    except Exception:  # no repository of DVC: nothing is cached
        return removed
    with repo:
        cache = Path(repo.cache.local.path)
        hashes = _hashes_of(cache, {safe_name(name) for name in video_ids})
        for md5 in hashes:
            path = cache / md5[:2] / md5[2:]
            if path.is_file():
                path.unlink()
                removed.cached += 1
        for name in repo.config.get("remote", {}):
            try:
                removed.remote[name] = _remove_remote(repo.cloud.get_remote_odb(name), hashes)
            except Exception as error:  # of any kind of storage
                removed.failed[name] = " ".join(str(error).split())[:200]
    return removed


def _hashes_of(cache: Path, video_ids: set[str]) -> set[str]:
    """MD5s of files of these videos that no other file has."""
    either = "|".join(re.escape(name) for name in sorted(video_ids, key=len, reverse=True))
    ours = re.compile(rf"(?:^|/)(?:{either})(?:\.[A-Za-z0-9]+)?(?:/|$)")
    found: set[str] = set()
    shared: set[str] = set()
    for listing in cache.glob("??/*.dir"):
        try:
            entries = json.loads(listing.read_bytes())
            for entry in entries:
                (found if ours.search(entry["relpath"]) else shared).add(str(entry["md5"]))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return {md5 for md5 in found - shared if re.fullmatch(r"[0-9a-f]{32}", md5)}


def _remove_remote(odb: Any, hashes: set[str]) -> int:
    paths = [odb.oid_to_path(md5) for md5 in sorted(hashes)]
    there = [path for path in paths if odb.fs.exists(path)]
    for path in there:
        odb.fs.remove(path)
    return len(there)
