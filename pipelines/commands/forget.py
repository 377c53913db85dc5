"""`avis forget`: remove a video, all that shows it, and keep it from coming back."""

import csv
import io
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.core.clips.index import read_media_index, write_media_index
from components.core.raw.clip_names import source_of, video_id_of
from components.core.raw.forgotten import Forgotten, ForgottenVideos
from components.core.raw.index import read_raw_index, write_raw_index
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.raw.manifest_table import read_manifest_table
from components.core.records.annotations import read_annotations, write_annotations
from components.core.run.errors import AvisError
from components.core.run.files import write_bytes
from components.core.run.params import read_block, read_dataset
from components.core.run.paths import Paths
from components.core.storage.base import Store
from components.core.storage.choice import open_store, read_storage
from components.core.storage.folder import FolderStore
from components.core.storage.names import all_names
from components.ingest.params import IngestParams
from pipelines.commands.forget_models import Seen, models_that_saw
from pipelines.dvc.cache import remove_objects
from pipelines.flows.clones import remove_kept

_DERIVED = ("qa", "predictions", "evaluation", "mllm", "comparison")
_TEXT = {".html", ".csv", ".json", ".jsonl", ".md", ".txt"}


@dataclass(frozen=True)
class Request:
    """What is to be forgotten: clips by id, with their sources."""

    clips: dict[str, str | None]  # the manifest's or the index's source, by video_id
    whole_source: bool


def forget(
    video_ids: list[str],
    *,
    reason: str,
    clip_only: bool,
    yes: bool,
    dry_run: bool,
    paths: Paths | None = None,
) -> None:
    """Remove clips, and unless `clip_only` all others that are cut from the same videos.

    Can be repeated: what an interrupted run left is removed then.

    Raises:
        AvisError: nothing is known of a video, or the question was answered with no.
    """
    paths = paths or Paths()
    forgotten = ForgottenVideos(paths.root / "forgotten.csv")
    request = _find(video_ids, paths, forgotten, whole_source=not clip_only)
    for video_id, source in request.clips.items():
        print(f"{video_id}  {source or ''}".rstrip())
    if dry_run:
        print(f"{len(request.clips)} clips would be removed. Nothing was changed.")
        return
    if not yes:
        _ask(len(request.clips))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    forgotten.add(  # first: whatever happens now, it does not come back
        Forgotten(video_id, "" if clip_only else source_of(video_id, source), now, reason)
        for video_id, source in request.clips.items()
    )
    seen = models_that_saw(request.clips, paths)
    names = set(request.clips)
    _remove_from_manifest(names)
    _remove_videos(names, paths)
    _remove_media(names, paths)
    _remove_annotations(names, paths)
    removed = _remove_derived(names, paths)
    objects = remove_objects(names)
    print(f"Removed {len(names)} clips, {removed} derived files that show them, {objects}.")
    print(
        f"Recorded in {forgotten.path}: commit and push it, for runs that work on what was pushed."
        " `dvc repro` makes the pages anew, without them."
    )
    for clone in remove_kept(Path.cwd()):  # of unattended runs that failed: they may hold the videos
        print(f"A run works in the clone {clone}, which may hold them: forget again when it has ended.")
    _say_what_is_left(request, seen)


def _find(video_ids: list[str], paths: Paths, forgotten: ForgottenVideos, *, whole_source: bool) -> Request:
    """The clips that the ids, or YouTube ids, stand for."""
    known = _known(paths)
    known |= {row.video_id: known.get(row.video_id) or row.source or None for row in forgotten.rows}
    clips: dict[str, str | None] = {}
    for wanted in video_ids:
        found = {name for name, source in known.items() if wanted in (name, source_of(name, source))}
        if not found:
            raise AvisError(
                f"there is no video {wanted!r}",
                where="manifest, data/raw, data/annotations and data/forgotten.csv",
                fix="Find it with: avis ingest status --uploader NAME, or --list ok",
            )
        if whole_source:
            sources = {source_of(name, known[name]) for name in found}
            found |= {name for name, source in known.items() if source_of(name, source) in sources}
        clips |= {name: known[name] for name in sorted(found)}
    return Request(clips, whole_source)


def _known(paths: Paths) -> dict[str, str | None]:
    """Source by video_id, of everything that the manifest, the index and the annotations name."""
    known: dict[str, str | None] = {}
    for file in sorted(paths.annotations.glob("*.json")):
        known |= {video.name: None for video in read_annotations(file).videos}
    if (paths.raw / "index.parquet").is_file():
        known |= {row.video_id: row.source for row in read_raw_index(paths.raw / "index.parquet")}
    manifest = _manifest()
    if manifest.is_file():
        table = read_manifest_table(manifest)
        ids, sources = table.column("video_id").to_pylist(), table.column("source").to_pylist()
        known |= dict(zip(ids, sources, strict=True))
    return known


def _manifest() -> Path:
    return Path(read_block("ingest", IngestParams, optional=True).manifest)


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise AvisError("this cannot be undone", fix="Say so with --yes, or look at it with --dry-run.")
    if input(f"Remove these {count} clips, for good? [y/N] ").strip().lower() not in ("y", "yes"):
        raise AvisError("nothing was changed")


def _remove_from_manifest(names: set[str]) -> None:
    """Take the rows out of the manifest; the other rows of a CSV stay byte for byte.

    The demo's manifest is an output of the sample stage: ingest leaves the rows out.
    """
    manifest = _manifest()
    if not manifest.is_file() or read_dataset() == "sample":
        return
    if manifest.suffix == ".parquet":
        table = read_manifest_table(manifest).to_pylist()
        kept = [ManifestEntry(**row) for row in table if row["video_id"] not in names]
        if len(kept) < len(table):
            write_manifest(manifest, kept)
        return
    text = manifest.read_bytes().decode("utf-8-sig")
    lines = text.splitlines(keepends=True)
    reader = csv.reader(io.StringIO(text, newline=""))
    column = [name.strip() for name in next(reader)].index("video_id")
    kept_lines, begin = lines[: reader.line_num], reader.line_num
    for row in reader:
        if len(row) <= column or row[column].strip() not in names:
            kept_lines += lines[begin : reader.line_num]
        begin = reader.line_num
    if len(kept_lines) < len(lines):
        mark = b"\xef\xbb\xbf" if manifest.read_bytes().startswith(b"\xef\xbb\xbf") else b""
        write_bytes(manifest, mark + "".join(kept_lines).encode())


def _remove_videos(names: set[str], paths: Paths) -> None:
    index = paths.raw / "index.parquet"
    rows = read_raw_index(index) if index.is_file() else []
    gone = [row for row in rows if row.video_id in names]
    stores: list[Store] = [open_store(read_storage().raw, paths.raw), FolderStore(paths.raw)]
    for store in stores:
        store.remove([row.path for row in gone if row.path is not None])
    for name in names:
        shutil.rmtree(paths.raw / ".parts" / name, ignore_errors=True)
    if gone:
        write_raw_index(index, [row for row in rows if row.video_id not in names])


def _remove_media(names: set[str], paths: Paths) -> None:
    stored = [found for name in sorted(names) for found in all_names(name)]
    stores: list[Store] = [open_store(read_storage().media, paths.media)]
    for store in [*stores, FolderStore(paths.media), FolderStore(paths.root / ".media")]:
        store.remove(stored)
    for index in (paths.media / "index.parquet", paths.root / ".media" / "index.parquet"):
        if index.is_file():
            rows = read_media_index(index)
            if names & rows.keys():
                write_media_index(index, [row for name, row in rows.items() if name not in names])


def _remove_annotations(names: set[str], paths: Paths) -> None:
    for file in sorted(paths.annotations.glob("*.json")):
        annotations = read_annotations(file)
        gone = {video.id for video in annotations.videos if video_id_of(video.name) in names}
        if gone:
            annotations.videos = [video for video in annotations.videos if video.id not in gone]
            annotations.tracks = [track for track in annotations.tracks if track.video_id not in gone]
            write_annotations(file, annotations)


def _remove_derived(names: set[str], paths: Paths) -> int:
    """Delete what the later stages made of the clips: films, and every page or table that names them."""
    pattern = name_pattern(names)
    count = 0
    for folder in (paths.root / name for name in _DERIVED):
        for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if file.is_file() and (
                pattern.search(file.relative_to(folder).as_posix())
                or file.suffix in (".parquet", ".safetensors")
                or (file.suffix in _TEXT and pattern.search(file.read_text("utf-8", errors="replace")))
            ):
                file.unlink()
                count += 1
    for predictions in sorted((paths.root / "predictions").glob("*/results.json")):
        predictions.unlink()  # it names clips by numbers
        count += 1
    return count


def name_pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Finds the names of clips in a text, not as parts of longer names."""
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_-])(?:{either})(?![A-Za-z0-9_-])")


def _say_what_is_left(request: Request, seen: Seen) -> None:
    """What this command cannot reach, or must not decide."""
    print("\nModels that were trained with them (their weights are as they were):")
    for line in seen.lines() or ["none"]:
        print(f"  {line}")
    print("\nNot removed, look yourself:")
    for source in _sources_that_name(set(request.clips)):
        print(f"  {source} still names them: edit it")
    for origin in sorted({origin for origin in request.clips.values() if origin and Path(origin).exists()}):
        print(f"  {origin}: where it came from is still there")
    print("  older versions of pages in DVC's cache and remotes: dvc gc --workspace, perhaps with --cloud")
    print("  git's history, if a manifest or annotations with them were ever committed")
    print("  pages and films of earlier runs in MLflow (avis ui): delete the artifacts there")


def _sources_that_name(names: set[str]) -> list[Path]:
    from components.annotate.params import AnnotateParams

    source = Path(read_block("annotate", AnnotateParams, optional=True).source)
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    pattern = name_pattern(names)
    return [
        file
        for file in files
        if file.is_file()
        and file.suffix in (".json", ".xml", ".csv", ".txt")
        and pattern.search(file.read_text("utf-8", errors="replace"))
    ]
