"""Reading what extract wrote: frames at the size a network wants, and the sound of each frame."""

import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.records.annotations import Video
from components.core.run.errors import AvisError

SAMPLE_RATE_HZ = 16_000
_MISSING = "Run `dvc repro extract`: it makes what is missing."


def scaled_size(
    height: int, width: int, short_side_px: int, max_long_side_px: int | None = None
) -> tuple[int, int]:
    """Height and width when the shorter of the two becomes ``short_side_px``.

    Where the longer one would pass ``max_long_side_px``, it becomes that instead.
    """
    scale = short_side_px / min(height, width)
    if max_long_side_px is not None:
        scale = min(scale, max_long_side_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(
    frame: NDArray[np.uint8], short_side_px: int, max_long_side_px: int | None = None
) -> NDArray[np.uint8]:
    """Resize a frame [H, W, 3] to a short side, averaging pixels when it shrinks."""
    import cv2

    height, width = scaled_size(frame.shape[0], frame.shape[1], short_side_px, max_long_side_px)
    if (height, width) == frame.shape[:2]:
        return frame
    way = cv2.INTER_AREA if height < frame.shape[0] else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(frame, (width, height), interpolation=way)
    return resized


def read_frame(media: Path, video: Video, index: int) -> NDArray[np.uint8]:
    """Frame ``index`` of a clip, RGB [H, W, 3].

    Raises:
        AvisError: the file is missing, is no image, or has another size than its annotations say.
    """
    import cv2

    path = media / "frames" / video.file_names[index]
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if data is None:
        raise AvisError("the frame is missing or is no image", where=str(path), fix=_MISSING)
    if data.shape[:2] != (video.height, video.width):
        raise AvisError(
            f"the frame is {data.shape[1]}x{data.shape[0]}, its annotations say {video.width}x{video.height}",
            where=str(path),
        )
    frame: NDArray[np.uint8] = cv2.cvtColor(data, cv2.COLOR_BGR2RGB)
    return frame


@contextmanager
def _open_sound(media: Path, video: Video) -> Iterator[wave.Wave_read]:
    """Raises AvisError when the file is missing, does not read, or is not what extract writes."""
    path = media / "audio" / f"{video.name}.wav"
    try:
        with wave.open(str(path)) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE_HZ, 1, 2):
                raise AvisError("the sound is not 16 kHz mono 16 bit", where=str(path), fix=_MISSING)
            yield file
    except (OSError, EOFError, wave.Error) as error:
        raise AvisError(f"the sound cannot be read: {error}", where=str(path), fix=_MISSING) from None


def _samples(file: wave.Wave_read, count: int) -> NDArray[np.float32]:
    data = file.readframes(count)
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)


def read_sound(media: Path, video: Video) -> NDArray[np.float32]:
    """The clip's sound, 16 kHz mono [n] in -1..1.

    Raises:
        AvisError: the file is missing or is not what extract writes.
    """
    with _open_sound(media, video) as file:
        return _samples(file, file.getnframes())


def read_seconds(
    media: Path, video: Video, frames: Iterable[int], frame_rate_hz: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """The second of sound [16000] that belongs to each of these frames, read one at a time.

    As ``seconds_of_sound`` cuts them: silence where the file is shorter than the frames; what is longer is
    not heard.

    Raises (while iterating):
        AvisError: the file is missing or is not what extract writes.
    """
    with _open_sound(media, video) as file:
        length = file.getnframes()
        for frame in frames:
            start = round(frame * (SAMPLE_RATE_HZ / frame_rate_hz))
            second = np.zeros(SAMPLE_RATE_HZ, np.float32)
            if start < length:
                file.setpos(start)
                heard = _samples(file, SAMPLE_RATE_HZ)
                second[: len(heard)] = heard
            yield second


def read_features(media: Path, video: Video, sources: int | None = None) -> NDArray[np.float32]:
    """Precomputed audio features [T, 128] of a clip; of separated sources [T, sources, 128].

    Published features may lack the last, incomplete second, which then sounds like the one before, or have
    one row for it though it has no frame.

    Raises:
        AvisError: there are none, they have another shape or length, or hold values that are not finite.
    """
    path = media / "features" / f"{video.name}.npy"
    try:
        values: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise AvisError(
            f"there are no precomputed audio features: {error}",
            where=str(path),
            fix="Set extract.audio_weights to a file of VGGish weights, which makes them (docs/audio.md), or"
            " train.model.audio to vggish (learned from the sound) or none.",
        ) from None
    wanted = (128,) if sources is None else (sources, 128)
    if values.shape[1:] != wanted or not len(values):
        shape = ", ".join(map(str, ("frames", *wanted)))
        raise AvisError(f"audio features have shape {values.shape}, not [{shape}]", where=str(path))
    if abs(len(values) - video.length) > 1:
        raise AvisError(
            f"there are audio features of {len(values)} seconds for {video.length} frames",
            where=str(path),
            fix="Make features with one row per frame; one row more or less is taken as it is.",
        )
    if not np.isfinite(values).all():
        raise AvisError("audio features hold values that are no finite numbers", where=str(path))
    if len(values) < video.length:
        values = np.concatenate((values, values[-1:]))
    return values[: video.length].astype(np.float32)


def seconds_of_sound(
    sound: NDArray[np.float32], frames: int, frame_rate_hz: float = 1.0
) -> NDArray[np.float32]:
    """Cut a waveform [n] into the second that belongs to each frame, [frames, 16000].

    Frame k owns the sound from k / frame_rate_hz on; what is missing at the end is silence.
    """
    starts = np.round(np.arange(frames) * (SAMPLE_RATE_HZ / frame_rate_hz)).astype(int)
    padded = np.zeros(starts[-1] + SAMPLE_RATE_HZ if frames else 0, np.float32)
    count = min(len(padded), len(sound))
    padded[:count] = sound[:count]
    return padded[starts[:, None] + np.arange(SAMPLE_RATE_HZ)]


def cut_seconds(
    pieces: Iterable[NDArray[np.float32]], frame_rate_hz: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """As ``seconds_of_sound``, from a waveform that comes in pieces [n]: the second [16000] of frame 0, 1, …

    It never ends: after the last piece comes silence. At most a second and a piece are held.
    """
    source = iter(pieces)
    held, begin = np.zeros(0, np.float32), 0  # samples, the first one's number
    for frame in count():
        start = round(frame * (SAMPLE_RATE_HZ / frame_rate_hz))
        waiting = [held]
        end = begin + len(held)
        while end < start + SAMPLE_RATE_HZ and (piece := next(source, None)) is not None:
            waiting.append(piece)
            end += len(piece)
        held = np.concatenate(waiting)[start - begin :]
        begin = start
        yield np.pad(held[:SAMPLE_RATE_HZ], (0, max(0, SAMPLE_RATE_HZ - len(held))))
