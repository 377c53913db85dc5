"""Which class of AVSS a category of a model is."""

import difflib
import re
from collections.abc import Mapping

from components.annotate.categories import CategoryMap
from components.core.run.errors import AvisError


def classes_of_categories(
    categories: Mapping[int, str], class_names: list[str], mapping: CategoryMap
) -> tuple[dict[int, int], list[str]]:
    """Find the class of each category: the one that the mapping names, else the one of the same name.

    Names are the same if they differ only in case and in what separates words.

    Args:
        categories: of the model, names by id.
        class_names: by class id, the background first.
        mapping: category to class; null: it has none.

    Returns:
        Class ids by category id, and the names of the categories without a class.

    Raises:
        AvisError: the mapping names a category or class that there is not, or no category has a class.
    """
    by_name = {_plain(name): number for number, name in enumerate(class_names) if number}
    for category, name in mapping.items():
        if category not in categories.values():
            raise AvisError(
                f"the model has no category {category!r}",
                where="the category map",
                fix=_near(category, categories),
            )
        if name is not None and _plain(name) not in by_name:
            raise AvisError(
                f"AVSBench has no class {name!r}",
                where=f"the category map, {category}",
                fix=_near(name, dict(enumerate(class_names[1:]))),
            )
    found: dict[int, int] = {}
    without: list[str] = []
    for number, category in categories.items():
        name = mapping.get(category, category)
        label = None if name is None else by_name.get(_plain(name))
        if label is None:
            without.append(category)
        else:
            found[number] = label
    if not found:
        raise AvisError(
            "no category of the model is a class of AVSBench",
            where=f"categories: {', '.join(without[:20])}",
            fix="Name their classes with --categories.",
        )
    return found, sorted(without)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _near(word: str, names: Mapping[int, str]) -> str:
    near = difflib.get_close_matches(word, names.values(), n=1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return f"{meant}There are: {', '.join(sorted(names.values()))}."
