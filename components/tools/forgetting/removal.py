"""Take clips out of all that is under data/, and out of the manifest."""

import csv
import io
import shutil

from components.core.clips.index import read_media_index, write_media_index
from components.core.raw.clip_names import video_id_of
from components.core.raw.index import read_raw_index, write_raw_index
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.raw.manifest_table import read_manifest_table
from components.core.records.annotations import read_annotations, write_annotations
from components.core.run.files import write_bytes
from components.core.run.params import read_dataset
from components.core.run.paths import Paths
from components.core.storage.base import Store
from components.core.storage.choice import open_store, read_storage
from components.core.storage.folder import FolderStore
from components.core.storage.names import all_names
from components.mllm.requests.answers import Answers
from components.tools.forgetting.clips import manifest_file, name_pattern, split_files

_DERIVED = ("qa", "predictions", "evaluation", "mllm", "comparison")
_TEXT = {".html", ".csv", ".json", ".jsonl", ".md", ".txt"}


def remove(names: set[str], paths: Paths) -> int:
    """Remove the clips; can be repeated, for what an interrupted run left.

    Returns:
        How many files of later stages showed or named them, and are gone, too.
    """
    _remove_from_manifest(names)
    _remove_videos(names, paths)
    _remove_media(names, paths)
    _remove_annotations(names, paths)
    return _remove_derived(names, paths)


def _remove_from_manifest(names: set[str]) -> None:
    """Take the rows out of the manifest; the other rows of a CSV stay byte for byte.

    The demo's manifest is an output of the sample stage: ingest leaves the rows out.
    """
    manifest = manifest_file()
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
    for file in split_files(paths):
        annotations = read_annotations(file)
        gone = {video.id for video in annotations.videos if video_id_of(video.name) in names}
        if gone:
            annotations.videos = [video for video in annotations.videos if video.id not in gone]
            annotations.tracks = [track for track in annotations.tracks if track.video_id not in gone]
            write_annotations(file, annotations)
    summary = paths.annotations / "summary.json"
    if summary.is_file() and name_pattern(names).search(summary.read_text("utf-8", errors="replace")):
        summary.unlink()


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
    for answers in sorted((paths.root / "mllm").glob("*/answers.sqlite")):
        with Answers(answers) as known:  # the others are paid for, and stay
            count += known.forget(lambda name: video_id_of(name) in names) > 0
    of_numbers = ("predictions/*/results.json", "mllm/*/masks-*.json")  # they name clips by numbers
    for predictions in sorted(file for pattern in of_numbers for file in paths.root.glob(pattern)):
        predictions.unlink()
        count += 1
    return count
