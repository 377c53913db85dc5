import errno
import hashlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from components.core.run.errors import AvisError
from components.core.run.files import (
    remove_leftovers,
    replace_file,
    replace_folder,
    safe_name,
    scratch_folder,
    sha256_file,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with replace_file(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError), replace_file(path, suffix=".mp4") as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for content in ("first", "second"):
        with replace_folder(path) as temporary:
            (temporary / content).touch()
    with pytest.raises(RuntimeError), replace_folder(path) as temporary:
        (temporary / "third").touch()
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["second"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("replace", [replace_file, replace_folder])
def test_only_an_error_of_the_system_that_names_no_file_gets_a_name(
    replace: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path
) -> None:
    path = tmp_path / "out"
    with pytest.raises(OSError, match="full") as caught, replace(path):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="full") as caught, replace(path) as temporary:
        raise OSError(errno.ENOSPC, "full", str(temporary / "x"))
    assert caught.value.filename == str(temporary / "x")
    with pytest.raises(OSError) as caught, replace(path):
        raise OSError("the words of a library")
    assert str(caught.value) == "the words of a library"


def test_leftovers_of_a_killed_process_are_found(tmp_path: Path) -> None:
    keep = tmp_path / "video" / "keep.jpg"
    with replace_file(keep) as temporary:
        temporary.touch()
        name = temporary.name
    (tmp_path / "video" / name).touch()
    (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [keep]
    assert not (tmp_path / name).exists()


def test_json_is_stable_and_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": np.float32(0.5), "a": [np.int64(1), float("nan"), Path("x/y")], "c": np.ones(2)})
    assert "".join(path.read_text().split()) == '{"a":[1,null,"x/y"],"b":0.5,"c":[1.0,1.0]}'
    assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a", "-wgEIkAongk", "9h7btHpA52U-00.22.53.668-seg2", "x" * 128])
def test_safe_names(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a..b", "a\n", "a b", "é", "x" * 129, "a\x00"])
def test_unsafe_names(name: str) -> None:
    with pytest.raises(AvisError):
        safe_name(name)


def test_an_error_is_one_message_and_travels_between_processes() -> None:
    error = AvisError("the file is empty", where="a.mp4", fix="Download it again.")
    assert str(error) == "the file is empty (a.mp4). Download it again."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_scratch_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from components.core.run.files import scratch_folder
with scratch_folder(Path({str(tmp_path)!r})) as folder:
    (folder / "large").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with scratch_folder(tmp_path) as folder, scratch_folder(tmp_path) as other:
        assert not left.exists() and {*tmp_path.iterdir()} == {folder, other}
    assert not [*tmp_path.iterdir()]


def test_scratch_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"avis-{os.getuid()}").mkdir(mode=0o700)
    (tmp_path / f"avis-{os.getuid()}").chmod(0o777)
    with pytest.raises(AvisError, match="others may write"), scratch_folder():
        pass
