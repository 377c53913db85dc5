"""What `make` would do, without doing it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.dvc.graph import find_root

ROOT = find_root(Path(__file__).parent)


@pytest.mark.parametrize(("made_in", "anew"), [("here", False), ("elsewhere", True), ("a link's end", False)])
def test_an_environment_of_another_folder_is_made_anew(made_in: str, anew: bool, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    folder = tmp_path / ".venv"
    if made_in == "a link's end":
        (tmp_path / "shared").mkdir()
        folder.symlink_to("shared")
    (folder / "bin").mkdir(parents=True)
    place = tmp_path if made_in == "here" else "/moved/from"
    (folder / "bin" / "pip").write_text(f"#!{place}/.venv/bin/python\n")
    for name in ("pyproject.toml", "requirements.txt", ".venv/.installed"):
        (tmp_path / name).touch()
    done = subprocess.run(["make", "-n", "install"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("made in another folder" in done.stdout and "venv --clear" in done.stdout) is anew
    assert anew or "venv --clear" not in done.stdout
