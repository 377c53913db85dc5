"""`python -m models.golden`: tables, verdicts and messages, and where torch is not needed, no torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.golden import main

pytestmark = pytest.mark.slow

GOLDEN = Path("tests/data/golden")
LOG_MEL = GOLDEN / "logmel_16k"


def test_help_comes_without_torch() -> None:
    code = (
        "import sys, models.golden\n"
        "try: models.golden.main(['-h'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert "--tolerance" in done.stdout


def test_differences_are_printed_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(LOG_MEL)]) == 0
    assert "logmel: 1 of 1 within 0.001" in capsys.readouterr().out
    assert main([str(LOG_MEL), "--model", "logmel", "--tolerance", "1e-7"]) == 1
    assert "above 1e-07" in capsys.readouterr().out

    for wrong, shown in ((0.25, "2.50e-01"), (np.nan, "nan")):
        folder = tmp_path / shown
        shutil.copytree(LOG_MEL, folder)
        expected = np.load(folder / "expected.npz")["log_mel"]
        expected[1, 2, 3] += wrong
        np.savez(folder / "expected.npz", log_mel=expected)
        assert main([str(folder)]) == 1
        printed = capsys.readouterr().out
        assert shown in printed
        assert "logmel: 0 of 1 within 0.001" in printed


def test_what_is_no_golden_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert (
        "is no golden folder; it should hold expected.npz and state_dict_shapes.json"
        in capsys.readouterr().err
    )
    assert main([str(tmp_path / "none"), "--model", "logmel"]) == 2
    assert main([str(GOLDEN / "avism_r50"), "--model", "avism_swin_l"]) == 2
    assert "is of a model with resnet50, not swin_large" in capsys.readouterr().err

    shutil.copytree(LOG_MEL, tmp_path / "spare")
    np.savez(tmp_path / "spare" / "expected.npz", log_mel=np.zeros((5, 96, 64)), spare=np.zeros(1))
    assert main([str(tmp_path / "spare")]) == 2
    assert "expected.npz has 'spare'; known are log_mel" in capsys.readouterr().err
    np.savez(tmp_path / "spare" / "expected.npz", log_mel=np.zeros((5, 96, 65)))
    assert main([str(tmp_path / "spare")]) == 2
    assert (
        "log_mel has shape (5, 96, 65) in expected.npz and (5, 96, 64) in our network"
        in capsys.readouterr().err
    )
    (tmp_path / "spare" / "expected.npz").write_bytes(b"PK")
    assert main([str(tmp_path / "spare")]) == 2


@pytest.mark.parametrize(
    ("folder", "file", "content", "kind"),
    [
        ("logmel_16k", "input.wav", b"", "EOFError: the file ends too early"),
        ("logmel_16k", "input.wav", 100, "ValueError: "),
        ("logmel_16k", "expected.npz", 300, "BadZipFile: "),
        ("logmel_16k", "expected.npz", b"", "EOFError: "),
        ("tpavi", "info.json", b"[]", ""),
        ("tpavi", "info.json", b'{"state_dict_shapes": {}}', "KeyError: 'input'"),
        ("avism_r50", "state_dict_shapes.json", b"[]", "AttributeError: "),
        ("avism_r50", "info.json", b"{", "JSONDecodeError: "),
    ],
)
def test_damaged_folders_end_in_one_message(
    folder: str,
    file: str,
    content: bytes | int,
    kind: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damaged = tmp_path / folder
    shutil.copytree(GOLDEN / folder, damaged)
    whole = (damaged / file).read_bytes()
    (damaged / file).write_bytes(content if isinstance(content, bytes) else whole[:content])
    assert main([str(damaged)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {damaged} cannot be compared: {kind}")


def test_a_folder_of_another_model_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    for folder, model in (("tpavi", "avism_r50"), ("avism_r50", "tpavi"), ("tpavi", "logmel")):
        assert main([str(GOLDEN / folder), "--model", model]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {GOLDEN / folder} cannot be compared: ")


def test_weights_are_made_from_the_names_as_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So a folder in the COCO spelling holds other numbers than the same network in AVISM's spelling."""
    folder = tmp_path / "respelled"
    shutil.copytree(GOLDEN / "acvis_r50", folder)
    shapes = json.loads((folder / "state_dict_shapes.json").read_text())
    renamed = {name.replace("vita_", "avism_"): shape for name, shape in shapes.items()}
    assert renamed != shapes
    (folder / "state_dict_shapes.json").write_text(json.dumps(renamed))
    assert main([str(folder)]) == 1
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "above" not in rows["frame_logits"]  # before the video module
    assert "above" in rows["video_logits"]
