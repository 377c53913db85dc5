"""What is kept of a cell is read as it was written, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.paths import Paths
from components.tools.studies.results import folder_of, keep, read_result
from tests.support.promotion_scores import counts_of, write_scores

ABOUT = {"cell": "full", "seed": 1, "seconds": {"train": 12.5}}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    workspace = Paths(tmp_path / "workspace")
    for folder in (workspace.model("m"), workspace.predictions("m"), workspace.evaluation("m")):
        folder.mkdir(parents=True)
        write_json(folder / "metrics.json", {"FSLA": 41.5})
    write_json(workspace.predictions("m") / "timing.json", {"fps": 7.0})
    write_json(workspace.model("m") / "run.json", {"run_id": "0" * 32})
    (workspace.model("m") / "history.csv").write_text("step,val_FSLA\n10,40.0\n")
    write_scores(workspace.evaluation("m"), counts_of({1: 3, 2: 3}, clips=3))
    paths = Paths(tmp_path / "data")
    keep(paths, "key", workspace=workspace, variant="m", about=ABOUT)
    return paths


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": flip,
    "another value": lambda path: path.write_text("5"),
    "deleted": Path.unlink,
}
FILES = (
    "training.json", "history.csv", "run.json", "timing.json", "scores.json", "counts.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_named(damage: str, paths: Paths) -> None:
    found = read_result(paths, "key")
    assert found is not None and found.about == ABOUT and found.validated("FSLA") == [(10, 40.0)]
    for name in (*FILES, "cell.json", "sha256.json"):
        path = folder_of(paths, "key") / name
        before = path.read_bytes()
        DAMAGE[damage](path)
        if damage == "deleted" and name == "cell.json":  # by which a cell counts as computed
            assert read_result(paths, "key") is None
        elif damage == "deleted" and name == "sha256.json":  # as an earlier version kept it
            assert read_result(paths, "key") is not None
        else:
            with pytest.raises(AvisError, match="a cell's result is damaged") as error:
                read_result(paths, "key")
            assert str(path.parent) in str(error.value)
            assert name in str(error.value) or name == "sha256.json"
        path.write_bytes(before)
    assert read_result(paths, "key") is not None
