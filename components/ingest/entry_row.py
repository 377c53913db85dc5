"""The row of the index that an entry of the manifest gets."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

from components.core.raw.index import RawEntry, Status
from components.core.raw.manifest import ManifestEntry
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.text.redaction import redact, redacted_address, secrets_of
from components.ingest.address import parse_source
from components.ingest.params import IngestParams
from components.ingest.status import KILLERS
from components.ingest.verify import Verified


def new_row(
    entry: ManifestEntry, params: IngestParams, status: Status, message: str, attempts: int = 1
) -> RawEntry:
    """An entry's row, so far without a file; what is secret in its source stays in the manifest."""
    return RawEntry(
        video_id=entry.video_id,
        status=status,
        message=redact(message, secrets_of(entry.source)),
        attempts=attempts,
        source=redacted_address(entry.source),
        start_s=entry.start_s,
        end_s=entry.end_s,
        fingerprint=(
            params.fingerprint(is_local=is_local(entry))
            if status is Status.OK
            else params.failure_fingerprint(entry.sha256, is_local=is_local(entry))
        ),
        license=entry.license,
        uploader=entry.uploader,
        split=entry.split,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def fault_row(entry: ManifestEntry, params: IngestParams, status: Status, message: str) -> RawEntry:
    """The row of an entry that did something to its process; a local file is known again by its hash."""
    row = new_row(entry, params, status, message)
    path = parse_source(entry.source).path if is_local(entry) and status in KILLERS else None
    return replace(row, source_sha256=sha256_file(path)) if path is not None and path.is_file() else row


def ok_row(
    entry: ManifestEntry,
    params: IngestParams,
    verified: Verified,
    *,
    path: str,
    sha256: str,
    source_sha256: str | None,
    size_bytes: int,
) -> RawEntry:
    """The row of an entry whose video is there."""
    asked_s = None if entry.end_s is None else entry.end_s - (entry.start_s or 0.0)
    message = ""
    if asked_s is not None and verified.duration_s < asked_s - 1.0:
        message = f"ends after {verified.duration_s:.3f} s; {asked_s:g} s were asked for"
    return replace(
        new_row(entry, params, Status.OK, message),
        path=path,
        sha256=sha256,
        source_sha256=source_sha256,
        size_bytes=size_bytes,
        **{key: value for key, value in asdict(verified).items() if key != "path"},
    )


def is_local(entry: ManifestEntry) -> bool:
    """Whether the entry is a file or folder of this machine."""
    try:
        return parse_source(entry.source).is_local
    except AvisError:
        return True  # a bad entry: looking again costs nothing
