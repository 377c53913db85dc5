"""The sample stage: compose the clips of all splits in parallel, then write annotations and manifest."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.records.annotations import MOST_FRAMES, AnnotationSet, Track, Video, write_annotations
from components.core.records.ranges import Bytes
from components.core.run.engine import run_items
from components.core.run.errors import AvisError
from components.core.run.files import remove_leftovers, sha256_file
from components.core.run.journal import Journal
from components.core.run.params import EngineParams, read_block, read_dataset
from components.core.run.paths import Paths
from components.core.run.process import run_stage
from components.sample.kit import Kit, load_kit
from components.sample.params import SampleParams
from components.sample.scene import SceneSettings, Split, check_held_out, scene_seed
from components.sample.write_clip import ClipTask, compose

LONGEST_CLIP_TIME_S = 60.0  # to compose one second of a clip; far beyond any machine's need


def main() -> None:
    """Run the stage as a process, with what params.yaml says."""

    def work() -> None:
        params = read_block("sample", SampleParams)
        if read_dataset() != "sample":  # the user's own videos: nothing to compose
            params = params.model_copy(update={"train_clips": 0, "val_clips": 0, "test_clips": 0})
        sample(params, read_block("engine", EngineParams), Paths())

    run_stage("sample", work)


def sample(params: SampleParams, engine: EngineParams, paths: Paths) -> None:
    """Compose data/sample/videos/*.mp4, annotations.json and manifest.csv.

    Started again after it was killed, it composes only the clips that are not finished.

    Raises:
        AvisError: the kit is incomplete or a file of it unreadable; a clip cannot be composed.
    """
    videos = paths.sample / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    remove_leftovers(paths.sample)
    tasks = _tasks(params, videos)
    if not tasks:
        _prune(videos, tasks)
        write_annotations(paths.sample / "annotations.json", AnnotationSet({}, [], []))
        write_manifest(paths.sample / "manifest.csv", [])
        return
    kit = load_kit(Path(params.kit))
    check_held_out(kit, params.held_out_sprites)
    journal = Journal(paths.sample / ".journal.jsonl", _fingerprint(params, kit))
    try:
        if not journal.finished:  # of another run, or none: what it left does not belong together any more
            for name in ("annotations.json", "manifest.csv"):
                (paths.sample / name).unlink(missing_ok=True)
        _prune(videos, tasks)
        finished = _compose_all(tasks, journal, engine, params.max_duration_s * LONGEST_CLIP_TIME_S)
        write_annotations(paths.sample / "annotations.json", _annotations(tasks, finished, kit, params))
        write_manifest(paths.sample / "manifest.csv", _manifest(tasks, kit, videos))
    except BaseException:
        journal.close()
        raise
    journal.remove()


def _prune(videos: Path, tasks: dict[str, ClipTask]) -> None:
    """Remove what earlier runs with more clips left."""
    for file in videos.iterdir():
        if file.stem not in tasks and file.is_file():
            file.unlink()


def _tasks(params: SampleParams, videos: Path) -> dict[str, ClipTask]:
    """What to compose, by video id, in the order of the annotations.

    Paths are absolute: a worker's current folder need not be ours.
    """
    counts: dict[Split, int] = {
        "train": params.train_clips,
        "val": params.val_clips,
        "test": params.test_clips,
    }
    tasks = {}
    for split, count in counts.items():
        settings = SceneSettings(
            split=split,
            width=params.width,
            height=params.height,
            min_duration_s=params.min_duration_s,
            max_duration_s=params.max_duration_s,
            held_out_sprites=params.held_out_sprites,
        )
        for index in range(count):
            video_id = f"sample_{split}_{index:04d}"
            tasks[video_id] = ClipTask(
                kit=Path(params.kit).resolve(),
                path=(videos / f"{video_id}.mp4").resolve(),
                seed=scene_seed(params.seed, split, index),
                settings=settings,
                frame_rate_hz=params.frame_rate_hz,
            )
    return tasks


def _compose_all(
    tasks: dict[str, ClipTask], journal: Journal, engine: EngineParams, timeout_s: float
) -> dict[str, dict[str, Any]]:
    """Results of compose by video id, from the journal where the file is still there."""
    todo = [(key, task) for key, task in tasks.items() if not _is_finished(task, journal.finished.get(key))]
    for outcome in run_items(compose, todo, engine=engine, timeout_s=timeout_s, label="compose clips"):
        if outcome.value is None:
            raise AvisError(
                f"clip {outcome.key} could not be composed: {outcome.message}",
                fix="the finished clips are kept: run the stage again to go on",
            )
        journal.record(outcome.key, outcome.value)
    return journal.finished


class _Traced(TypedDict):
    category: str
    segmentations: list[Any]


class _Composed(TypedDict):
    """A line of the journal."""

    bytes: Bytes
    frames: Annotated[int, Meta(ge=1, le=MOST_FRAMES)]
    tracks: list[_Traced]


def _is_finished(task: ClipTask, result: dict[str, Any] | None) -> bool:
    if result is None:
        return False
    try:
        msgspec.convert(result, _Composed)
    except msgspec.ValidationError:  # a damaged line
        return False
    return task.path.is_file() and task.path.stat().st_size == result["bytes"]


def _annotations(
    tasks: dict[str, ClipTask], finished: dict[str, dict[str, Any]], kit: Kit, params: SampleParams
) -> AnnotationSet:
    videos: list[Video] = []
    tracks: list[Track] = []
    for number, video_id in enumerate(tasks, start=1):
        result = finished[video_id]
        names = [f"{video_id}/{k:05d}.jpg" for k in range(result["frames"])]
        videos.append(Video(number, video_id, names, result["frames"], params.height, params.width))
        for track in result["tracks"]:
            category = kit.category_id(track["category"])
            tracks.append(Track(len(tracks) + 1, number, category, track["segmentations"]))
    categories = {kit.category_id(name): name for name in kit.categories}
    return AnnotationSet(categories, videos, tracks, {"description": "composed clips", "frame_rate_hz": 1})


def _manifest(tasks: dict[str, ClipTask], kit: Kit, videos: Path) -> list[ManifestEntry]:
    return [
        ManifestEntry(
            video_id, (videos / task.path.name).as_posix(), split=task.settings.split, license=kit.licence
        )
        for video_id, task in tasks.items()
    ]


def _fingerprint(params: SampleParams, kit: Kit) -> str:
    """What decides a clip's content: parameters but the numbers of clips, the kit's files, and this code."""
    files = [*kit.folder.rglob("*"), *Path(__file__).parent.glob("*.py")]
    contents = [sha256_file(file) for file in sorted(files) if file.is_file()]
    values = params.model_dump(mode="json", exclude={"train_clips", "val_clips", "test_clips"})
    return hashlib.sha256(json.dumps([values, contents], sort_keys=True).encode()).hexdigest()
