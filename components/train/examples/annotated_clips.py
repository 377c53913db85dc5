"""Training examples from annotated clips: some frames around a reference frame, cropped, resized, flipped."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from components.core.clips.index import common_frame_rate_hz
from components.core.clips.reader import resize, scaled_size
from components.core.disturbance.clips import Clips
from components.core.records.annotations import AnnotationSet, Video, tracks_by_video
from components.core.records.masks import decode, is_empty
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.train.examples.batch import TrainingClip
from components.train.examples.pasting import paste
from components.train.params import TrainParams


class AnnotatedClips:
    """Example i is fixed by the seed and i: clips in a new order each round, frames and crop at random.

    Clips in which nothing is annotated are used too (they teach silence), but not alone.

    Raises:
        AvisError: no track of any clip has a mask: there is nothing to learn.
    """

    def __init__(
        self,
        annotations: AnnotationSet,
        media: Path,
        params: TrainParams,
        *,
        where: str,
        frame_rate_hz: float = 1.0,
    ) -> None:
        if not any(not is_empty(mask) for track in annotations.tracks for mask in track.segmentations):
            raise AvisError(
                f"no instance to learn: {len(annotations.videos)} clips, {len(annotations.tracks)} tracks, "
                "not one mask",
                where=where,
                fix="Look at data/qa/report.html and at the annotate block of params.yaml.",
            )
        self.params = params
        self.clips = Clips(media, annotations.videos, params.disturb)
        self.frame_rate_hz = frame_rate_hz
        self.videos = annotations.videos
        self.class_of = {key: index for index, key in enumerate(sorted(annotations.categories))}
        self.tracks = tracks_by_video(annotations)
        heard = {
            (track.category_id, track.video_id)
            for track in annotations.tracks
            if any(not is_empty(mask) for mask in track.segmentations)
        }
        self._clips_of_category = [
            [video for video in self.videos if (category, video.id) in heard]
            for category in sorted({category for category, _ in heard})
        ]

    def __len__(self) -> int:
        return self.params.steps * self.params.clips_per_step

    def __getitem__(self, index: int) -> TrainingClip:
        round_, place = divmod(index, len(self.videos))
        order = np.random.default_rng([self.params.seed, round_]).permutation(len(self.videos))
        video = self.videos[int(order[place])]
        chance = np.random.default_rng([self.params.seed, 1, index])
        clip = self._read(video, self._choose_frames(video, chance))
        clip = self._with_another(clip, video, np.random.default_rng([self.params.seed, 4, index]))
        frames, masks = self._crop(list(clip.frames), clip.masks, chance)
        frames, masks = self._resize(frames, masks, int(chance.choice(self.params.short_sides_px)))
        left = masks.any((1, 2, 3))  # the crop may have cut an instance away: there is nothing of it to learn
        masks, labels = masks[left], clip.labels[left]
        if self.params.flip and chance.random() < 0.5:
            frames = [frame[:, ::-1] for frame in frames]
            masks = masks[..., ::-1]
        return replace(clip, frames=np.stack(frames), labels=labels, masks=masks)

    def _read(self, video: Video, chosen: list[int]) -> TrainingClip:
        """The chosen frames as they are, with what shows in them and their sound."""
        frames = [self.clips.frame(video, frame) for frame in chosen]
        masks, labels = self._masks(video, chosen)
        return TrainingClip(video.name, np.stack(frames), self._sound(video, chosen), labels, masks)

    def _with_another(self, clip: TrainingClip, video: Video, chance: np.random.Generator) -> TrainingClip:
        """In `pasted_share` of the examples, the clip with the objects of another one.

        First its category is drawn, then the clip: rare categories are pasted as often as others.
        """
        if chance.random() >= self.params.pasted_share:
            return clip
        others = self._clips_of_category[int(chance.integers(len(self._clips_of_category)))]
        other = others[int(chance.integers(len(others)))]
        return (
            clip
            if other is video
            else paste(clip, self._read(other, self._choose_frames(other, chance)), chance)
        )

    def _choose_frames(self, video: Video, chance: np.random.Generator) -> list[int]:
        """A reference frame and others near it, in order; short clips repeat frames."""
        reference = int(chance.integers(video.length))
        first = max(0, reference - self.params.frame_range)
        last = min(video.length, reference + self.params.frame_range + 1)
        others = [frame for frame in range(first, last) if frame != reference]
        wanted = self.params.frames_per_clip - 1
        if len(others) < wanted:
            others = others + [reference] * (wanted - len(others))
        picked = chance.permutation(len(others))[:wanted].tolist()
        return sorted([reference, *(others[i] for i in picked)])

    def _masks(self, video: Video, chosen: list[int]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Masks [N, T, H, W] of tracks that show in the chosen frames, and their classes [N]."""
        shown = [
            track
            for track in self.tracks[video.id]
            if any(not is_empty(track.segmentations[frame]) for frame in chosen)
        ]
        masks = np.zeros((len(shown), len(chosen), video.height, video.width), bool)
        for row, track in enumerate(shown):
            for column, frame in enumerate(chosen):
                masks[row, column] = decode(track.segmentations[frame], video.height, video.width)
        return masks, np.array([self.class_of[track.category_id] for track in shown], np.int64)

    def _crop(
        self, frames: list[NDArray[np.uint8]], masks: NDArray[np.bool_], chance: np.random.Generator
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.bool_]]:
        """In half of the examples one crop for the whole clip, sides drawn from ``crop_px``."""
        if self.params.crop_px is None or chance.random() < 0.5:
            return frames, masks
        height, width = frames[0].shape[:2]
        low, high = self.params.crop_px
        rows, columns = (min(side, int(chance.integers(low, high + 1))) for side in (height, width))
        top, left = int(chance.integers(height - rows + 1)), int(chance.integers(width - columns + 1))
        window = (slice(top, top + rows), slice(left, left + columns))
        return [frame[window] for frame in frames], masks[(..., *window)]

    def _resize(
        self, frames: list[NDArray[np.uint8]], masks: NDArray[np.bool_], short_side_px: int
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.bool_]]:
        longest = self.params.max_long_side_px
        height, width = scaled_size(frames[0].shape[0], frames[0].shape[1], short_side_px, longest)
        small = np.zeros((*masks.shape[:2], height, width), bool)
        for place in np.ndindex(masks.shape[:2]):
            mask = masks[place].astype(np.uint8)
            small[place] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        return [resize(frame, short_side_px, longest) for frame in frames], small

    def _sound(self, video: Video, chosen: list[int]) -> NDArray[np.float32]:
        if self.params.model.audio == "features":
            return self.clips.features(video, self.params.model.sources)[chosen]
        if self.params.model.audio == "none":
            return np.zeros((len(chosen), 1), np.float32)
        return np.stack(list(self.clips.seconds(video, chosen, self.frame_rate_hz)))


def clips_of(annotations: AnnotationSet, params: TrainParams, file: Path, paths: Paths) -> AnnotatedClips:
    """The examples of an annotation file, at the rate at which extract chose the frames."""
    paths = with_local_media(paths, [video.name for video in annotations.videos])
    rate_hz = common_frame_rate_hz(paths.media / "index.parquet")
    return AnnotatedClips(annotations, paths.media, params, where=str(file), frame_rate_hz=rate_hz)
