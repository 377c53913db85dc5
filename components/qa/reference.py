"""The counts that a set should have: the file that `qa.reference` names.

train: {clips: 616, categories: {dog: 120}}
test: {clips: 205, frames: 12544, frames_silent: 931}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.core.records.annotations import SPLITS
from components.core.run.errors import AvisError

COUNTS = (
    "clips", "frames", "tracks", "masks", "frames_silent", "frames_one_source", "frames_more_sources"
)  # fmt: skip


def read_reference(path: Path) -> dict[str, dict[str, Any]]:
    """Read expected counts by split; each split holds any of COUNTS, and `categories`: tracks by name.

    Raises:
        AvisError: the file is missing or is no such file; it names the split and the field.
    """
    try:
        content = yaml.safe_load(path.read_text())  # JSON is YAML
    except FileNotFoundError:
        raise AvisError(
            "The reference does not exist", where=str(path), fix="Correct qa.reference, or set it to null."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AvisError(f"The reference is not valid YAML: {error}", where=str(path)) from None
    if not isinstance(content, dict):
        raise AvisError("The reference is no mapping of splits to counts", where=str(path))
    for split, counts in content.items():
        if split not in SPLITS or not isinstance(counts, dict):
            raise AvisError(
                f"{split!r} is no split with counts", where=str(path), fix=f"Splits: {', '.join(SPLITS)}."
            )
        for name, value in counts.items():
            _check_count(name, value, f"{path}, {split}")
    return content


def _check_count(name: str, value: Any, where: str) -> None:
    if name == "categories":
        if isinstance(value, Mapping) and all(_is_count(count) for count in value.values()):
            return
        raise AvisError("categories must be numbers of tracks by name", where=where)
    if name not in COUNTS:
        raise AvisError(
            f"{name!r} is no count", where=where, fix=f"Allowed: {', '.join(COUNTS)}, categories."
        )
    if not _is_count(value):
        raise AvisError(f"{value!r} is no count", where=f"{where}, field {name}")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
