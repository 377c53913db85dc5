"""Frames and sound of extracted clips for networks: as they are, or disturbed."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.clips.reader import (
    SAMPLE_RATE_HZ,
    read_features,
    read_frame,
    read_seconds,
    read_sound,
    seconds_of_sound,
)
from components.core.disturbance.params import DisturbParams
from components.core.disturbance.pictures import disturb_picture, last_that_came
from components.core.disturbance.sound import disturb_sound
from components.core.records.annotations import Video
from components.core.run.errors import AvisError

_OTHERS = 4  # clips that babble at once


@dataclass(frozen=True)
class Clips:
    """Reads clips; the files stay as they are. The same clip and seed are always disturbed alike.

    media: data/media or its local copy. videos: whose sounds others may get. disturb: None for nothing.
    """

    media: Path
    videos: Sequence[Video] = ()
    disturb: DisturbParams | None = None

    def frame(self, video: Video, index: int) -> NDArray[np.uint8]:
        """Frame `index` of a clip, RGB [H, W, 3]; raises as read_frame."""
        if self.disturb is None:
            return read_frame(self.media, video, index)
        if self.disturb.dropped_share is not None:
            chance = self._chance(video, "dropped_share")
            index = last_that_came(index, video.length, self.disturb.dropped_share, chance)
        picture = read_frame(self.media, video, index)
        return disturb_picture(picture, self.disturb, self._chance(video, f"frame {index}"))

    def seconds(
        self, video: Video, frames: Iterable[int], frame_rate_hz: float = 1.0
    ) -> Iterator[NDArray[np.float32]]:
        """The second of sound [16000] that belongs to each of these frames; raises as read_seconds."""
        if self.disturb is None or not self.disturb.changes_sound:
            yield from read_seconds(self.media, video, frames, frame_rate_hz)
            return
        disturb = self.disturb
        others = [read_sound(self.media, other) for other in self._others(video)]
        own = read_sound(self.media, video)
        until = round((video.length - 1) * SAMPLE_RATE_HZ / frame_rate_hz) + SAMPLE_RATE_HZ
        own = np.pad(own, (0, max(0, until - len(own))))  # noise ends with the frames, not with the sound
        sound = disturb_sound(own, disturb, lambda what: self._chance(video, what), others)
        cut = seconds_of_sound(sound, video.length, frame_rate_hz)
        for frame in frames:
            yield cut[frame]

    def features(self, video: Video, sources: int | None = None) -> NDArray[np.float32]:
        """Audio features [T, 128] of a clip; of separated sources [T, sources, 128].

        Raises:
            AvisError: as read_features, and if only its samples could be disturbed so.
        """
        if self.disturb is None or not self.disturb.changes_sound:
            return read_features(self.media, video, sources)
        if self.disturb.needs_samples:
            raise AvisError(
                f"audio features cannot be disturbed ({self.disturb}): they are of the sound as it was",
                where="disturb",
                fix="Set train.model.audio to vggish, or disturb.replaced_by to other_clip.",
            )
        features = read_features(self.media, self._others(video)[0], sources)
        return features[np.arange(video.length) % len(features)]

    def _others(self, video: Video) -> list[Video]:
        """Other clips whose sounds this one gets: those that follow it in a ring, as the seed has it.

        Raises:
            AvisError: there is none, and one is needed.
        """
        disturb = self.disturb
        if disturb is None or not {"babble", "other_clip"} & {disturb.noise, disturb.replaced_by}:
            return []
        ring = self._ring
        if len(ring) < 2:
            raise AvisError("no other clip is there whose sound could be taken", where=video.name)
        place = next(place for place, one in enumerate(ring) if one.name == video.name)
        return [ring[(place + n) % len(ring)] for n in range(1, min(_OTHERS, len(ring) - 1) + 1)]

    @cached_property
    def _ring(self) -> list[Video]:
        ordered = sorted(self.videos, key=lambda video: video.name)
        seed = self.disturb.seed if self.disturb else 0
        return [ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))]

    def _chance(self, video: Video, what: str) -> np.random.Generator:
        seed = self.disturb.seed if self.disturb else 0
        return np.random.default_rng([seed, zlib.crc32(video.name.encode()), zlib.crc32(what.encode())])
