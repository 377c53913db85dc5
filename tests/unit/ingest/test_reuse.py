"""When a failure rests: by the clock of the run that met it, which may have been wrong."""

from datetime import UTC, datetime, timedelta

import pyarrow

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
