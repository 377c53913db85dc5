"""What does not fit into memory gives the same as what does: every block on the disk, every row apart."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from components.annotate.exports import read_sources
from components.annotate.formats import find_format
from components.core.records import json_rows, work_file
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.qa.label_files import read_split
from components.tools.convert import convert, write_target
from tests.unit.annotate.test_changed_files import FOLDER_FORMATS, JSON_FORMATS, base, files


@pytest.mark.parametrize("name", [*JSON_FORMATS, *FOLDER_FORMATS, "cvat"])
def test_the_same_is_read_and_written_when_nothing_stays_in_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.json"
    if name == "cvat":
        write_target(source.with_suffix(""), base(), find_format(name))
        source = source.with_suffix("")
    for inside, content in files().get(name, {}).items():
        place = source if inside == "a.json" else source / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    forced = name.partition("_folder")[0]

    def made(folder: str) -> dict[str, bytes]:
        for to in ("aviseg", "coco_video", "datumaro"):
            target = tmp_path / folder / f"{to}.json"
            convert(source, target, target_format=to, source_format=forced)
        return {file.name: file.read_bytes() for file in sorted((tmp_path / folder).iterdir())}

    expected = made("in_memory")
    monkeypatch.setattr(work_file, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(work_file, "_LEAST_MERGED", 0)
    monkeypatch.setattr(json_rows, "_BLOCK_BYTES", 16)
    assert made("on_disk") == expected


def of_export(path: Path) -> int:
    (source,) = read_sources(path, work=work_file.WorkFile(path.parent))
    return len(source.reading.annotations.tracks)


def of_qa(path: Path) -> int:
    return sum(len(clip.tracks) for clip in read_split(path, "train", path.parent, {}).clips)


def of_stages(path: Path) -> int:
    return len(read_annotations(path).tracks)


@pytest.mark.slow
@pytest.mark.parametrize("count_tracks", [of_export, of_qa, of_stages])
def test_memory_does_not_grow_with_the_file(
    count_tracks: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than a tenth of a file stays: the fields of videos and tracks, the places of masks."""
    monkeypatch.setattr(work_file, "_BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(json_rows, "_BLOCK_BYTES", 1 << 16)
    polygon = [float(k % 300) for k in range(1000)]

    def peak(videos: int) -> tuple[int, int]:
        path = tmp_path / f"{videos}.json"
        write_annotations(
            path,
            AnnotationSet(
                {1: "dog"},
                [
                    Video(n, f"v{n}", [f"v{n}/{k:05d}.jpg" for k in range(10)], 10, 30, 30)
                    for n in range(videos)
                ],
                [Track(n, n, 1, [[polygon]] * 10) for n in range(videos)],
            ),
        )
        tracemalloc.start()
        assert count_tracks(path) == videos
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, path.stat().st_size

    small, few_bytes = peak(10)

    def grows() -> bool:
        large, many_bytes = peak(60)
        return large - small >= 0.1 * (many_bytes - few_bytes)

    assert not grows() or not grows()  # Python's table of names may grow meanwhile, by 2 MB, but not twice
