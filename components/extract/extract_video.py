"""One raw video: its frames and its sound, in one decode."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.clips.index import FEATURES_OF_SOURCE, MediaEntry
from components.core.media.container import MediaError, MediaProblem
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.published_sound import soundtrack_for
from components.core.media.reading import READING
from components.core.media.sound import read_sound
from components.core.raw.frame_folder import (
    AUDIO_NAME,
    FEATURES_NAME,
    FRAMES_SUFFIX,
    frame_files,
    link_or_copy,
    sha256_folder,
)
from components.core.raw.index import RawEntry, Status
from components.core.records.changes import Changes
from components.core.run.disk import noticing_full_disk
from components.core.run.files import replace_file, replace_folder, sha256_file
from components.core.storage.base import Store
from components.core.storage.names import all_names, names
from components.extract.params import ExtractParams
from components.extract.write_media import (
    SAMPLE_RATE_HZ,
    audio_file,
    features_file,
    frames_folder,
    write_frames,
    write_wav,
)

_FEATURE_WIDTH = 128


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs for one video: `raw` has the video, `media` receives what is made of it."""

    entry: RawEntry
    params: ExtractParams
    raw: Store
    media: Store


def fingerprint(entry: RawEntry, params: ExtractParams) -> str:
    """Changes when the media must be made anew."""
    decisive: list[str | float | bool | None] = [
        entry.sha256,
        params.frame_rate_hz,
        params.jpeg_quality,
        READING,
    ]
    if params.resampling != "ffmpeg":
        decisive.append(params.resampling)
    if is_frames(entry) and not params.keeps_features:
        decisive.append("without its features")
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]


def new_row(entry: RawEntry, params: ExtractParams, status: Status, message: str) -> MediaEntry:
    """A video's row, so far without media."""
    return MediaEntry(
        video_id=entry.video_id,
        status=status.value,
        message=message,
        frames=0,
        width=0,
        height=0,
        audio_samples=0,
        frame_rate_hz=params.frame_rate_hz,
        license=entry.license,
        frames_sha256=None,
        audio_sha256=None,
        split=entry.split,
        fingerprint=fingerprint(entry, params) if entry.status is Status.OK else "",
    )


def extract_video(task: Task) -> MediaEntry:
    """Make the media of one video; what is wrong with it becomes a status.

    Raises:
        DiskFullError: this machine's disk is.
        OSError: of this machine.
        StorageError: the video cannot be fetched, or the media cannot be stored.
    """
    entry = task.entry
    try:
        if entry.path is None:
            raise MediaError("the index names no file")
        with (
            task.raw.workspace() as scratch,
            task.media.workspace() as media,
            noticing_full_disk(media, repr(entry.video_id), lambda: None),
        ):
            source = task.raw.get(entry.path, scratch)
            if not task.raw.is_local and _sha256(source) != entry.sha256:
                raise MediaError("the store holds another file than the index says")
            take = _take_frames if is_frames(entry) else _decode
            row = take(task, source, media)
            for name in names(row):
                task.media.put(media, name)
            task.media.remove(set(all_names(entry.video_id)) - set(names(row)))
            return row
    except MediaError as error:
        task.media.remove(all_names(entry.video_id))
        return new_row(entry, task.params, Status(error.problem.value), error.what)


def _sha256(path: Path) -> str:
    return sha256_folder(path) if path.is_dir() else sha256_file(path)


def is_frames(entry: RawEntry) -> bool:
    """Whether the video came as a folder of frames, perhaps with audio features."""
    return entry.path is not None and entry.path.endswith(FRAMES_SUFFIX)


def _decode(task: Task, source: Path, media: Path) -> MediaEntry:
    params, video_id = task.params, task.entry.video_id
    reader = ClipReader(
        source,
        frame_rate_hz=params.frame_rate_hz,
        sample_rate_hz=SAMPLE_RATE_HZ,
        threads=1,
        resampling=params.resampling,
    )

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for _, picture in reader:
            yield picture

    frames, width, height, frames_sha256 = write_frames(
        frames_folder(media, video_id),
        pictures(),
        params.jpeg_quality,
        expected=round((task.entry.duration_s or 0.0) * params.frame_rate_hz),
    )
    audio_sha256 = write_wav(audio_file(media, video_id), reader.audio, SAMPLE_RATE_HZ)
    return replace(
        new_row(task.entry, params, Status.OK, ""),
        frames=frames,
        width=width,
        height=height,
        audio_samples=len(reader.audio),
        duration_s=round(reader.duration_s, 6),
        frames_sha256=frames_sha256,
        audio_sha256=audio_sha256,
        changes=reader.changes.text(),
    )


def _take_frames(task: Task, source: Path, media: Path) -> MediaEntry:
    """A folder that already holds one frame per second: its JPEGs are kept as they are."""
    params, video_id = task.params, task.entry.video_id
    if params.frame_rate_hz != 1.0:
        raise MediaError(f"frames come once per second, extract.frame_rate_hz is {params.frame_rate_hz:g}")
    frames = frame_files(source) if source.is_dir() else []
    if not frames:
        raise MediaError("the folder holds no frames", problem=MediaProblem.NO_VIDEO)
    changes = Changes()
    collected = soundtrack_for(source / AUDIO_NAME, params.resampling, rate_hz=SAMPLE_RATE_HZ)
    sound = read_sound(source / AUDIO_NAME, rate_hz=SAMPLE_RATE_HZ, changes=changes, sound=collected)[:, 0]
    count = len(frames) * SAMPLE_RATE_HZ
    samples = np.zeros(count, dtype=np.int16)
    samples[: min(len(sound), count)] = sound[:count]
    folder = frames_folder(media, video_id)
    with replace_folder(folder) as temporary:
        for index, frame in enumerate(frames):
            link_or_copy(frame, temporary / f"{index:05d}.jpg")
    row = replace(
        new_row(task.entry, params, Status.OK, ""),
        frames=len(frames),
        width=task.entry.width or 0,
        height=task.entry.height or 0,
        audio_samples=count,
        duration_s=float(len(frames)),
        frames_sha256=sha256_folder(folder),
        audio_sha256=write_wav(audio_file(media, video_id), samples, SAMPLE_RATE_HZ),
        changes=changes.text(),
    )
    return _take_features(task, source, row, media)


def _take_features(task: Task, source: Path, row: MediaEntry, media: Path) -> MediaEntry:
    """Keep features that came with the frames; a remark says if they do not fit."""
    target = features_file(media, task.entry.video_id)
    path = source / FEATURES_NAME
    if not path.is_file() or not task.params.keeps_features:
        return row
    left_out = "its audio features are left out: "
    try:
        features = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        return replace(row, message=f"{left_out}{error}")
    # H2S's are of several separated sources
    if features.shape[:1] + features.shape[-1:] != (row.frames, _FEATURE_WIDTH) or features.ndim > 3:
        wanted = (row.frames, _FEATURE_WIDTH)
        return replace(row, message=f"{left_out}{features.shape} instead of {wanted}")
    with replace_file(target, ".npy") as temporary:
        np.save(temporary, features.astype(np.float32))
    return replace(row, features_from=FEATURES_OF_SOURCE, features_sha256=sha256_file(target))
