"""What the pages say about the tree is true."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch

from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.qa.checks import Check
from pipelines.dvc.graph import find_root
from tests.support.architecture_picture import PICTURE, draw, layers, rooms

ROOT = find_root(Path(__file__).parent)
FILES = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.splitlines()
PAGES = [name for name in FILES if name.endswith(".md") and not name.startswith("tests/data/")]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_picture_of_the_architecture_is_the_tree() -> None:
    """Drawn anew by `python -m tests.support.architecture_picture`."""
    assert (ROOT / PICTURE).read_text(encoding="utf-8") == draw(ROOT)


def test_every_room_has_its_line_in_the_table() -> None:
    stages = layers(ROOT, "components")[1]
    folders = {
        f"pipelines/{room}" for room in rooms(ROOT / "pipelines") if (ROOT / "pipelines" / room).is_dir()
    }
    folders |= {f"components/core/{room}" for row in layers(ROOT, "components.core") for room in row}
    folders |= {f"models/{row[0]}" for row in layers(ROOT, "models") if (ROOT / "models" / row[0]).is_dir()}
    folders |= {"components/tools", f"components/{stages[0]}", f"components/{stages[-1]}"}
    assert set(re.findall(r"`((?:pipelines|components|models)/[\w/]+)`", _table_of_rooms())) == folders


def _table_of_rooms() -> str:
    rows = ARCHITECTURE.partition("## The rooms")[2].partition("\n## ")[0].splitlines()
    return "\n".join(row.split("|")[1] for row in rows if row.startswith("|"))


def test_nothing_lies_at_the_top_that_has_no_place_there() -> None:
    """As what a test or a measurement left and `git add` took along."""
    assert {name.split("/")[0] for name in FILES if "/" in name} == {
        ".ci", ".dvc", ".github", "benchmarks", "components", "data", "docs", "infra", "models", "params",
        "pipelines", "tests",
    }  # fmt: skip


def test_every_kind_of_other_peoples_files_has_its_tests() -> None:
    text = (ROOT / "tests/kinds.md").read_text(encoding="utf-8")
    for title, folder in (("## Media", "unit/core/media"), ("## Labels", "unit/annotate")):
        table = text.partition(f"{title}\n")[2].partition("\n## ")[0].partition("|---|---|---|\n")[2]
        assert table
        for row in table.splitlines():
            named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row.split("|")[3])
            assert named, row
            for file, name in named:
                path = ROOT / "tests" / (file if "/" in file else f"{folder}/{file}")
                assert f"\ndef {name}(" in path.read_text(encoding="utf-8"), f"{file}::{name}"


def test_no_folder_of_the_product_is_a_drawer() -> None:
    """A folder holds two to about twelve files (docs/architecture.md)."""
    folders = [
        Path(name).parent for name in FILES if name.endswith(".py") and not name.endswith("__init__.py")
    ]
    product = [
        folder
        for folder in folders
        if folder.parts and folder.parts[0] in ("pipelines", "components", "models")
    ]
    crowded = {str(folder): product.count(folder) for folder in product if product.count(folder) > MOST_FILES}
    assert not crowded


MOST_FILES = 15


def examples(text: str) -> dict[str, str]:
    """The Python files that a page shows whole, by the path that it gives them."""
    return dict(re.findall(r"`([\w/]+\.py)`[^`]*?\n\n```python\n(.*?)```", text, re.DOTALL))


def test_the_files_that_the_recipes_show_work(tmp_path: Path) -> None:
    shown = examples((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    made: dict[str, dict[str, Any]] = {path: {} for path in shown}
    for path, code in shown.items():
        exec(compile(code, path, "exec"), made[path])
    check = made["components/qa/checks/crowds.py"]["TooManyAtOnce"]
    del Check.known[check.name]
    assert [
        finding.frame for finding in check().check(SimpleNamespace(labelled=[2, 6], split="", name=""))
    ] == [1]
    video = Video(1, "clip", [f"clip/{frame}.jpg" for frame in range(2)], 2, 4, 6)
    mask = masks.encode(np.ones((4, 6), dtype=np.bool_))
    track = Track(7, 1, 1, [mask, None])
    written = made["components/annotate/formats/rttm.py"]["FORMAT"].write
    written(tmp_path / "clip.rttm", AnnotationSet({1: "dog"}, [video], [track]))
    assert (tmp_path / "clip.rttm").read_text().startswith("SPEAKER clip 1 0.000 1.000")
    assert callable(made["pipelines/commands/data/count.py"]["count"])
    backbone = made["models/networks/backbones/resnet34.py"]["BACKBONES"]["resnet34"].build(False).eval()
    assert [x.shape[1] for x in backbone(torch.zeros(1, 3, 64, 64))] == backbone.channels


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if not (ROOT / page).parent.joinpath(unquote(link)).exists()]
    named = re.findall(r"`((?:pipelines|components|models|tests|infra|benchmarks)/[\w./-]+)`", text)
    missing += [path for path in named if path not in examples(text) and not (ROOT / path).exists()]
    assert not missing


def test_files_that_code_speaks_of_exist() -> None:
    spoken_of = re.compile(
        r"(?<![\w/.-])((?:pipelines|components|models|tests|infra|benchmarks)/[\w/-]+\.\w+)\b"
    )
    missing = {
        f"{name}: {path}"
        for name in FILES
        if name.endswith((".py", ".yaml", ".toml")) and name != "tests/unit/test_documentation.py"
        for path in spoken_of.findall((ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }
    assert not missing
