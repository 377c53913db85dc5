"""Masks of all kinds of PNG, and the classes in them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.core.run.errors import AvisError
from components.tools.avsbench.palette import UNKNOWN, classes_of_colours, palette, read_class_names
from components.tools.avsbench.pictures import (
    read_class_ids,
    read_colours,
    read_frame,
    read_object_mask,
    read_probability,
)
from tests.support.avs_folders import CLASS_NAMES, square, write_picture


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_black_and_white_in_any_kind_of_png(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(square(1).astype(np.uint8) * 255).convert(mode).save(path)
    assert (read_object_mask(path) == square(1)).all()


def test_white_may_be_any_index_of_a_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(square(1).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "mask.png")
    assert (read_object_mask(tmp_path / "mask.png") == square(1)).all()


def test_a_mask_of_ones_is_not_taken_for_black(tmp_path: Path) -> None:
    write_picture(tmp_path / "mask.png", square(1).astype(np.uint8))
    with pytest.raises(AvisError, match=r"grey value 1, white is 255 \(.*mask\.png\)"):
        read_object_mask(tmp_path / "mask.png")


def test_grey_values_are_probabilities(tmp_path: Path) -> None:
    write_picture(tmp_path / "p.png", np.array([[0, 51, 127, 128, 255]], np.uint8))
    found = read_probability(tmp_path / "p.png")
    assert found == pytest.approx(np.array([[0, 0.2, 127 / 255, 128 / 255, 1]]))
    assert (found > 0.5).tolist() == [[False, False, False, True, True]]
    write_picture(tmp_path / "deep.png", np.full((2, 2), 70, np.uint16))
    with pytest.raises(AvisError, match=r"of the kind I;16 \(.*deep\.png\)\. Write 8 bits"):
        read_probability(tmp_path / "deep.png")


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_damaged_pictures(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mask.png"
    write_picture(path, np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-900] if content is None else content)
    for read in (read_frame, read_object_mask, read_probability, read_colours):
        with pytest.raises(
            AvisError, match=rf"the picture cannot be read: .* \({path}\)\. Get the file again"
        ):
            read(path)
    with pytest.raises(AvisError, match=r"the picture is missing \(.*none\.png\)"):
        read_frame(tmp_path / "none.png")


def test_a_picture_too_large_for_memory_is_not_decoded(tmp_path: Path) -> None:
    Image.new("1", (60_000, 1000)).save(tmp_path / "huge.png")
    with pytest.raises(AvisError, match=r"60000x1000 pixels \(.*huge\.png\)"):
        read_object_mask(tmp_path / "huge.png")


def test_the_palette() -> None:
    colours = palette().tolist()
    known = {0: [0, 0, 0], 1: [128, 0, 0], 3: [128, 128, 0], 7: [128, 128, 128], 8: [64, 0, 0]}
    assert {number: colours[number] for number in known} == known
    assert colours[70] == [32, 128, 128]
    assert len({tuple(colour) for colour in colours}) == 71


def test_colours_to_classes_and_back() -> None:
    ids = np.random.default_rng(0).integers(0, 71, (3, 8, 9)).astype(np.uint8)
    assert (classes_of_colours(palette()[ids]) == ids).all()
    others = np.array([[1, 2, 3], [255, 255, 255], [0, 0, 1], [64, 0, 0]], np.uint8)
    assert classes_of_colours(others).tolist() == [UNKNOWN, UNKNOWN, UNKNOWN, 8]


def test_sizes_are_matched_by_the_nearest_pixel(tmp_path: Path) -> None:
    ids = np.repeat(np.repeat(np.array([[3, 9], [70, 0]], np.uint8), 10, 0), 20, 1)  # [20, 40]
    write_picture(tmp_path / "ids.png", ids)
    found = read_class_ids(tmp_path / "ids.png", (6, 8))
    assert found is not None
    assert found.tolist() == [[3] * 4 + [9] * 4] * 3 + [[70] * 4 + [0] * 4] * 3
    write_picture(tmp_path / "colours.png", palette()[ids])
    assert read_class_ids(tmp_path / "colours.png", (6, 8)) is None
    assert (classes_of_colours(read_colours(tmp_path / "colours.png", (6, 8))) == found).all()


@pytest.mark.parametrize("first", [0, 1])
def test_class_names(tmp_path: Path, first: int) -> None:
    numbers = {name: number for number, name in enumerate(CLASS_NAMES, start=first)}
    (tmp_path / "label2idx.json").write_text(json.dumps(dict(reversed(numbers.items()))))
    assert read_class_names(tmp_path) == CLASS_NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no label2idx.json"),
        ("{", "not valid JSON"),
        ("[1]", "does not give each class a number"),
        ('{"background": true}', "does not give each class a number"),
        ("{}", "does not number 71 classes"),
        ('{"background": 0, "a": 1}', "does not number 71 classes"),
        (json.dumps({**{n: k for k, n in enumerate(CLASS_NAMES)}, "horn": 3}), "does not number 71 classes"),
        (json.dumps({name: k for k, name in enumerate(CLASS_NAMES[::-1])}), "not the background"),
    ],
)
def test_damaged_class_names(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "label2idx.json").write_text(content)
    with pytest.raises(AvisError, match=message):
        read_class_names(tmp_path)
