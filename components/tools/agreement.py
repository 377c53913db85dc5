"""Agreement of people: the same clips annotated twice, scored as if one were a model's result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.core.metrics.score import score
from components.core.records.annotations import AnnotationSet, Track, Video, read_annotations
from components.core.records.masks import decode, encode
from components.core.records.results import Result
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.qa.tables.agreements import Agreement


def read_second_opinions(path: Path) -> AnnotationSet:
    """One AVISeg JSON file, or all of a folder.

    Raises:
        AvisError: nothing is there, it is malformed, or a clip is in two files.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise AvisError(
            "The folder has no .json file",
            where=str(path),
            fix="`avis convert` makes AVISeg JSON of exports.",
        )
    whole = AnnotationSet({}, [], [])
    ids: dict[str, int] = {}
    origin: dict[str, Path] = {}
    for file in files:
        part = read_annotations(file)
        for video in part.videos:
            if video.name in origin:
                raise AvisError(
                    f"The clip {video.name!r} is in two files", where=f"{origin[video.name]} and {file}"
                )
            origin[video.name] = file
            whole.videos.append(replace(video, id=len(whole.videos) + 1))
            whole.tracks += [
                replace(
                    track,
                    id=len(whole.tracks) + number,
                    video_id=len(whole.videos),
                    category_id=ids.setdefault(part.categories[track.category_id], len(ids) + 1),
                )
                for number, track in enumerate((t for t in part.tracks if t.video_id == video.id), start=1)
            ]
    whole.categories = {number: name for name, number in ids.items()}
    return whole


def agree(first: Mapping[str, AnnotationSet], second: AnnotationSet, engine: EngineParams) -> list[Agreement]:
    """Score the second annotations of clips against the first: a row for each clip, then one for all.

    Args:
        first: by split.
        second: of some of these clips.

    Raises:
        AvisError: a clip has another length or size in the two, or they have no clip in common.
    """
    others = {video.name: video for video in second.videos}
    ids = dict.fromkeys(second.categories.values())
    names = [name for part in first.values() for name in part.categories.values()]
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*names, *ids]), start=1)}
    truth = AnnotationSet({number: name for name, number in numbers.items()}, [], [])
    results: list[Result] = []
    splits: list[str] = []
    people: list[tuple[str, str]] = []
    for split, part in first.items():
        for video in part.videos:
            other = others.get(video.name)
            if other is None:
                continue
            if (video.length, video.height, video.width) != (other.length, other.height, other.width):
                raise AvisError(
                    f"The second annotation of {video.name!r} has {other.length} frames of "
                    f"{other.width}x{other.height}, the first {video.length} of {video.width}x{video.height}",
                    where="the second annotations",
                    fix="Both must be made for the frames of data/media/frames.",
                )
            number = len(truth.videos) + 1
            mine = [track for track in part.tracks if track.video_id == video.id]
            theirs = [track for track in second.tracks if track.video_id == other.id]
            truth.videos.append(replace(video, id=number))
            truth.tracks += [
                replace(
                    track,
                    id=len(truth.tracks) + place,
                    video_id=number,
                    category_id=numbers[part.categories[track.category_id]],
                )
                for place, track in enumerate(mine, start=1)
            ]
            results += [
                Result(number, numbers[second.categories[track.category_id]], 1.0, _codes(track, video))
                for track in theirs
            ]
            splits.append(split)
            people.append((_people(mine), _people(theirs)))
    if not truth.videos:
        raise AvisError(
            "No clip of the second annotations is in data/annotations",
            where="the second annotations",
            fix="Clips are matched by name.",
        )
    scores = score(truth, results, ("corrected",), engine=engine).protocols["corrected"]
    clips = [
        Agreement(split, str(row["video"]), _number(row["HOTA"]), _number(row["FSLA"]), *pair)
        for split, row, pair in zip(splits, scores.clips, people, strict=True)
    ]
    everybody = (
        ", ".join(sorted({one for one, _ in people if one})),
        ", ".join(sorted({two for _, two in people if two})),
    )
    whole = Agreement("", "", _number(scores.values["HOTA"]), _number(scores.values["FSLA"]), *everybody)
    return [*clips, whole]


def _codes(track: Track, video: Video) -> list[dict[str, Any] | None]:
    """The masks as results have them: run-length codes, polygons are drawn."""
    return [
        encode(decode(mask, video.height, video.width)) if isinstance(mask, list) else mask
        for mask in track.segmentations
    ]


def _people(tracks: Sequence[Track]) -> str:
    return ", ".join(sorted({track.annotator for track in tracks if track.annotator}))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
