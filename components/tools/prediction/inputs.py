"""What is to be predicted: files, folders, globs, manifests, addresses and standard input become videos.

Nothing heavy is imported here: a wrong path is refused before torch is loaded.
"""

import glob
import hashlib
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.core.run.errors import AvisError
from components.core.text.redaction import redact
from components.tools.prediction.names import plain_name

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".flv", ".avi", ".ts", ".ogv", ".mpg", ".wmv", ".3gp"),
    *(".mpeg", ".mts", ".m2ts"),
)
MANIFESTS = (".csv", ".parquet")
STANDARD_INPUT = "-"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HEAD = 4096  # of standard input: a list of names has no zero byte in it
_LONGEST_STEM = 100


@dataclass(frozen=True)
class Input:
    """One video to predict.

    name: of its folder; unlike that of any other input.
    source: as it was given: a path or an address.
    path: of a file of this machine, None where ingest has to bring it first.
    start_s, end_s: the part to predict.
    sha256: that the source must have, from a manifest.
    """

    name: str
    source: str
    path: Path | None = None
    start_s: float | None = None
    end_s: float | None = None
    sha256: str | None = None

    @property
    def needs_ingest(self) -> bool:
        """Whether it is downloaded or cut first."""
        return self.path is None or self.start_s is not None or self.end_s is not None


def find_inputs(
    given: Iterable[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    scratch: Path,
    stdin: BinaryIO | None = None,
) -> list[Input]:
    """Turn what was given into videos, in order, each once.

    Args:
        given: files, folders (all videos below), globs, manifests (CSV or Parquet), addresses, or "-":
            standard input, a video or a list of all these, a line each.
        start_s, end_s: the part to predict, of all that no manifest gives other times.
        scratch: a folder for a video that comes through standard input.
        stdin: instead of the process's.

    Raises:
        AvisError: one is not there, a folder or a glob holds no video, or there is nothing at all.
    """
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise AvisError(
            f"--start {start_s:g} is not before --end {end_s:g}", fix="Give seconds from the start."
        )
    found: list[Input] = []
    for text in given:
        is_stream = text == STANDARD_INPUT
        lines = _standard_input(stdin or sys.stdin.buffer, scratch) if is_stream else [text]
        for line in lines:
            found += _inputs_of(line, start_s, end_s)
    unique = list({(one.source, one.start_s, one.end_s): one for one in found}.values())
    if not unique:
        raise AvisError(
            "no video was named", fix="Name files, folders, manifests or addresses, or - for stdin."
        )
    return list(_named_apart(unique))


def _standard_input(stream: BinaryIO, scratch: Path) -> list[str]:
    head = stream.read(_HEAD)
    if b"\0" not in head:
        text = (head + stream.read()).decode("utf-8", "surrogateescape")
        return [line.strip() for line in text.splitlines() if line.strip()]
    scratch.mkdir(parents=True, exist_ok=True)
    target = scratch / "stdin"
    with target.open("wb") as file:
        file.write(head)
        shutil.copyfileobj(stream, file)
    return [str(target)]


def _inputs_of(text: str, start_s: float | None, end_s: float | None) -> list[Input]:
    if _ADDRESS.match(text):
        return [Input(_name(text), text, None, start_s, end_s)]
    path = Path(text)
    if not _exists(path) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207, absolute ones, too
        if not matches:
            raise AvisError("no file has such a name", where=text, fix="Correct the pattern.")
        return [one for match in matches for one in _inputs_of(match, start_s, end_s)]
    if not _exists(path):
        raise AvisError("there is no such video", where=text, fix="Correct the path.")
    if path.is_dir():
        videos = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        if not videos:
            raise AvisError("the folder holds no video", where=text, fix=f"Looked for {' '.join(SUFFIXES)}.")
        return [Input(_name(str(file)), str(file), file, start_s, end_s) for file in videos]
    if path.suffix.lower() in MANIFESTS:
        return _of_manifest(path, start_s, end_s)
    return [Input(_name(text), text, path, start_s, end_s)]


def _of_manifest(path: Path, start_s: float | None, end_s: float | None) -> list[Input]:
    from components.core.raw.manifest import read_manifest  # only it needs pyarrow

    return [
        Input(
            entry.video_id,
            entry.source,
            None,
            start_s if entry.start_s is None else entry.start_s,
            end_s if entry.end_s is None else entry.end_s,
            entry.sha256,
        )
        for entry in read_manifest(path)
    ]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name of 300 letters
        return False


def _name(text: str) -> str:
    """Of a file its stem as it is, so that people find it; of an address what of it can be a name."""
    if _ADDRESS.match(text):
        return plain_name(re.sub(r"^\w+://", "", redact(text)))
    stem = Path(text).stem
    is_fit = len(stem.encode(errors="surrogateescape")) <= _LONGEST_STEM and not stem.startswith(".")
    return stem if is_fit else plain_name(stem)


def _named_apart(inputs: list[Input]) -> Iterator[Input]:
    """Where several have a name, each but a manifest's gets a piece of its source's hash: always the same."""
    names = [one.name.casefold() for one in inputs]  # disks of some systems know no other
    for one in inputs:
        if names.count(one.name.casefold()) == 1:
            yield one
        else:
            told = f"{one.source} {one.start_s} {one.end_s}".encode(errors="surrogateescape")
            name = f"{one.name}-{hashlib.sha256(told).hexdigest()[:6]}"
            yield Input(name, one.source, one.path, one.start_s, one.end_s, one.sha256)
