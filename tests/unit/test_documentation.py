"""What the pages say about the tree is true."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

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


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if not (ROOT / page).parent.joinpath(unquote(link)).exists()]
    named = re.findall(r"`((?:pipelines|components|models|tests|infra|benchmarks)/[\w./-]+)`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_files_that_code_speaks_of_exist() -> None:
    spoken_of = re.compile(
        r"(?<![\w/.-])((?:pipelines|components|models|tests|infra|benchmarks)/[\w/-]+\.\w+)\b"
    )
    missing = {
        f"{name}: {path}"
        for name in FILES
        if name.endswith((".py", ".yaml", ".toml"))
        for path in spoken_of.findall((ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }
    assert not missing
