"""When a failure rests: by the clock of the run that met it, which may have been wrong."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow
import pytest

from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.run.errors import AvisError
from components.core.run.files import is_case_sensitive, written_s
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest import stage
from components.ingest.params import IngestParams
from components.ingest.reuse import _rests


def test_a_permanent_failure_rests_for_its_time_unless_its_clock_was_ahead() -> None:
    now = datetime.now(UTC)
    days = (-1.0, -40.0, 3000.0, -1.0, None)
    times = [
        None if day is None else (now + timedelta(days=day)).isoformat(timespec="seconds") for day in days
    ]
    found = pyarrow.table({"status": ["removed", "removed", "removed", "network", "removed"], "time": times})
    params = IngestParams(manifest="m.csv", retry_permanent_after_days=30)
    assert _rests(found, params).tolist() == [True, False, False, False, False]


def test_an_index_of_a_clock_that_was_ahead_vouches_for_no_file(tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    assert written_s(index) == 0.0
    index.write_bytes(b"")
    assert written_s(index) > 0.0
    ahead_s = time.time() + 3 * 3600
    os.utime(index, (ahead_s, ahead_s))
    assert written_s(index) == 0.0


def test_ids_that_a_disk_takes_for_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [ManifestEntry("clip", "a.mp4"), ManifestEntry("Clip", "b.mp4")]
    write_manifest(tmp_path / "m.csv", entries)
    params = IngestParams(manifest=str(tmp_path / "m.csv"))
    monkeypatch.setattr(stage, "is_case_sensitive", lambda folder: False)
    with pytest.raises(AvisError, match="'clip' and 'Clip' differ in case alone, which this disk ignores"):
        stage.ingest(params, EngineParams(workers=1), Paths(tmp_path / "data"))
    assert is_case_sensitive(tmp_path) == (not Path(str(tmp_path).upper()).exists())
