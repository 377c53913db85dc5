"""One video of the user's own: which objects sound, when, and an overlay video with its sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.errors import AvisError
from components.core.files import write_json
from components.core.masks import is_empty
from components.core.media import ClipReader, probe, read_clip, read_sound
from components.core.media_folder import resize, seconds_of_sound
from components.core.overlay import Lane, OverlayTrack, Panel, render_overlay, track_colours
from components.core.records import Result
from components.predict.clips import Predictor
from components.predict.params import PredictParams

OVERLAY_RATE_HZ = 25.0  # at most; slower videos keep their own rate
SOUND_RATE_HZ = 44_100


@dataclass(frozen=True)
class SoundingObject:
    """One line of the answer."""

    category: str
    score: float
    intervals_s: list[tuple[float, float]]  # [start, end) in seconds


@dataclass(frozen=True)
class VideoPrediction:
    """What was found in a video and where it was written."""

    objects: list[SoundingObject]
    overlay: Path
    results: Path
    best_score: float  # of all candidates, below the threshold too; 0 without any


def predict_video(video: Path, out: Path, model_folder: Path, params: PredictParams) -> VideoPrediction:
    """Find the sounding objects of a video file; write ``<name>.overlay.mp4`` and ``<name>.json`` to ``out``.

    Raises:
        AvisError: the file cannot be read, has no sound that the model could hear, or there is no model.
    """
    if not video.is_file():
        raise AvisError("there is no such video", where=str(video))
    predictor = Predictor.load(model_folder, params)
    audio = predictor.model.config.audio
    if audio == "features":
        raise AvisError(
            "this model hears precomputed features, which a video file does not have",
            where=str(model_folder / "config.json"),
            fix="Use a variant with train.model.audio: vggish.",
        )
    rate_hz = predictor.card.frame_rate_hz
    clip = read_clip(video, frame_rate_hz=rate_hz, require_audio=audio == "vggish")
    if not clip.frames:
        raise AvisError(f"the video is shorter than {1 / rate_hz:g} s", where=str(video))
    side = predictor.card.short_side_px
    sound = seconds_of_sound(clip.audio, len(clip.frames), rate_hz) if audio == "vggish" else None
    every = Predictor(predictor.model, predictor.card, params.model_copy(update={"score_threshold": 0.0}))
    candidates = every.predict(
        1,
        (resize(frame, side) for frame in clip.frames),
        sound,
        length=len(clip.frames),
        height=clip.height,
        width=clip.width,
    )
    found = [track for track in candidates if track.score >= params.score_threshold]
    names = predictor.card.categories
    overlay, results = out / f"{video.stem}.overlay.mp4", out / f"{video.stem}.json"
    out.mkdir(parents=True, exist_ok=True)
    _write_overlay(overlay, video, found, names, rate_hz, length=len(clip.frames))
    objects = [
        SoundingObject(names[track.category_id], track.score, _intervals(track, rate_hz)) for track in found
    ]
    write_json(
        results,
        {
            "video": video.name,
            "frame_rate_hz": rate_hz,
            "frames": len(clip.frames),
            "width": clip.width,
            "height": clip.height,
            "score_threshold": params.score_threshold,
            "objects": [
                {
                    "category": thing.category,
                    "score": thing.score,
                    "intervals_s": [list(span) for span in thing.intervals_s],
                    "segmentations": [None if is_empty(mask) else mask for mask in track.segmentations],
                }
                for thing, track in zip(objects, found, strict=True)
            ],
        },
    )
    best = max((track.score for track in candidates), default=0.0)
    return VideoPrediction(objects, overlay, results, best)


def _intervals(track: Result, rate_hz: float) -> list[tuple[float, float]]:
    """Stretches of frames with a mask, in seconds."""
    on = np.array([False, *(not is_empty(mask) for mask in track.segmentations), False])
    edges = np.flatnonzero(np.diff(on.astype(int))).tolist()
    return [(a / rate_hz, b / rate_hz) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _write_overlay(
    path: Path, video: Path, tracks: list[Result], names: dict[int, str], rate_hz: float, *, length: int
) -> None:
    info = probe(video)
    picture_rate_hz = min(OVERLAY_RATE_HZ, info.frame_rate_hz or OVERLAY_RATE_HZ)
    colours = track_colours([track.category_id for track in tracks])
    labels = [f"{names[track.category_id]} {track.score:.2f}" for track in tracks]
    drawn = [
        OverlayTrack(label, colour, track.segmentations)
        for label, colour, track in zip(labels, colours, tracks, strict=True)
    ]
    lanes = [Lane(track.label, track.colour, track.sounding()) for track in drawn]
    if not lanes:
        lanes = [Lane("nothing found", (128, 128, 128), [False] * length)]
    sound = None
    if info.audio_codec is not None:
        sound = read_sound(video, rate_hz=SOUND_RATE_HZ, channels=2).astype(np.float32) / np.float32(32768)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        reader = ClipReader(video, frame_rate_hz=picture_rate_hz, require_audio=False)
        total = round((info.duration_s or 0) * picture_rate_hz) or None
        for _, picture in tqdm(reader, total=total, desc="overlay", unit="frame", mininterval=1.0):
            yield picture

    render_overlay(
        path,
        pictures(),
        picture_rate_hz=picture_rate_hz,
        panels=[Panel(video.name, drawn)],
        lanes=lanes,
        frame_rate_hz=rate_hz,
        audio=sound,
        audio_rate_hz=SOUND_RATE_HZ,
    )
