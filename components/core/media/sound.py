"""Sound at a fixed rate, put together from decoded pieces by their timestamps; and a file's whole sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from components.core.media.clocks import Clock
from components.core.media.container import (
    DAMAGED_SHARE,
    LONGEST_S,
    MediaError,
    best_streams,
    clip_start_s,
    no_sound,
    no_sound_in,
    open_media,
)
from components.core.media.downmix import Converter, MonoChoice, note_layout
from components.core.records.changes import Changes

if TYPE_CHECKING:
    from av import AudioFrame

# Containers round timestamps (Matroska to 1 ms); a larger step is a real gap or overlap in the sound.
_STEP_S = 0.01
_LOWEST_RATE_HZ = 4_000  # a lower one is absurd


class Soundtrack:
    """Collects decoded sound and places every sample at its time: gaps become silence, nothing drifts.

    Pieces that follow each other without a step go through one resampler, so there is no click between
    them; after a gap, or when the format changes in mid-stream, a new run begins at the piece's own time.
    How channels are mixed is `downmix`'s; `changes` tells what was odd about it.
    """

    def __init__(
        self, *, rate_hz: int, channels: int = 1, start_s: float = 0.0, own_level: bool = False
    ) -> None:
        self.rate_hz = rate_hz
        self._own_level = own_level  # of downmix.Converter
        self.channels = channels
        self.start_s = start_s
        self._pieces: list[
            tuple[int, NDArray[np.int16]]
        ] = []  # (first sample at rate_hz, Converter's [n, 2])
        self._converter: Converter | None = None
        self._choice = MonoChoice(rate_hz)
        self._layouts = Changes()
        self._format: tuple[str, str, int] | None = None
        self._start_s = 0.0  # of the current run
        self._samples_in = 0  # of the current run, at its own rate
        self._samples_out = 0
        self._taken = 0  # samples that `take` has gone through
        self._is_finished = False

    @property
    def end_s(self) -> float:
        """Where the sound collected so far ends, seconds."""
        return self._start_s + self._samples_in / self._format[2] if self._format else 0.0

    def add(self, frame: AudioFrame, time_s: float | None) -> None:
        """Add a decoded frame that begins at `time_s` (None: right after the one before).

        Raises:
            av.error.FFmpegError: its format cannot be converted.
        """
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        end_s = self.end_s
        time_s = end_s if time_s is None else time_s
        if self._converter is None or kind != self._format or abs(time_s - end_s) > _STEP_S:
            self._close_run()
            self._converter = Converter(
                frame.layout, rate_hz=self.rate_hz, mono=self.channels == 1, own_level=self._own_level
            )
            if not self._format or kind[1] != self._format[1]:
                note_layout(frame.layout, self._layouts)
            self._format, self._start_s, self._samples_in, self._samples_out = kind, time_s, 0, 0
        frame.pts = None
        try:
            piece = self._converter.convert(frame)
        except av.error.FFmpegError:
            self._converter = None
            raise
        self._samples_in += frame.samples
        self._keep(piece)

    def samples(self, count: int) -> NDArray[np.int16]:
        """The first `count` samples from `start_s` on, silence where none was heard.

        Returns: int16 [count, channels].
        """
        self._close_run()
        track = np.zeros((count, 2), dtype=np.int16)
        for first, piece in self._pieces:
            begin, end = max(first, 0), min(first + len(piece), count)
            if begin < end:
                track[begin:end] = piece[begin - first : end - first]
        if self.channels == 2:
            return track
        self._choice = MonoChoice(self.rate_hz)
        return np.concatenate([track[:0, :1], *self._choice.add(track), *self._choice.finish()])

    def take(self) -> Iterator[NDArray[np.int16]]:
        """Hand out what became known since the last call and forget it: int16 [n, channels], end to end.

        So a track of any length needs no memory. Gaps are silent; a piece whose time lies before what was
        handed out already is lost. Of mono the last half second is held back until `finish`.
        """
        for piece in self._end_to_end():
            if self.channels == 2:
                yield piece
            else:
                yield from self._choice.add(piece)
        if self.channels == 1 and self._is_finished:
            yield from self._choice.finish()

    def _end_to_end(self) -> Iterator[NDArray[np.int16]]:
        pieces, self._pieces = self._pieces, []
        for first, piece in pieces:
            while self._taken < first:  # a damaged timestamp may lie years away: at most a second at a time
                silence = np.zeros((min(first - self._taken, self.rate_hz), 2), dtype=np.int16)
                self._taken += len(silence)
                yield silence
            kept = piece[max(0, self._taken - first) :]
            self._taken += len(kept)
            if len(kept):
                yield kept

    def forget(self) -> None:
        """Drop what is known: for a reader who only wants to know whether there is sound, and how long."""
        for _ in self.take():
            pass  # `changes` is to be told of it all the same

    def finish(self) -> None:
        """No more is to come: what the resampler still holds becomes known."""
        self._close_run()
        self._is_finished = True

    @property
    def changes(self) -> Changes:
        """What was odd about the channels of what `samples` or `take` gave."""
        changes = Changes(self._layouts)
        changes.extend(self._choice.changes)
        return changes

    @property
    def is_empty(self) -> bool:
        """Whether no sample was decoded at all."""
        return not self._pieces and self._samples_in == 0

    def _keep(self, piece: NDArray[np.int16]) -> None:
        first = round((self._start_s - self.start_s) * self.rate_hz) + self._samples_out
        self._samples_out += len(piece)
        if len(piece) and first + len(piece) > 0:
            self._pieces.append((first, piece))

    def _close_run(self) -> None:
        if self._converter is not None:
            self._keep(self._converter.convert(None))
            self._converter = None


class UnheardSound(Soundtrack):
    """Knows how long the sound is, and nothing else of it: for readers of pictures."""

    def __init__(self) -> None:
        super().__init__(rate_hz=1)

    def add(self, frame: AudioFrame, time_s: float | None) -> None:
        """As of Soundtrack, but for the samples."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        time_s = self.end_s if time_s is None else time_s
        if kind != self._format or abs(time_s - self.end_s) > _STEP_S:
            self._format, self._start_s, self._samples_in = kind, time_s, 0
        self._samples_in += frame.samples


def add_frame(frame: AudioFrame, sound: Soundtrack, origin_s: float) -> bool:
    """Add a decoded piece to the sound; False if its format or its time is absurd."""
    time_s = None if frame.time is None else frame.time - origin_s
    if frame.sample_rate < _LOWEST_RATE_HZ or (time_s is not None and time_s > LONGEST_S):
        return False
    try:
        sound.add(frame, time_s)
    except av.error.FFmpegError:
        return False
    return True


def read_sound(
    path: Path,
    *,
    rate_hz: int,
    channels: int = 1,
    changes: Changes | None = None,
    sound: Soundtrack | None = None,
) -> NDArray[np.int16]:
    """Decode the whole sound of a file (any WAV, a video) from its start on: int16 [n, channels].

    changes: told what was odd about the channels. sound: what collects it, instead of an ordinary Soundtrack.

    Raises:
        MediaError: it has no sound, or it does not decode.
    """
    sound = sound or Soundtrack(rate_hz=rate_hz, channels=channels)
    for _ in _decode_sound(path, sound):
        pass
    samples = sound.samples(round(sound.end_s * rate_hz))
    if changes is not None:
        changes.extend(sound.changes)
    return samples


def stream_sound(
    path: Path, *, rate_hz: int, channels: int = 1, sound: Soundtrack | None = None
) -> Iterator[NDArray[np.int16]]:
    """Decode the sound of a file piece after piece, int16 [n, channels]: end to end what `read_sound` gives.

    Raises (while iterating):
        MediaError: it has no sound, or, at the end, it does not decode.
    """
    sound = sound or Soundtrack(rate_hz=rate_hz, channels=channels)
    for _ in _decode_sound(path, sound):
        yield from sound.take()
    sound.finish()
    yield from sound.take()


def _decode_sound(path: Path, sound: Soundtrack) -> Iterator[None]:
    """Add the sound of a file to `sound`, a packet per step."""
    packets = damaged = 0
    with open_media(path) as container:
        video, audio = best_streams(container)
        if audio is None:
            raise no_sound(container, path)
        origin_s = clip_start_s(video or audio, audio)
        # What the pictures' packets say decides where sound belongs, too.
        streams = [stream for stream in (video, audio) if stream is not None]
        for packet in Clock(container, streams, origin_s=origin_s, path=path).packets():
            if packet is not None and packet.stream.index != audio.index:
                continue
            packets += packet is None or packet.size > 0
            if packet is None:
                damaged += 1
                continue
            try:
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        damaged += not add_frame(frame, sound, origin_s)
            except av.error.FFmpegError:
                damaged += 1
            yield
    if sound.is_empty:
        raise no_sound_in(packets, audio.frames, path)
    if damaged > max(1, packets * DAMAGED_SHARE):
        raise MediaError(
            f"{damaged} of {packets} packets of the sound are damaged",
            where=str(path),
            fix="Get the file again.",
        )
