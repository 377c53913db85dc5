"""By what drafts of clips are drawn: a model of ours, boxes and points, or both."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from components.core.disturbance.clips import Clips
from components.core.inference.extracted_clips import clip_moments
from components.core.inference.predictor import Predictor
from components.core.records.annotations import Video
from components.core.run.errors import AvisError
from components.tools.preannotate.drafts import (
    DraftTrack,
    Follow,
    of_results,
    prompted,
    read_frames,
    refined,
)
from components.tools.preannotate.prompts import TrackPrompts
from models.inference.moments import ClipError


def follow_prompts(
    videos: Sequence[Video],
    given: Mapping[str, dict[str, TrackPrompts]],
    follow: Follow,
    *,
    media: Path,
    where: str,
) -> list[list[DraftTrack]]:
    """Return the tracks of each clip that a SAM-family model draws from boxes and points."""
    return [
        prompted(given[video.name], read_frames(media, video), follow, f"{where}, video {video.name}")
        for video in tqdm(videos, desc="preannotate", unit="clip", mininterval=1.0)
    ]


def find_tracks(
    videos: Sequence[Video], predictor: Predictor, follow: Follow | None, *, media: Path
) -> list[list[DraftTrack]]:
    """Return the tracks of each clip that an AVIS model finds; `follow` draws their masks anew.

    Raises:
        AvisError: a clip cannot be predicted.
    """
    tracks = []
    for video in tqdm(videos, desc="preannotate", unit="clip", mininterval=1.0):
        clip = partial(clip_moments, predictor, Clips(media), video)
        try:
            results = predictor.predict(video.id, clip, height=video.height, width=video.width)
        except ClipError as error:
            raise AvisError(f"the clip cannot be predicted: {error}", where=video.name) from error
        found = of_results(results, predictor.card.categories)
        if follow is not None and found:
            found = refined(found, read_frames(media, video), follow)
        tracks.append(found)
    return tracks
