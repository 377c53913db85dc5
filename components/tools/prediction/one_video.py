"""One video: find its objects, write what was asked for, and say in a row how it went."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path

from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.media.container import MediaError, MediaProblem
from components.core.media.published_sound import Resampling
from components.core.media.reading import READING
from components.core.records.changes import Changes
from components.core.run.disk import DiskFullError, noticing_full_disk
from components.core.run.errors import AvisError
from components.core.run.files import nearest_folder, replace_folder, write_json
from components.core.text.redaction import redacted_address
from components.core.video.any_model import Reading, load_any
from components.core.video.clip import VideoClip
from components.core.video.explain import explain
from components.core.video.tracks import VideoTracks, clip_of, find_in_video
from components.tools.prediction.inputs import Input
from components.tools.prediction.saving import chosen_savers

EXPLANATION = "explain.json"  # of --explain
SUMMARY = "prediction.json"  # of each video's folder: its row, and what decided the result


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is done with every video.

    model: a folder or a released file; deaf_model: one that hears nothing, for videos without sound, or None.
    params: the `predict` block. reading: of a released file. save: kinds of output, in order.
    rate_hz: computed frames a second; None: as the model was trained.
    audio_weights: of a model that hears features. resampling: of the sound.
    threads: of torch; None: as it likes. explain: predict again without parts of sound and picture.
    strict: what is read otherwise than it stands in the file is an error.
    """

    model: Path
    params: PredictParams
    save: tuple[str, ...]
    reading: Reading = field(default_factory=Reading)
    deaf_model: Path | None = None
    rate_hz: float | None = None
    audio_weights: Path | None = None
    resampling: Resampling = "ffmpeg"
    threads: int | None = None
    explain: bool = False
    strict: bool = False

    def fingerprint(self, source: Input) -> str:
        """Changes when the video has to be predicted anew, by the model that hears."""
        files = [self.model, self.audio_weights, source.path]
        values = [
            *(_stamp(file) for file in files),
            *(redacted_address(source.source), source.start_s, source.end_s, source.sha256),
            *(
                self.params.model_dump_json(),
                self.reading.text,
                self.save,
                self.rate_hz,
                self.resampling,
                self.explain,
            ),
            READING,
        ]
        return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: one video.

    status: ok, or why not; cause: in words. best_score: of the tracks, or of the likeliest candidate below
    the threshold. deaf: the model did not hear it. folder: where its outputs are.
    """

    video: str
    source: str
    status: str
    cause: str = ""
    objects: int = 0
    sounds: str = ""  # "bell 1: 0-2 s; horn 2: 3-4 s"
    best_score: float = 0.0
    frames: int = 0
    rate_hz: float = 0.0
    duration_s: float = 0.0
    start_s: float | None = None
    end_s: float | None = None
    deaf: bool = False
    changes: str = ""
    folder: str = ""


COLUMNS = tuple(column.name for column in fields(Row))


@dataclass(frozen=True)
class Task:
    """One video's work, as a worker gets it.

    path: where it lies; source.path, or what ingest brought. changed: by ingest, on the way.
    """

    source: Input
    path: Path
    wanted: Wanted
    out: Path
    progress: bool
    changed: Changes = field(default_factory=Changes)


def predict_one(task: Task) -> Row:
    """Predict a video into a folder of its own, which is there completely or not at all.

    Raises:
        DiskFullError: there is no room. Everything else that can be wrong with one video is in the row.
    """
    source, wanted, folder = task.source, task.wanted, task.out / task.source.name
    row = Row(
        video=source.name, source=source.source, status="error", start_s=source.start_s, end_s=source.end_s
    )
    if wanted.threads is not None:
        import torch

        torch.set_num_threads(wanted.threads)
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / SUMMARY).is_file():
            raise AvisError(
                "the folder of its outputs holds files that `avis predict` did not write",
                where=str(folder),
                fix="Move them elsewhere, or name another folder with --out.",
            )
        with noticing_full_disk(nearest_folder(task.out), repr(source.name), lambda: None):
            found, predictor = _find(task)
            found.changes.refuse({}, strict=wanted.strict, max_share=1, where=found.name, setting="")
            with replace_folder(folder) as new:
                for saver in chosen_savers(wanted.save):
                    saver.write(new, found)
                if wanted.explain:
                    _explain(new, found, predictor, wanted)
                row = _row_of(row, found, folder)
                decided = {"fingerprint": wanted.fingerprint(source), "deaf_model": _stamp(wanted.deaf_model)}
                write_json(new / SUMMARY, {**decided, "row": asdict(row)})
    except DiskFullError:
        raise
    except MediaError as error:
        return replace(row, status=error.problem.value, cause=str(error))
    except AvisError as error:
        return replace(row, cause=str(error))
    return row


def finished(source: Input, wanted: Wanted, out: Path) -> Row | None:
    """The row of a video that an earlier run predicted with the same settings."""
    try:
        summary = json.loads((out / source.name / SUMMARY).read_text(encoding="utf-8"))
        row = Row(**summary["row"])
        is_same = (
            summary["fingerprint"] == wanted.fingerprint(source)
            and (not row.deaf or summary["deaf_model"] == _stamp(wanted.deaf_model))
            and not (row.changes and wanted.strict)
        )
        return row if is_same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _explain(folder: Path, found: VideoTracks, predictor: Predictor, wanted: Wanted) -> None:
    def clip(muted_s: tuple[float, float]) -> VideoClip:
        return clip_of(
            predictor,
            found.video,
            found.rate_hz,
            audio_weights=wanted.audio_weights,
            resampling=wanted.resampling,
            muted_s=muted_s,
        )

    explained = zip(found.objects, explain(predictor, found, clip), strict=True)
    rows = [{"name": thing.name, "says": why.sentence(thing.name), **asdict(why)} for thing, why in explained]
    write_json(folder / EXPLANATION, rows)


def _find(task: Task) -> tuple[VideoTracks, Predictor]:
    """With the model, or, of a video without sound, with the deaf one."""
    wanted = task.wanted
    try:
        return _find_with(wanted.model, task)
    except MediaError as error:
        if error.problem is not MediaProblem.NO_AUDIO or wanted.deaf_model is None:
            raise
        return _find_with(wanted.deaf_model, task)


def _find_with(model: Path, task: Task) -> tuple[VideoTracks, Predictor]:
    wanted = task.wanted
    reading = wanted.reading if model == wanted.model else Reading()
    predictor = replace(_predictor(model, wanted.params, reading), work_folder=nearest_folder(task.out))
    found = find_in_video(
        predictor,
        task.path,
        model_path=model,
        rate_hz=wanted.rate_hz,
        audio_weights=wanted.audio_weights,
        resampling=wanted.resampling,
        progress=task.progress,
    )
    source = task.source
    name = source.path.name if source.path is not None else source.name
    changes = Changes(task.changed)
    changes.extend(change for change in found.changes if str(change) not in task.changed.sentences())
    return replace(found, name=name, changes=changes), predictor


@lru_cache(maxsize=2)  # the model and the deaf one: a worker reads each once
def _predictor(model: Path, params: PredictParams, reading: Reading) -> Predictor:
    predictor, _ = load_any(model, params, reading)
    return predictor


def _row_of(row: Row, found: VideoTracks, folder: Path) -> Row:
    return replace(
        row,
        status="ok",
        objects=len(found.objects),
        sounds="; ".join(f"{thing.name}: {said_intervals(thing.intervals_s)}" for thing in found.objects),
        best_score=found.best_score,
        frames=found.frames,
        rate_hz=found.rate_hz,
        duration_s=round(found.frames / found.rate_hz, 3),
        deaf=found.is_deaf,
        changes="; ".join(found.changes.sentences()),
        folder=str(folder),
    )


def said_intervals(intervals_s: Sequence[tuple[float, float]]) -> str:
    """Seconds as people read them."""
    return ", ".join(f"{start:g}-{end:g} s" for start, end in intervals_s)


def _stamp(path: Path | None) -> list[object] | None:
    """Of a file, or of the weights in a folder."""
    if path is None or not path.exists():
        return None
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [str(path), *([file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files)]
