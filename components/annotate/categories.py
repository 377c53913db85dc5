"""Categories by name: sources may number the same categories differently."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.core.records.annotations import AnnotationSet
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError

CategoryMap = dict[str, str | None]


def read_category_map(path: Path, setting: str = "annotate.category_map") -> CategoryMap:
    """Read `name in the source: name here` (null drops the category's tracks); raises AvisError.

    setting: what names the file, for the message when it cannot be read.
    """
    import yaml

    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AvisError(
            "The category map cannot be read", where=str(path), fix=f"Correct {setting}."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AvisError(f"The category map is not valid YAML: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise AvisError(
            "The category map is not a mapping", where=str(path), fix="Write lines `name there: name here`."
        )
    for key, value in content.items():
        if not isinstance(key, str) or not (value is None or (isinstance(value, str) and value)):
            raise AvisError(
                f"{key!r}: {value!r} does not map a name to a name",
                where=str(path),
                fix="Quote names that YAML reads as something else; null drops a category.",
            )
    return content


def map_categories(annotations: AnnotationSet, mapping: CategoryMap) -> AnnotationSet:
    """The annotations with categories renamed: to one name they become one, to null they go."""
    ids: dict[str, int] = {}
    new_id: dict[int, int] = {}
    for number, name in annotations.categories.items():
        renamed = mapping.get(name, name)
        if renamed is not None:
            new_id[number] = ids.setdefault(renamed, number)
    for track in annotations.tracks:
        track.category_id = new_id.get(track.category_id, -1)
    return AnnotationSet(
        categories={number: name for name, number in ids.items()},
        videos=annotations.videos,
        tracks=[track for track in annotations.tracks if track.category_id != -1],
        info=annotations.info,
    )


def map_all(
    sets: list[AnnotationSet], path: Path, setting: str = "annotate.category_map"
) -> list[AnnotationSet]:
    """The sets, categories renamed as the file says; raises AvisError where it names one that none has."""
    mapping = read_category_map(path, setting)
    unknown = set(mapping)
    for annotations in sets:
        unknown -= set(annotations.categories.values())
    if unknown:
        known = sorted({name for annotations in sets for name in annotations.categories.values()})
        raise AvisError(
            f"The category map names categories that no source has: {', '.join(sorted(unknown))}",
            where=str(path),
            fix=f"They have: {', '.join(known)}.",
        )
    return [map_categories(annotations, mapping) for annotations in sets]


def note_like_names(sets: Sequence[AnnotationSet], changes: Changes) -> None:
    """Say which categories are perhaps one: two people wrote "snare drum" and "Snare_Drum"."""
    first: dict[str, str] = {}
    for name in dict.fromkeys(name for annotations in sets for name in annotations.categories.values()):
        like = first.setdefault(_plain(name), name)
        if like != name:
            why = (
                "its name differs from another one's in case, spaces, underscores or the coding of accents "
                "alone, and is taken for another"
            )
            look_alike = unicodedata.normalize("NFC", like) == unicodedata.normalize("NFC", name)
            example = f"{like!a} and {name!a}" if look_alike else f"{like!r} and {name!r}"
            changes.add(Kind.GUESSED, "category", why, example=example)


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("_", " ").split())


def unite_categories(sets: list[AnnotationSet]) -> dict[int, str]:
    """One numbering for all sets: the first set's, then the names that only later ones have.

    The sets' tracks are renumbered in place.
    """
    ids: dict[str, int] = {}
    for annotations in sets:
        new_id = {}
        for number, name in annotations.categories.items():
            if name not in ids:
                taken = ids.values()
                ids[name] = number if number not in taken else max(taken) + 1
            new_id[number] = ids[name]
        for track in annotations.tracks:
            track.category_id = new_id[track.category_id]
        annotations.categories = {new_id[number]: name for number, name in annotations.categories.items()}
    return {number: name for name, number in sorted(ids.items(), key=lambda item: item[1])}
