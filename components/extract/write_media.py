"""The files that extract makes of one video: where they lie, and writing them."""

import hashlib
import io
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.run.disk import make_sure_of_room, noticing_full_disk
from components.core.run.files import replace_file, replace_folder, sha256_file

SAMPLE_RATE_HZ = 16_000


def frames_folder(media: Path, video_id: str) -> Path:
    """Where the frames of a video are: 00000.jpg, 00001.jpg, …"""
    return media / "frames" / video_id


def audio_file(media: Path, video_id: str) -> Path:
    """Where the sound of a video is: WAV, 16 kHz, mono, 16 bit."""
    return media / "audio" / f"{video_id}.wav"


def features_file(media: Path, video_id: str) -> Path:
    """Where the audio features of a video are, if it has any: float32 [frames, 128]."""
    return media / "features" / f"{video_id}.npy"


def write_frames(
    folder: Path, pictures: Iterable[NDArray[np.uint8]], quality: int, *, expected: int
) -> tuple[int, int, int, str]:
    """Write RGB pictures as JPEGs; the folder is there completely or not at all.

    Args:
        folder: to be made.
        pictures: uint8 [height, width, 3].
        quality: of the JPEGs.
        expected: how many pictures there will be, roughly: to say how much is missing on a full disk.

    Returns:
        Number, width and height of the frames, and the SHA-256 of the folder.

    Raises:
        DiskFullError: there is no room for them.
    """
    from PIL import Image

    count = width = height = size_bytes = 0
    image = Image.new("RGB", (0, 0))
    digest = hashlib.sha256()

    def needed_bytes() -> int | None:
        return round(size_bytes / count * max(1, expected - count)) if count else None

    with replace_folder(folder) as temporary, noticing_full_disk(folder.parent, folder.name, needed_bytes):
        for picture in pictures:
            height, width = picture.shape[:2]
            if image.size != (width, height):
                image = Image.new(
                    "RGB", (width, height)
                )  # a new one for each would be filled with black first
            image.frombytes(np.ascontiguousarray(picture).data)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            name = f"{count:05d}.jpg"
            (temporary / name).write_bytes(buffer.getvalue())
            digest.update(f"{name}\0{hashlib.sha256(buffer.getvalue()).hexdigest()}\n".encode())
            count += 1
            size_bytes += buffer.tell()
    return count, width, height, digest.hexdigest()


def write_wav(path: Path, samples: NDArray[np.int16], rate_hz: int) -> str:
    """Write int16 [n] or [n, channels] as a WAV file; return its SHA-256.

    Raises:
        DiskFullError: there is no room for it.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with replace_file(path) as temporary:
        make_sure_of_room(path.parent, path.name, samples.nbytes)
        with wave.open(str(temporary), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return sha256_file(path)
