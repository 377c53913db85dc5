"""Where AVSBench keeps the frames, sound and masks of a video, in the three layouts that it is published in.

S4 (one source) and MS3 (more) have 5 frames a video, AVSS 5 or 10, one per second; S4's and MS3's are
numbered from 1, AVSS's from 0.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.core.run.errors import AvisError
from components.core.run.files import safe_name

Layout = Literal["s4", "ms3", "avss"]

_TABLES = {"s4": "s4_meta_data.csv", "ms3": "ms3_meta_data.csv", "avss": "metadata.csv"}
_COLUMNS = {"s4": ("category", "split"), "ms3": ("split",), "avss": ("uid", "label", "split")}
_SUBSETS = {"v1s": 5, "v1m": 5, "v2": 10}  # of AVSS, with the frames of a video
_FRAMES = 5  # of S4 and MS3


@dataclass(frozen=True)
class AvsVideo:
    """One video. `masks` belong to its first frames; only training videos have fewer of them than frames.

    group: S4: its category; AVSS: its subset (v1s, v1m, v2); MS3: nothing.
    """

    name: str
    group: str
    frames: tuple[Path, ...]
    sound: Path
    masks: tuple[Path, ...]


def find_videos(folder: Path, layout: Layout, split: str) -> list[AvsVideo]:
    """The videos of a split, in the order of the published table; their files may be missing.

    Args:
        folder: holds the table: s4_meta_data.csv, ms3_meta_data.csv or metadata.csv.
        layout: of the download.
        split: a word of the table's column `split`: train, val or test.

    Raises:
        AvisError: the table is missing or damaged, names a video twice or one that cannot be a file's name,
            or has no video in that split.
    """
    table = folder / _TABLES[layout]
    rows = _read_table(table, layout)
    videos: dict[tuple[str, str], AvsVideo] = {}
    for number, row in rows:
        if row["split"] != split:
            continue
        where = f"{table}, line {number}"
        video = _video(folder, layout, split, row, where)
        if (video.group, video.name) in videos:
            raise AvisError(f"the video {video.name} stands twice in the split {split}", where=where)
        videos[video.group, video.name] = video
    if not videos:
        counts = Counter(row["split"] for _, row in rows)
        there = _listed([f"{name[:40]} ({count} videos)" for name, count in counts.most_common()])
        raise AvisError(
            f"there is no video of the split {split!r}", where=str(table), fix=f"There are: {there}."
        )
    return list(videos.values())


def check_files(videos: list[AvsVideo], *, frames: bool, sound: bool) -> None:
    """Are the masks there, and what else is needed?

    Raises:
        AvisError: files are missing: how many, and the first.
    """
    needed = [
        path
        for video in videos
        for path in (*video.masks, *(video.frames if frames else ()), *((video.sound,) if sound else ()))
    ]
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise AvisError(
            f"{len(missing)} of the {len(needed)} files of these videos are missing, the first",
            where=str(missing[0]),
            fix="Unpack the download completely; docs/avsbench.md shows the folders.",
        )


def _read_table(table: Path, layout: Layout) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers; `name` is the first column, whatever it is called."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    except FileNotFoundError:
        raise AvisError(
            f"there is no {table.name}",
            where=str(table.parent),
            fix=f"Name the folder of the layout {layout}, as published: it holds that file.",
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AvisError(f"the table cannot be read: {error}", where=str(table)) from None
    for column in _COLUMNS[layout]:
        if column not in header:
            raise AvisError(
                f"the table has no column {column!r}",
                where=str(table),
                fix=f"It has: {_listed([name[:40] for name in header])}. Is --layout what was downloaded?",
            )
    rows = []
    for number, cells in lines:
        if len(cells) != len(header):
            raise AvisError(
                f"the row has {len(cells)} cells, the table {len(header)} columns",
                where=f"{table}, line {number}",
            )
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        rows.append((number, {**row, "name": cells[0].strip()}))
    return rows


def _listed(names: list[str]) -> str:
    """At most 10 of them: a file that is no such table may have any number."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"


def _video(folder: Path, layout: Layout, split: str, row: dict[str, str], where: str) -> AvsVideo:
    try:
        safe_name(split)
        if layout == "avss":
            return _avss_video(folder, split, safe_name(row["uid"]), row["label"], where)
        name = safe_name(row["name"])
        if layout == "s4":
            return _s4_video(folder / "s4_data", split, name, safe_name(row["category"]))
    except AvisError as error:
        raise AvisError(error.what, where=where, fix=error.fix) from None
    return _ms3_video(folder / "ms3_data", split, name)


def _s4_video(data: Path, split: str, name: str, category: str) -> AvsVideo:
    place = Path(split) / category
    numbers = range(1, _FRAMES + 1)
    annotated = numbers[:1] if split == "train" else numbers
    return AvsVideo(
        name,
        category,
        frames=tuple(data / "visual_frames" / place / name / f"{name}_{k}.png" for k in numbers),
        sound=data / "audio_wav" / place / f"{name}.wav",
        masks=tuple(data / "gt_masks" / place / name / f"{name}_{k}.png" for k in annotated),
    )


def _ms3_video(data: Path, split: str, name: str) -> AvsVideo:
    numbers = range(1, _FRAMES + 1)
    return AvsVideo(
        name,
        "",
        frames=tuple(data / "visual_frames" / name / f"{name}.mp4_{k}.png" for k in numbers),
        sound=data / "audio_wav" / split / f"{name}.wav",
        masks=tuple(data / "gt_masks" / split / name / f"{name}_{k}.png" for k in numbers),
    )


def _avss_video(folder: Path, split: str, name: str, subset: str, where: str) -> AvsVideo:
    if subset not in _SUBSETS:
        raise AvisError(
            f"the video {name} is of the subset {subset[:40]!r}",
            where=where,
            fix=f"There are: {', '.join(_SUBSETS)}.",
        )
    home = folder / subset / name
    numbers = range(_SUBSETS[subset])
    annotated = numbers[:1] if split == "train" and subset == "v1s" else numbers
    return AvsVideo(
        name,
        subset,
        frames=tuple(home / "frames" / f"{k}.jpg" for k in numbers),
        sound=home / "audio.wav",
        masks=tuple(home / "labels_rgb" / f"{k}.png" for k in annotated),
    )
