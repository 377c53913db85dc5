"""One video of the user's own: which objects sound, when, and an overlay video with its sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.clips.index import FEATURES_OF_SOURCE
from components.core.clips.reader import SAMPLE_RATE_HZ, cut_seconds, resize
from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.media.audio_features import embed_seconds, encoder_fingerprint
from components.core.media.container import probe, tracks_taken
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.published_sound import Resampling, soundtrack_for
from components.core.media.sound import stream_sound
from components.core.records.changes import Changes
from components.core.records.masks import is_empty
from components.core.records.results import Result
from components.core.reports.overlay import Lane, OverlayTrack, Panel, render_overlay, track_colours
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from models.checkpoints.saved import CONFIG, ModelCard
from models.inference.moments import ClipError, Moment

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
    best_score: float  # of the tracks, or of the likeliest candidate below the threshold; 0: it has no mask
    score_threshold: float
    changes: Changes  # on reading: the tracks that were taken, frames that were scaled


def predict_video(
    video: Path,
    out: Path,
    model_folder: Path,
    params: PredictParams,
    *,
    audio_weights: Path | None = None,
    resampling: Resampling = "ffmpeg",
) -> VideoPrediction:
    """Find the sounding objects of a video file; write ``<name>.overlay.mp4`` and ``<name>.json`` to ``out``.

    Args:
        video: the file.
        out: a folder, made if it is not there.
        model_folder: what training wrote.
        params: the `predict` block.
        audio_weights: `extract.audio_weights`, needed by a model that hears audio features.
        resampling: `extract.resampling`, so that it hears as it learned.

    Raises:
        AvisError: the file cannot be read, has no sound that the model could hear, there is no model, or no
            encoder for the features that it hears.
    """
    if not video.is_file():
        raise AvisError("there is no such video", where=str(video))
    changes = tracks_taken([video])
    predictor = Predictor.load(model_folder, params)
    audio = predictor.model.config.audio
    if audio == "features":
        check_encoder(predictor.card, audio_weights, model_folder)
    rate_hz = predictor.card.frame_rate_hz
    clip = _VideoClip(
        video,
        rate_hz,
        predictor.card.short_side_px,
        hears=audio != "none",
        encoder=audio_weights if audio == "features" else None,
        resampling=resampling,
    )
    try:
        candidates = predictor.predict(1, clip, height=clip.height, width=clip.width, least=1)
    except ClipError as error:
        raise AvisError(f"the video cannot be predicted: {error}", where=str(video)) from error
    found = [track for track in candidates if track.score >= predictor.score_threshold]
    names = predictor.card.categories
    overlay, results = out / f"{video.stem}.overlay.mp4", out / f"{video.stem}.json"
    out.mkdir(parents=True, exist_ok=True)
    _write_overlay(overlay, video, found, names, rate_hz, length=clip.frames)
    objects = [
        SoundingObject(names[track.category_id], track.score, _intervals(track, rate_hz)) for track in found
    ]
    write_json(
        results,
        {
            "video": video.name,
            "frame_rate_hz": rate_hz,
            "frames": clip.frames,
            "width": clip.width,
            "height": clip.height,
            "score_threshold": predictor.score_threshold,
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
    changes.extend(clip.changes)
    return VideoPrediction(objects, overlay, results, best, predictor.score_threshold, changes)


def check_encoder(card: ModelCard, audio_weights: Path | None, model_folder: Path) -> None:
    """A model hears the features that it learned from: made with the same weights.

    Raises:
        AvisError: no weights are set, or others.
    """
    where = str(model_folder / CONFIG)
    if audio_weights is None:
        raise AvisError(
            "this model hears audio features, which first have to be made of the video's sound",
            where=where,
            fix="Set extract.audio_weights in params.yaml to the VGGish weights that made the features"
            " that it learned from; AVISeg's were made with the published ones (docs/audio.md).",
        )
    made = encoder_fingerprint(audio_weights)
    if card.features_from not in ("", FEATURES_OF_SOURCE, made):
        raise AvisError(
            f"this model learned from audio features made with other weights than {audio_weights}",
            where=where,
            fix="Set extract.audio_weights in params.yaml to the file that made them.",
        )


class _VideoClip:
    """The moments of a video file, decoded anew each time it is called; nothing of it is kept.

    Sound is read through a file handle of its own: in some files it lies far from its pictures. Where it is
    shorter than the pictures it is silent, what is longer is not heard.
    """

    def __init__(
        self,
        video: Path,
        rate_hz: float,
        short_side_px: int,
        *,
        hears: bool,
        encoder: Path | None = None,
        resampling: Resampling = "ffmpeg",
    ) -> None:
        self._video, self._rate_hz, self._short_side_px, self._hears = video, rate_hz, short_side_px, hears
        self._resampling: Resampling = resampling
        self._encoder = encoder  # weights that make features of the sound
        self._calls = 0
        self.frames = 0  # known after the first pass
        self.changes = Changes()  # likewise
        first = next(iter(self._reader()))[1]
        self.height, self.width = first.shape[:2]

    def __call__(self) -> Iterator[Moment]:
        self._calls += 1
        what = "pass 1: find objects" if self._calls == 1 else "pass 2: masks"
        total = self.frames or round((probe(self._video).duration_s or 0) * self._rate_hz) or None
        sounds: Iterator[NDArray[np.float32] | None] = repeat(None)
        if self._hears:
            sound = soundtrack_for(self._video, self._resampling, rate_hz=SAMPLE_RATE_HZ)
            pieces = stream_sound(self._video, rate_hz=SAMPLE_RATE_HZ, sound=sound)
            sounds = cut_seconds((_floats(piece)[:, 0] for piece in pieces), self._rate_hz)
            if self._encoder is not None:
                sounds = embed_seconds(sounds, weights=self._encoder)
        reader = self._reader()
        pictures = tqdm(reader, total=total, desc=what, unit="frame", mininterval=1.0)
        frames = 0
        for (_, picture), heard in zip(pictures, sounds, strict=False):
            frames += 1
            yield resize(picture, self._short_side_px), heard
        self.frames, self.changes = frames, reader.changes

    def _reader(self) -> ClipReader:
        return ClipReader(
            self._video, frame_rate_hz=self._rate_hz, require_audio=self._hears, keep_audio=False
        )


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
        pieces = stream_sound(video, rate_hz=SOUND_RATE_HZ, channels=2)
        sound = (_floats(piece) for piece in pieces)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        reader = ClipReader(video, frame_rate_hz=picture_rate_hz, require_audio=False, keep_audio=False)
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


def _floats(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32768)
