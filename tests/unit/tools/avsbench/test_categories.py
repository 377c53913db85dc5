"""A model's categories as classes of AVSS."""

import pytest

from components.core.run.errors import AvisError
from components.tools.avsbench.categories import classes_of_categories
from tests.support.avs_folders import CLASS_NAMES

CATEGORIES = {7: "Bell", 3: "emergency car", 9: "person"}


def test_equal_names_are_found() -> None:
    found, without = classes_of_categories(CATEGORIES, CLASS_NAMES, {})
    assert found == {7: 2, 3: 3}
    assert without == ["person"]


def test_the_mapping_wins() -> None:
    mapping = {"person": "horn", "Bell": None}
    found, without = classes_of_categories(CATEGORIES, CLASS_NAMES, mapping)
    assert found == {3: 3, 9: 4}
    assert without == ["Bell"]


def test_a_category_called_background_is_no_class() -> None:
    found, without = classes_of_categories({1: "background", 2: "bell"}, CLASS_NAMES, {})
    assert found == {2: 2} and without == ["background"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"persons": "horn"}, r"no category 'persons' \(the category map\)\. Did you mean 'person'"),
        ({"person": "hron"}, r"no class 'hron' \(the category map, person\)\. Did you mean 'horn'"),
        ({"person": "background"}, "no class 'background'"),
        ({"Bell": None, "emergency car": None}, "no category of the model is a class"),
    ],
)
def test_mappings_that_cannot_be(mapping: dict[str, str | None], message: str) -> None:
    with pytest.raises(AvisError, match=message):
        classes_of_categories(CATEGORIES, CLASS_NAMES, mapping)
