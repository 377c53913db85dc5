"""What an older version read otherwise out of the same file is read again."""

from pathlib import Path

import pytest

from components.core.inference.params import PredictParams
from components.core.media import reading
from components.core.raw.index import RawEntry, Status
from components.extract import extract_video
from components.extract.params import ExtractParams
from components.ingest import params as ingest_params
from components.tools.prediction import one_video
from components.tools.prediction.inputs import Input


def test_all_but_downloads_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = RawEntry("a", Status.OK, "", 1, "a.mp4", None, None, fingerprint="1", path="a.mp4", sha256="0")
    wanted = one_video.Wanted(model=Path("model"), params=PredictParams(), save=())

    def fingerprints() -> list[str]:
        ingest = ingest_params.IngestParams()
        return [
            extract_video.fingerprint(entry, ExtractParams()),
            wanted.fingerprint(Input("a", "a.mp4", Path("a.mp4"))),
            ingest.fingerprint(is_local=True),
            ingest.failure_fingerprint(None, is_local=False),
            ingest.fingerprint(is_local=False),
        ]

    before = fingerprints()
    for module in (extract_video, one_video, ingest_params):
        assert module.READING == reading.READING  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "READING", "tracks 1")
    assert [new == old for new, old in zip(fingerprints(), before, strict=True)] == [False] * 4 + [True]
