"""Videos that are not at hand as they are wanted: downloaded and cut by the ingest stage, with its guards."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from components.core.raw.index import Status
from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.records.changes import Changes, changes_of_text
from components.core.run.files import remove
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.text.redaction import redacted_address
from components.ingest.folder import PARTS
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.tools.prediction.inputs import Input

Found = dict[str, tuple[Path, Changes]]
Lost = dict[str, tuple[str, str]]


def bring(
    inputs: Sequence[Input], folder: Path, params: IngestParams, engine: EngineParams
) -> tuple[Found, Lost]:
    """Bring videos below a folder; what an earlier run brought stays.

    Returns:
        By the inputs' names the files and what was changed on the way, and of those that could not be had
        status and cause.

    Raises:
        AvisError: the folder is not ours, or the disk is full.
    """
    ids = {_id(source): source for source in inputs}
    manifest = folder / "manifest.csv"
    if manifest.is_file() and not {entry.video_id for entry in read_manifest(manifest)} & set(ids):
        remove(folder)  # of another run, on other videos
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        ManifestEntry(name, _absolute(source), source.start_s, source.end_s, sha256=source.sha256)
        for name, source in ids.items()
    ]
    write_manifest(manifest, entries)
    paths = Paths(folder)
    # at their usual time limits, tries and pauses; nothing is judged by the share that failed
    with _bytes_shown(paths.raw / PARTS):
        index = ingest(params.model_copy(update={"manifest": str(manifest)}), engine, paths)
    found: Found = {}
    lost: Lost = {}
    for row in index:
        source = ids[row.video_id]
        if row.status is Status.OK and row.path is not None:
            found[source.name] = paths.raw / row.path, changes_of_text(row.changes or "")
        else:
            message = row.message.replace("ingest.max_file_gb", "--max-gb")
            lost[source.name] = (row.status.value, message)
    return found, lost


@contextmanager
def _bytes_shown(folder: Path) -> Iterator[None]:
    """Show at a terminal how much has come, which may be all that is seen of a video for minutes."""
    done = threading.Event()

    def watch() -> None:
        with tqdm(desc="downloaded", unit="B", unit_scale=True, position=1, leave=False, disable=None) as bar:
            while not (done.wait(0.5) or bar.disable):
                with suppress(OSError):  # a file that got its name just now
                    bar.n = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                bar.refresh()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _id(source: Input) -> str:
    told = f"{redacted_address(_absolute(source))} {source.start_s} {source.end_s}".encode(
        errors="surrogateescape"
    )
    return hashlib.sha256(told).hexdigest()[:24]


def _absolute(source: Input) -> str:
    return str(source.path.absolute()) if source.path is not None else source.source
