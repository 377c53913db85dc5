"""The bookkeeping of ingest for 1,000,000 videos: time and memory of a run that finds nothing to do.

    .venv/bin/python benchmarks/index.py [--rows 1000000] [--files]

Manifest and index are generated: 55 % of the videos are there, the others are gone. `--files` makes a small
file for each video that is there (minutes), so that looking at them is timed, too; without it every video is
gone and rests. Targets: under 10 s and 1 GB.
"""

import argparse
import csv
import hashlib
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pyarrow
from measuring import alone, peak_mb

from components.core.raw.index import (
    ROWS_AT_ONCE,
    RawEntry,
    Status,
    raw_table,
    read_raw_table,
    write_raw_index,
)
from components.core.raw.manifest_table import read_manifest_table
from components.core.run.files import sha256_file
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest.params import IngestParams
from components.ingest.stage import ingest

CONTENT = b"film"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, arguments.rows, arguments.files)
        alone(measure, folder)  # what generated the files does not count


def generate(folder: Path, rows: int, files: bool) -> None:
    """Write a manifest and an index that fit each other."""
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source", "start_s", "end_s", "split", "license", "uploader"])
        for number in range(rows):
            writer.writerow(
                [
                    f"v{number:07d}",
                    _source(number),
                    number % 60,
                    number % 60 + 60,
                    "train",
                    "CC-BY-4.0",
                    _who(number),
                ]
            )
    there = [number for number in range(rows) if files and number % 20 < 11]
    for number in there:
        (raw / f"v{number:07d}.mp4").write_bytes(CONTENT)
    write_raw_index(raw / "index.parquet", _tables(_rows(rows, set(there))))


def _tables(rows: Iterator[RawEntry]) -> Iterator[pyarrow.Table]:
    while part := list(islice(rows, ROWS_AT_ONCE)):
        yield raw_table(part)


def _source(number: int) -> str:
    # .invalid never resolves (RFC 2606): a mistake here must not ask anybody's server
    return f"https://videos.invalid/watch?v={hashlib.md5(str(number).encode()).hexdigest()[:11]}"


def _who(number: int) -> str:
    return f"someone {number % 5000}"


def _rows(count: int, there: set[int]) -> Iterator[RawEntry]:
    params = IngestParams()
    kept = params.fingerprint(is_local=False)
    lost = params.failure_fingerprint(None, is_local=False)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for number in range(count):
        common = {
            "video_id": f"v{number:07d}",
            "attempts": 1,
            "source": _source(number),
            "start_s": float(number % 60),
            "end_s": float(number % 60 + 60),
            "fingerprint": kept if number in there else lost,
            "license": "CC-BY-4.0",
            "uploader": _who(number),
            "split": "train",
            "time": now,
        }
        if number not in there:
            yield RawEntry(status=Status.REMOVED, message="this video is gone", **common)
            continue
        yield RawEntry(
            status=Status.OK,
            message="",
            path=f"v{number:07d}.mp4",
            duration_s=60.0,
            width=1280,
            height=720,
            fps=30.0,
            video_codec="h264",
            audio_codec="aac",
            sha256=hashlib.sha256(CONTENT + str(number).encode()).hexdigest(),
            source_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            size_bytes=len(CONTENT),
            **common,
        )


def measure(folder: Path) -> None:
    """Time the operations and say how much memory all of them took."""
    start = time.monotonic()
    manifest = read_manifest_table(folder / "manifest.csv")
    print(f"read the manifest        {time.monotonic() - start:6.2f} s  {len(manifest)} rows")
    del manifest
    index = folder / "data" / "raw" / "index.parquet"
    start = time.monotonic()
    counts = read_raw_table(index, ["status"]).column("status").value_counts().to_pylist()
    print(f"count the statuses       {time.monotonic() - start:6.2f} s  {counts}")
    before = sha256_file(index)
    start = time.monotonic()
    params = IngestParams(manifest=str(folder / "manifest.csv"))
    ingest(params, EngineParams(), Paths(folder / "data"))
    took_s = time.monotonic() - start
    print(f"ingest with nothing to do{took_s:6.2f} s  peak {peak_mb() / 1e3:.3f} GB")
    assert sha256_file(index) == before, "the index changed"


if __name__ == "__main__":
    main()
