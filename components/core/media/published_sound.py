"""Sound as the published front end heard it: channels averaged at the file's own rate, then resampy.

FFmpeg's resampling is what everything else uses: as good, but another filter above 7 kHz.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.core.media.container import probe
from components.core.media.downmix import MonoChoice
from components.core.media.sound import Soundtrack
from components.core.records.changes import Changes
from models.audio.resampling import Resampler

Resampling = Literal["ffmpeg", "resampy"]
_CONTEXT_S = 0.1  # more than the resampler hears behind a sample


class PublishedSoundtrack(Soundtrack):
    """A mono Soundtrack whose `samples` and `take` are resampled by resampy's filter.

    Args:
        source_rate_hz: the file's.
        new_rate_hz: of the result.
    """

    def __init__(self, *, source_rate_hz: int, new_rate_hz: int) -> None:
        super().__init__(rate_hz=source_rate_hz, channels=2, own_level=True)
        self._new_rate_hz = new_rate_hz
        self._begin()

    def samples(self, count: int) -> NDArray[np.int16]:
        """As of Soundtrack, at the new rate: int16 [count, 1]."""
        length_s = count / self._new_rate_hz
        heard_s = max(length_s, min(self.end_s - self.start_s, length_s + _CONTEXT_S))
        sides = super().samples(round(heard_s * self.rate_hz))
        self._begin()
        made = np.concatenate((*self._through([sides]), *self._rest()))[:count]
        return np.pad(made, ((0, count - len(made)), (0, 0)))

    def take(self) -> Iterator[NDArray[np.int16]]:
        """As of Soundtrack, at the new rate: int16 [n, 1]."""
        yield from self._through(super().take())
        if self._is_finished:
            yield from self._rest()

    @property
    def changes(self) -> Changes:
        changes = Changes(super().changes)
        changes.extend(self._heard.changes)
        return changes

    def _begin(self) -> None:
        self._heard = MonoChoice(self.rate_hz)
        self._resampler = Resampler(self.rate_hz, self._new_rate_hz)

    def _through(
        self, pieces: Iterator[NDArray[np.int16]] | list[NDArray[np.int16]]
    ) -> Iterator[NDArray[np.int16]]:
        for sides in pieces:
            left, right = sides[:, 0].astype(np.float64), sides[:, 1]
            for mono in self._heard.add(np.stack((left + right, left - right), axis=1) / 2):
                yield _whole(self._resampler.add(mono[:, 0]))

    def _rest(self) -> Iterator[NDArray[np.int16]]:
        for mono in self._heard.finish():
            yield _whole(self._resampler.add(mono[:, 0]))
        yield _whole(self._resampler.finish())


def soundtrack_for(path: Path, resampling: Resampling, *, rate_hz: int) -> Soundtrack:
    """What collects a file's sound as mono at a rate.

    Raises:
        MediaError: the file cannot be opened.
    """
    source_rate_hz = probe(path).audio_rate_hz if resampling == "resampy" else 0
    if not source_rate_hz:  # FFmpeg, or a file without sound
        return Soundtrack(rate_hz=rate_hz)
    return PublishedSoundtrack(source_rate_hz=source_rate_hz, new_rate_hz=rate_hz)


def _whole(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.rint(samples).clip(-32768, 32767).astype(np.int16)[:, None]
