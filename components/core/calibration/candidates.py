"""What a model proposes for clips whose truth is known, measured once and judged under any thresholds.

Letters: P candidates, T frames of a clip.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit
from tqdm import tqdm

from components.core.disturbance.clips import Clips
from components.core.inference.extracted_clips import clip_moments
from components.core.inference.predictor import Predictor
from components.core.metrics.overlaps import Booleans, Floats, Overlaps, VideoMasks, measure
from components.core.records.annotations import AnnotationSet
from components.core.run.errors import AvisError
from models.inference.moments import ClipError
from models.inference.offline import Evidence


@dataclass(frozen=True)
class ClipCandidates:
    """The candidates of one clip, each as if it sounded all the time, and their evidence, in one order."""

    overlaps: Overlaps
    evidence: list[Evidence]

    def under(
        self, score_threshold: float, presence_threshold: float, hearing_threshold: float = 0.0
    ) -> Overlaps:
        """What predict would have kept: the same scores, silences and tracks."""
        sounds = self._sounds(presence_threshold, hearing_threshold)  # [P, T]
        scores = self._scores(sounds)
        predicted, intersections = self.overlaps.predicted, self.overlaps.intersections
        kept = np.flatnonzero((scores >= score_threshold) & (predicted.areas * sounds).any(1))
        hushed = replace(predicted, scores=scores, areas=predicted.areas * sounds)
        heard = replace(self.overlaps, predicted=hushed, intersections=intersections * sounds.T[:, None, :])
        return heard.select(np.arange(len(heard.truth.categories)), kept)

    @property
    def are_heard(self) -> bool:
        """Does a head of the model say by the sound alone which categories sound?"""
        return any(np.isfinite(one.heard).any() for one in self.evidence)

    def _sounds(self, presence_threshold: float, hearing_threshold: float) -> Booleans:
        sounds = np.zeros((len(self.evidence), self.overlaps.frames), bool)
        for row, one in enumerate(self.evidence):
            sounds[row] = expit(one.presence.astype(np.float64)) > presence_threshold
            if hearing_threshold:
                sounds[row] &= expit(one.heard.astype(np.float64)) > hearing_threshold
        return sounds

    def _scores(self, sounds: Booleans) -> Floats:
        """Class probability times mean foreground, of the frames in which it sounds, as in inference."""
        found = np.zeros(len(self.evidence))
        for row, (one, heard) in enumerate(zip(self.evidence, sounds, strict=True)):
            pixels = int(one.pixels[heard].sum())
            found[row] = one.probability * float(one.foreground[heard].sum()) / pixels if pixels else 0.0
        return found


def find_candidates(
    predictor: Predictor, annotations: AnnotationSet, media: Path, *, label: str
) -> list[ClipCandidates]:
    """The candidates of annotated clips, disturbed as the predictor's settings say, with a progress bar.

    Args:
        media: data/media or its local copy.

    Raises:
        AvisError: a clip's media are missing or do not fit together.
    """
    found = []
    clips = Clips(media, annotations.videos, predictor.params.disturb)
    for video in tqdm(annotations.videos, desc=label, unit="clip", mininterval=1.0):
        clip = partial(clip_moments, predictor, clips, video)
        try:
            candidates = predictor.candidates(video.id, clip, height=video.height, width=video.width)
        except ClipError as error:
            raise AvisError(f"the clip cannot be predicted: {error}", where=video.name) from error
        # a released model may know further categories: predict leaves them out, too
        candidates = [one for one in candidates if one[0].category_id in annotations.categories]
        tracks = [track for track in annotations.tracks if track.video_id == video.id]
        results = [(row, result) for row, (result, _) in enumerate(candidates)]
        overlaps = measure(VideoMasks(video, tracks, results))
        found.append(ClipCandidates(overlaps, [evidence for _, evidence in candidates]))
    return found
