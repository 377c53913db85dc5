"""Overlay videos of test clips: ground truth and prediction side by side, with the clip's sound."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.metrics.accumulate import Row
from components.core.metrics.overlaps import VideoMasks
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.checked_results import ResultsIndex, read_rows
from components.core.records.masks import Segmentation
from components.core.reports.overlay import Lane, OverlayTrack, Panel, render_overlay, track_colours
from components.core.run.engine import run_items
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.evaluate.params import EvaluateParams

_MOST_PREDICTED = 12  # tracks drawn of a clip, the best scores first
_PICTURE_RATE_HZ = 4.0  # in which the line of time moves
_AUDIO_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Media:
    """Where the clips' pictures and sounds are.

    frames: folder of the ground truth's file_names; sounds: folder of <clip>.wav. Without sounds the films
    are silent and a frame stands for a second.
    """

    frames: Path
    sounds: Path | None = None


def pipeline_media(paths: Paths, annotations: AnnotationSet) -> Media:
    """Return where the pipeline keeps the media of these clips."""
    paths = with_local_media(paths, [video.name for video in annotations.videos])
    return Media(paths.media / "frames", paths.media / "audio")


def find_media(folder: Path) -> Media:
    """Recognise a folder of media: AVISeg's JPEGImages and WAVAudios, or the pipeline's data/media.

    Raises:
        AvisError: it is neither.
    """
    for frames, sounds in (("JPEGImages", "WAVAudios"), ("frames", "audio")):
        if (folder / frames).is_dir():
            return Media(folder / frames, folder / sounds if (folder / sounds).is_dir() else None)
    raise AvisError(
        "there are no pictures of clips",
        where=str(folder),
        fix="Give a folder with JPEGImages/<video>/<frame>.jpg (and WAVAudios/<video>.wav), or data/media.",
    )


@dataclass(frozen=True, slots=True)
class FilmSource:
    """All that films are made of: ground truth, results and media. Rows that are wrong are left out; a strict
    evaluation has complained about them before."""

    annotations: AnnotationSet
    index: ResultsIndex
    media: Media

    def masks_of(self, video: Video) -> VideoMasks:
        """Read what the films need of one video."""
        tracks = [track for track in self.annotations.tracks if track.video_id == video.id]
        categories, path = self.annotations.categories, self.index.path
        rows, _ = read_rows(
            self.index.of(video), video, categories, path=path, reading=self.index.reading, lenient=True
        )
        return VideoMasks(video, tracks, rows)


@dataclass(frozen=True, slots=True)
class Film:
    """What one overlay video shows."""

    masks: VideoMasks
    categories: Mapping[int, str]
    title: str


def choose_films(clips: Sequence[Row], params: EvaluateParams) -> list[tuple[str, str]]:
    """Choose clips by their corrected scores: (video, "worst 1" | "best 1" | "random"), none twice.

    Clips without a score in FSLA do not take part; equal scores go by HOTA, then by name.
    """
    ranked = sorted(
        (row for row in clips if row["FSLA"] is not None),
        key=lambda row: (-_number(row["FSLA"]), -_number(row["HOTA"]), str(row["video"])),
    )
    names = [str(row["video"]) for row in ranked]
    best = names[: params.overlays_best]
    worst = [name for name in reversed(names) if name not in best][: params.overlays_worst]
    rest = sorted(set(names) - set(best) - set(worst))
    chosen = random.Random(params.seed).sample(rest, min(params.overlays_random, len(rest)))  # noqa: S311
    return [
        *((name, f"worst {place}") for place, name in enumerate(worst, start=1)),
        *((name, f"best {place}") for place, name in enumerate(best, start=1)),
        *((name, "random") for name in chosen),
    ]


def write_films(
    folder: Path,
    chosen: Sequence[tuple[str, str]],
    source: FilmSource,
    *,
    score_threshold: float,
    params: EvaluateParams,
    engine: EngineParams,
) -> list[str]:
    """Write `<video>.mp4` into the folder for each chosen clip; return what could not be made and why."""
    folder.mkdir(parents=True, exist_ok=True)
    videos = {video.name: video for video in source.annotations.videos}
    items = []
    for name, reason in chosen:
        item = source.masks_of(videos[name])
        shown = [(row, result) for row, result in item.results if result.score >= score_threshold]
        film = Film(replace(item, results=shown), source.annotations.categories, f"{name} ({reason})")
        items.append((name, film))
    if not items:
        return []
    work = partial(write_film, folder=folder, params=params, media=source.media)
    outcomes = run_items(work, items, engine=engine, label="overlays")
    return sorted(f"{outcome.key}: {outcome.message}" for outcome in outcomes if outcome.kind != "ok")


def write_film(film: Film, *, folder: Path, params: EvaluateParams, media: Media) -> None:
    """Write one overlay video.

    Raises:
        AvisError: the clip's frames or sound are missing or damaged.
    """
    video = film.masks.video
    truth = overlay_tracks(
        film.categories, [(track.category_id, track.segmentations, None) for track in film.masks.tracks]
    )
    ranked = sorted((result for _, result in film.masks.results), key=lambda result: -result.score)
    predicted = overlay_tracks(
        film.categories,
        [(result.category_id, result.segmentations, result.score) for result in ranked[:_MOST_PREDICTED]],
    )
    audio = None if media.sounds is None else _sound(media.sounds / f"{video.name}.wav")
    seconds = video.length if audio is None else len(audio) / _AUDIO_RATE_HZ
    frame_rate_hz = video.length / seconds if seconds else 1.0
    rate_hz = max(_PICTURE_RATE_HZ, frame_rate_hz)
    left_out = max(0, len(ranked) - _MOST_PREDICTED)
    render_overlay(
        folder / f"{video.name}.mp4",
        _pictures(video, rate_hz, frame_rate_hz, media.frames),
        picture_rate_hz=rate_hz,
        panels=[
            Panel(f"{film.title}: ground truth", truth),
            Panel("prediction" + (f", {left_out} weaker tracks not shown" if left_out else ""), predicted),
        ],
        lanes=_lanes(truth, predicted),
        frame_rate_hz=frame_rate_hz,
        audio=audio,
        audio_rate_hz=_AUDIO_RATE_HZ,
        panel_height_px=params.overlay_height_px,
    )


def overlay_tracks(
    categories: Mapping[int, str], tracks: Sequence[tuple[int, Sequence[Segmentation], float | None]]
) -> list[OverlayTrack]:
    """Return what is drawn of tracks: (category, one segmentation per frame, score of a prediction)."""
    colours = track_colours([category for category, _, _ in tracks])
    return [
        OverlayTrack(categories[category] + ("" if score is None else f" {score:.2f}"), colour, segmentations)
        for (category, segmentations, score), colour in zip(tracks, colours, strict=True)
    ]


def _lanes(truth: Sequence[OverlayTrack], predicted: Sequence[OverlayTrack]) -> list[Lane]:
    """Put what the prediction says of a category under what is true of it."""
    lanes = [
        (_category(track), False, Lane(f"{track.label} · truth", track.colour, track.sounding()))
        for track in truth
    ]
    lanes += [
        (_category(track), True, Lane(f"{track.label} · predicted", track.colour, track.sounding(), False))
        for track in predicted
    ]
    return [lane for _, _, lane in sorted(lanes, key=lambda entry: entry[:2])]


def _category(track: OverlayTrack) -> str:
    return track.label.rstrip("0123456789. ")


def _pictures(
    video: Video, rate_hz: float, frame_rate_hz: float, frames: Path
) -> Iterator[NDArray[np.uint8]]:
    """Yield each annotated frame for as long as it stands for.

    The original video would move more smoothly, but its objects leave their masks, which are of one frame.
    """
    import cv2

    shown, picture = -1, None
    for index in range(round(video.length / frame_rate_hz * rate_hz)):
        frame = min(int(index / rate_hz * frame_rate_hz + 1e-6), video.length - 1)
        if frame != shown:
            path = frames / video.file_names[frame]
            read = cv2.imread(str(path))
            if read is None:
                raise AvisError(
                    "a frame cannot be read",
                    where=str(path),
                    fix="Check the media (pipeline: run extract again).",
                )
            shown, picture = frame, cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
        if picture is not None:
            yield picture


def _sound(path: Path) -> NDArray[np.float32]:
    from components.core.media.sound import read_sound

    samples = read_sound(path, rate_hz=_AUDIO_RATE_HZ)
    return samples[:, 0].astype(np.float32) / 32768.0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else -1.0
