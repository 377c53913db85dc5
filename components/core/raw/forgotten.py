"""data/forgotten.csv: the videos that were removed on request and must not come back. Git keeps it."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from components.core.raw.clip_names import source_of
from components.core.run.errors import AvisError
from components.core.run.files import hold, write_text
from components.core.text.redaction import redacted_address


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One clip that was removed; with a source, so is whatever else is cut from that video."""

    video_id: str
    source: str  # as source_of tells; empty: only this clip
    time: str  # UTC
    reason: str


_COLUMNS = [field.name for field in fields(Forgotten)]


class ForgottenVideos:
    """Tells what must not be fetched.

    Args:
        path: the file; without it nothing is forgotten.

    Raises:
        AvisError: the file cannot be read: to guess would bring back what somebody wanted gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = _read(path)
        self._look_up()

    def _look_up(self) -> None:
        self._ids = {row.video_id for row in self.rows}
        self._sources = {redacted_address(row.source) for row in self.rows if row.source}

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, video_id: str, source: str | None) -> bool:
        """Whether a clip, or the video that it is cut from, is forgotten."""
        return video_id in self._ids or redacted_address(source_of(video_id, source)) in self._sources

    def add(self, rows: Iterable[Forgotten]) -> None:
        """Write further ones to the file; what it says already, or another command wrote meanwhile, stays."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with hold(self.path.parent, wait=True):
            self.rows = _read(self.path)
            self._look_up()
            for row in rows:
                row = replace(row, source=redacted_address(row.source))  # git keeps the file
                if row.video_id not in self._ids or (row.source and row.source not in self._sources):
                    self.rows.append(row)
            self._look_up()
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")  # noqa: TID251 (read back as it is)
            writer.writerow(_COLUMNS)
            writer.writerows(astuple(row) for row in self.rows)
            write_text(self.path, text.getvalue())


def _read(path: Path) -> list[Forgotten]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if reader.fieldnames != _COLUMNS:
                raise ValueError(f"its columns are not {', '.join(_COLUMNS)}")
            rows = [Forgotten(**row) for row in reader]
            if any(None in astuple(row) for row in rows):
                raise ValueError("a row has too few cells")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise AvisError(
            f"the list of forgotten videos cannot be read: {error}",
            where=str(path),
            fix="Restore it: git checkout data/forgotten.csv",
        ) from None
    return rows
