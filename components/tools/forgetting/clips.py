"""Which clips are meant by ids, and which files name them."""

import re
from collections.abc import Iterable
from pathlib import Path

from components.core.raw.clip_names import source_of
from components.core.raw.forgotten import ForgottenVideos
from components.core.raw.index import read_raw_index
from components.core.raw.manifest_table import read_manifest_table
from components.core.records.annotations import SPLITS, read_annotations
from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.core.run.paths import Paths
from components.ingest.params import IngestParams


def find_clips(
    video_ids: list[str], paths: Paths, forgotten: ForgottenVideos, *, whole_source: bool
) -> dict[str, str | None]:
    """Return the clips that ids, or YouTube ids, stand for: the manifest's or the index's source by video_id.

    Args:
        whole_source: with all others that are cut from the same videos.

    Raises:
        AvisError: nothing is known of a video.
    """
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
    return clips


def _known(paths: Paths) -> dict[str, str | None]:
    """Source by video_id, of everything that the manifest, the index and the annotations name."""
    known: dict[str, str | None] = {}
    for file in split_files(paths):
        known |= {video.name: None for video in read_annotations(file).videos}
    if (paths.raw / "index.parquet").is_file():
        known |= {row.video_id: row.source for row in read_raw_index(paths.raw / "index.parquet")}
    manifest = manifest_file()
    if manifest.is_file():
        table = read_manifest_table(manifest)
        ids, sources = table.column("video_id").to_pylist(), table.column("source").to_pylist()
        known |= dict(zip(ids, sources, strict=True))
    return known


def split_files(paths: Paths) -> list[Path]:
    """Return the annotation files that are there."""
    return [file for split in SPLITS if (file := paths.annotations / f"{split}.json").is_file()]


def manifest_file() -> Path:
    """Return the manifest that ingest reads."""
    return Path(read_block("ingest", IngestParams, optional=True).manifest)


def name_pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds the names of clips in a text, not as parts of longer names."""
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_-])(?:{either})(?![A-Za-z0-9_-])")


def annotation_sources_that_name(names: Iterable[str]) -> list[Path]:
    """Return the files under annotate.source in which one of the clips is named."""
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
