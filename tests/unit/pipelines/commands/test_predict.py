"""`avis predict`: what it leaves behind."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.core.run.errors import AvisError
from components.tools.prediction.one_video import Row
from pipelines.commands.models.predict import _say, predict


def test_a_video_from_standard_input_is_gone_when_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\0\0\0\x18ftypmp42" + b"x" * 9000)))
    model = tmp_path / "model.pth"
    model.write_bytes(b"")
    with pytest.raises(AvisError, match="there are no weights"):
        predict(["-"], out=tmp_path / "out", model=str(model), audio_weights=tmp_path / "absent")
    assert not (tmp_path / "out" / ".stdin").exists()


def test_of_many_objects_the_best_are_said_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    sounds = [f"bell {number}: " + "0-1 s, " * number + "9-10 s" for number in range(1, 31)]
    row = Row(video="a", source="a.mp4", status="ok", objects=30, sounds="; ".join(sounds), folder="out/a")
    _say(row, alone=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["a: 30 objects", "  bell 1: 0-1 s, 9-10 s"]
    assert lines[-2:] == ["  and 20 more", "  out/a/"]
    assert len(lines) == 13 and max(map(len, lines)) <= 125
    _say(replace(row, objects=1, sounds=sounds[0]), alone=True)
    assert capsys.readouterr().out.splitlines()[0] == "a: bell 1: 0-1 s, 9-10 s"
