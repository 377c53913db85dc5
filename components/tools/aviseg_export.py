"""Write the media and annotations as AVISeg publishes its own, so that published code can train on them.

DIR/<split>.json
DIR/<split>/JPEGImages/<video>/00000.jpg, …
DIR/<split>/WAVAudios/<video>.wav       44.1 kHz, stereo, 16 bit
DIR/<split>/FEATAudios/<video>.npy      float32 [frames, 128], one VGGish embedding per second
"""

import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.media.sound import read_sound
from components.core.raw.frame_folder import AUDIO_NAME, FRAMES_SUFFIX, frame_files, link_or_copy
from components.core.raw.index import read_raw_index
from components.core.records.annotations import SPLITS, Video, read_annotations
from components.core.run.engine import run_items
from components.core.run.errors import AvisError
from components.core.run.files import replace_file, replace_folder, safe_name, write_bytes
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage.base import Store
from components.core.storage.choice import open_store, read_storage
from components.core.storage.mirror import with_local_media
from components.extract.write_media import SAMPLE_RATE_HZ, audio_file, features_file, frames_folder, write_wav

Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_RATE_HZ = 44_100
_WIDTH = 128


@dataclass(frozen=True, slots=True)
class Exported:
    """How many videos each split got, and how many of them have audio features."""

    videos: dict[str, int]
    features: int

    def __str__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.videos.items())
        total = sum(self.videos.values())
        if self.features == total:
            return f"{total} videos ({splits})"
        return f"{total} videos ({splits}); FEATAudios holds {self.features} of them: no embedding was given"


def export(
    folder: Path,
    *,
    paths: Paths | None = None,
    engine: EngineParams | None = None,
    embed: Embed | None = None,
) -> Exported:
    """Export all annotated splits.

    Args:
        folder: a new or empty folder.
        paths: where the pipeline's data are.
        engine: where the work runs.
        embed: turns mono sound, float32 [n] at 16 kHz, into one embedding per second, float32 [seconds, 128];
            used for videos without ready-made features, which otherwise get none. It must be picklable.

    Raises:
        AvisError: the folder is not empty, there are no annotations, or a video lacks its media.
    """
    paths = paths or Paths()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AvisError("the folder for the export is not empty", where=str(folder), fix="Name a new one.")
    storage = read_storage()
    paths = with_local_media(paths, storage=storage)
    items = []
    counts: dict[str, int] = {}
    for split in SPLITS:
        source = paths.annotations / f"{split}.json"
        if source.is_file():
            videos = read_annotations(source).videos
            items += [(f"{split}/{video.name}", (split, video)) for video in videos]
            counts[split] = len(videos)
    if not items:
        raise AvisError(
            "there is nothing to export", where=str(paths.annotations), fix="Run the annotate stage first."
        )
    raw = open_store(storage.raw, paths.raw)
    with replace_folder(folder) as unfinished:  # who was killed can start again
        work = partial(
            _export_video, folder=unfinished, paths=paths, raw=raw, names=_raw_names(paths), embed=embed
        )
        features = 0
        for outcome in run_items(work, items, engine=engine or EngineParams(), label="export"):
            if outcome.kind != "ok":
                raise AvisError(outcome.message, where=outcome.key)
            features += bool(outcome.value)
        for split in counts:
            write_bytes(unfinished / f"{split}.json", (paths.annotations / f"{split}.json").read_bytes())
    return Exported(counts, features)


def _raw_names(paths: Paths) -> dict[str, str]:
    """The raw file or folder of each video, where data/raw is there: its sound is better than 16 kHz mono."""
    index = paths.raw / "index.parquet"
    if not index.is_file():
        return {}
    return {row.video_id: row.path for row in read_raw_index(index) if row.path is not None}


def _export_video(
    item: tuple[str, Video],
    *,
    folder: Path,
    paths: Paths,
    raw: Store,
    names: dict[str, str],
    embed: Embed | None,
) -> bool:
    """Export one video; return whether it got audio features."""
    split, video = item
    name = safe_name(video.name)
    frames = frames_folder(paths.media, name)
    found = frame_files(frames) if frames.is_dir() else []
    if len(found) != video.length:
        raise AvisError(
            f"{len(found)} frames are there, the annotations have {video.length}",
            where=str(frames),
            fix="Run the extract stage.",
        )
    target = folder / split / "JPEGImages" / name
    target.mkdir(parents=True)
    for frame in found:
        link_or_copy(frame, target / frame.name)
    audio = folder / split / "WAVAudios" / f"{name}.wav"
    audio.parent.mkdir(parents=True, exist_ok=True)
    with raw.workspace() as scratch:
        source = raw.get(names[name], scratch) if name in names else audio_file(paths.media, name)
        if source.name.endswith(FRAMES_SUFFIX):
            source = source / AUDIO_NAME
        if not source.exists():
            source = audio_file(paths.media, name)
        _export_sound(source, audio, video.length)
    return _export_features(folder / split / "FEATAudios" / f"{name}.npy", paths, video, embed)


def _export_sound(source: Path, audio: Path, length_s: int) -> None:
    if _is_published_kind(source):
        shutil.copyfile(source, audio)
    else:
        sound = read_sound(source, rate_hz=_RATE_HZ, channels=2)
        samples = np.zeros((length_s * _RATE_HZ, 2), dtype=np.int16)
        kept = min(len(sound), len(samples))
        samples[:kept] = sound[:kept]
        write_wav(audio, samples, _RATE_HZ)


def _is_published_kind(path: Path) -> bool:
    if path.suffix != ".wav":
        return False
    try:
        with wave.open(str(path)) as file:
            return (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (_RATE_HZ, 2, 2)
    except (wave.Error, EOFError):
        return False


def _export_features(target: Path, paths: Paths, video: Video, embed: Embed | None) -> bool:
    ready = features_file(paths.media, video.name)
    if ready.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(ready, target)
        return True
    if embed is None:
        return False
    sound = read_sound(audio_file(paths.media, video.name), rate_hz=SAMPLE_RATE_HZ)[:, 0]
    features = np.asarray(embed(sound.astype(np.float32) / 32768.0), dtype=np.float32)
    if features.shape != (video.length, _WIDTH):
        raise AvisError(f"the embedding gives {features.shape} instead of ({video.length}, {_WIDTH})")
    with replace_file(target, ".npy") as temporary:
        np.save(temporary, features)
    return True
