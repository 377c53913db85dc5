"""The sounding objects of a video file of any length: who, when, and masks that are kept on disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.core.inference.predictor import Predictor
from components.core.media.container import MediaError, MediaProblem, probe, tracks_taken
from components.core.media.published_sound import Resampling
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError
from components.core.video.clip import VideoClip, check_encoder
from components.core.video.stored_masks import MaskFile, StoredMasks
from models.inference.moments import ClipError


@dataclass(frozen=True)
class FoundObject:
    """One sounding object of a video.

    Attributes:
        number: from 1 on, the best first.
        category_id, category: what it is.
        score: of the track.
        masks: per computed frame an RLE of the video's size, or None where it is silent or not seen.
        intervals_s: when it has a mask, [start, end) in seconds.
    """

    number: int
    category_id: int
    category: str
    score: float
    masks: StoredMasks
    intervals_s: list[tuple[float, float]]

    @property
    def name(self) -> str:
        """Unlike that of any other object of the video."""
        return f"{self.category} {self.number}"


@dataclass(frozen=True)
class VideoTracks:
    """What was found in a video.

    Attributes:
        video: the file. name: as people know it, with its suffix; of a part or a download not the file's.
        objects: the best first.
        frames, rate_hz: how many moments were computed, and how many a second; frame k stands for
            [k, k + 1) / rate_hz and was computed of the picture at the middle of that.
        height, width: of the video's pictures and of the masks.
        score_threshold: objects below it are left out.
        best_score: of the tracks, or of the likeliest candidate below the threshold; 0: it has no mask.
        is_deaf: the model hears nothing.
        categories: all that the model knows, by id.
        changes: on reading: the tracks that were taken, frames that were scaled.
        progress: whether what goes on with it shows bars.
    """

    video: Path
    name: str
    objects: list[FoundObject]
    frames: int
    rate_hz: float
    height: int
    width: int
    score_threshold: float
    best_score: float
    is_deaf: bool
    categories: dict[int, str]
    changes: Changes
    progress: bool = True


def find_in_video(
    predictor: Predictor,
    video: Path,
    *,
    model_path: Path,
    rate_hz: float | None = None,
    audio_weights: Path | None = None,
    resampling: Resampling = "ffmpeg",
    progress: bool = True,
) -> VideoTracks:
    """Find the sounding objects of a video file.

    Args:
        predictor: the model.
        video: the file.
        model_path: where the model came from, for messages.
        rate_hz: computed frames a second; None: as the model was trained. No more than the video has itself.
        audio_weights: needed by a model that hears audio features.
        resampling: of the sound, so that it hears as it learned.
        progress: show bars with rate and time left.

    Raises:
        AvisError: the file cannot be read, has no sound that the model could hear, or there is no encoder for
            the features that it hears.
    """
    if not video.is_file():
        raise AvisError("there is no such video", where=str(video))
    changes = tracks_taken([video])
    card, audio = predictor.card, predictor.model.config.audio
    if audio == "features":
        check_encoder(card, audio_weights, model_path)
    info = probe(video)
    wanted_hz = rate_hz or card.frame_rate_hz
    if rate_hz is not None and info.frame_rate_hz and rate_hz > info.frame_rate_hz:
        wanted_hz = info.frame_rate_hz
        changes.add(
            Kind.CLIPPED, "rate", "it is higher than the video's own, which was taken",
            example=f"{rate_hz:g} to {wanted_hz:g} Hz",
        )  # fmt: skip
    if audio != "none" and info.audio_codec is None:
        raise MediaError(
            "the video has no sound, and the model hears",
            problem=MediaProblem.NO_AUDIO,
            where=str(video),
            fix="Name a model that was trained without sound with --deaf-model, or use a video with sound.",
        )
    clip = clip_of(
        predictor,
        video,
        wanted_hz,
        audio_weights=audio_weights,
        resampling=resampling,
        progress=progress,
    )
    masks = MaskFile(predictor.work_folder)
    try:
        tracks = predictor.find(clip, size=(clip.height, clip.width), encode=masks.add, least=1)
    except ClipError as error:
        raise AvisError(f"the video cannot be predicted: {error}", where=str(video)) from error
    changes.extend(clip.changes)
    seen = [(track, StoredMasks(masks, track.masks)) for track in tracks]
    seen = [(track, stored) for track, stored in seen if any(stored.on())]
    ids = sorted(card.categories)
    objects = [
        FoundObject(
            number,
            ids[track.label],
            card.categories[ids[track.label]],
            round(track.score, 6),
            stored,
            intervals(stored.on(), wanted_hz),
        )
        for number, (track, stored) in enumerate(seen, start=1)
    ]
    return VideoTracks(
        video=video,
        name=video.name,
        objects=[thing for thing in objects if thing.score >= predictor.score_threshold],
        frames=clip.frames,
        rate_hz=wanted_hz,
        height=clip.height,
        width=clip.width,
        score_threshold=predictor.score_threshold,
        best_score=max((thing.score for thing in objects), default=0.0),
        is_deaf=audio == "none",
        categories=dict(card.categories),
        changes=changes,
        progress=progress,
    )


def clip_of(
    predictor: Predictor,
    video: Path,
    rate_hz: float,
    *,
    audio_weights: Path | None,
    resampling: Resampling,
    progress: bool = False,
    muted_s: tuple[float, float] = (0.0, 0.0),
) -> VideoClip:
    """The moments of a video as a model sees and hears them."""
    audio = predictor.model.config.audio
    return VideoClip(
        video,
        rate_hz,
        predictor.card.short_side_px,
        hears=audio != "none",
        encoder=audio_weights if audio == "features" else None,
        resampling=resampling,
        progress=progress,
        muted_s=muted_s,
    )


def intervals(shown: list[bool], rate_hz: float) -> list[tuple[float, float]]:
    """Stretches of frames with a mask, in seconds."""
    edges = np.flatnonzero(np.diff(np.array([False, *shown, False]).astype(int))).tolist()
    return [(a / rate_hz, b / rate_hz) for a, b in zip(edges[::2], edges[1::2], strict=True)]
