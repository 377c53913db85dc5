"""Which split a clip belongs to, so that no source video is in two."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.annotate.params import Shares, SplitParams
from components.core.raw.clip_names import source_of
from components.core.raw.manifest import ManifestEntry
from components.core.records.annotations import SPLITS
from components.core.run.errors import AvisError

_IN_FILE_NAME = re.compile(r"(?:^|[_.-])(train|val|valid|validation|test)(?=[_.-]|$)")


def split_of_file(path: Path) -> str:
    """The split that an annotation file's name tells; raises AvisError when it tells none, or two."""
    found: set[str] = {
        match[:3] if match.startswith("val") else match for match in _IN_FILE_NAME.findall(path.stem)
    }
    if len(found) != 1:
        raise AvisError(
            "The file's name does not tell its split",
            where=str(path),
            fix="Name it after one of train, val, test, or set annotate.splits.by to manifest or hash.",
        )
    return found.pop()


def split_of_manifest(name: str, entries: Mapping[str, ManifestEntry], manifest: str) -> str:
    """The manifest's split of the clip `name`; raises AvisError when it gives none."""
    entry = entries.get(name)
    if entry is None or entry.split is None:
        what = "is not in the manifest" if entry is None else "has no split in the manifest"
        raise AvisError(
            f"The annotated video {name!r} {what}",
            where=f"{manifest}, field split",
            fix="Fill in the split column, or set annotate.splits.by to hash or file.",
        )
    return entry.split


def split_by_hash(source: str, shares: Shares, seed: int) -> str:
    """The split drawn for a source video: the same for ever, whatever other videos there are."""
    digest = hashlib.sha256(f"{seed}:{source}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64 * (shares.train + shares.val + shares.test)
    if position < shares.test:
        return "test"
    return "val" if position < shares.test + shares.val else "train"


def settle_shared_sources(
    splits: Mapping[str, str], manifest: Mapping[str, ManifestEntry], params: SplitParams
) -> dict[str, str]:
    """The clips to drop, name to reason, so that each source video is in one split only.

    Args:
        splits: split by clip name.

    Raises:
        AvisError: splits share a source and `params.shared_sources` is "refuse".
    """
    by_source: dict[str, list[str]] = defaultdict(list)
    for name in splits:
        entry = manifest.get(name)
        by_source[source_of(name, entry.source if entry else None)].append(name)
    shared = {
        source: names for source, names in by_source.items() if len({splits[name] for name in names}) > 1
    }
    if not shared or params.shared_sources == "keep":
        return {}
    if params.shared_sources == "refuse":
        source, names = next(iter(shared.items()))
        clips = ", ".join(f"{name} ({splits[name]})" for name in names)
        raise AvisError(
            f"{_count(len(shared), 'source video')} would be in several splits, first {source!r}: {clips}",
            where="annotate.splits",
            fix="Correct the splits, or set annotate.splits.shared_sources to drop or keep.",
        )
    dropped = {}
    for source, names in shared.items():
        kept = max((splits[name] for name in names), key=SPLITS.index)  # test, failing that val
        dropped.update(
            {name: f"its source {source} is also in {kept}" for name in names if splits[name] != kept}
        )
    return dropped


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def count_splits(splits: Iterable[str]) -> dict[str, int]:
    """Clips in each split, in the order train, val, test."""
    chosen = list(splits)
    return {split: chosen.count(split) for split in SPLITS}
