"""`avis predict`: what it leaves behind."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.core.run.errors import AvisError
from pipelines.commands.models.predict import predict


def test_a_video_from_standard_input_is_gone_when_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\0\0\0\x18ftypmp42" + b"x" * 9000)))
    model = tmp_path / "model.pth"
    model.write_bytes(b"")
    with pytest.raises(AvisError, match="there are no weights"):
        predict(["-"], out=tmp_path / "out", model=str(model), audio_weights=tmp_path / "absent")
    assert not (tmp_path / "out" / ".stdin").exists()
