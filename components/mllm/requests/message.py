"""A clip as the parts of a chat message: frames or a video, and the sound as a part of its own.

The sound never travels inside the video: several servers drop it there without a word.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError

Part = dict[str, Any]


@dataclass(frozen=True)
class Clip:
    """One test clip and its files."""

    name: str
    frames: tuple[Path, ...]
    """One JPEG per second."""
    audio: Path
    """WAV, 16 kHz mono."""

    @property
    def length_s(self) -> int:
        """Seconds = frames."""
        return len(self.frames)


def frame_parts(frames: Sequence[Path], *, width_px: int, jpeg_quality: int) -> list[Part]:
    """Each frame as an `image_url` part, preceded by its number in words."""
    parts: list[Part] = []
    for second, frame in enumerate(frames):
        url = f"data:image/jpeg;base64,{_base64(_jpeg(frame, width_px, jpeg_quality))}"
        parts.append({"type": "text", "text": f"frame {second}"})
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def video_part(frames: Sequence[Path], *, width_px: int) -> Part:
    """The frames as one `video_url` part: a silent mp4 (H.264) of one frame per second."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = _picture(frame, width_px)
            height, width = (side - side % 2 for side in picture.shape[:2])  # yuv420p wants even sides
            if not stream.codec_context.is_open:
                stream.height, stream.width = height, width
            image = av.VideoFrame.from_ndarray(picture[:height, :width].copy(), format="bgr24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{_base64(target.getvalue())}"}}


def audio_part(wav: bytes) -> Part:
    """The sound as an `input_audio` part."""
    return {"type": "input_audio", "input_audio": {"data": _base64(wav), "format": "wav"}}


def read_audio(clip: Clip) -> bytes:
    """The clip's WAV file.

    Raises:
        AvisError: it is not there.
    """
    return _read(clip.audio, "the sound of a test clip")


def read_frame(frame: Path) -> bytes:
    """A frame's JPEG file.

    Raises:
        AvisError: it is not there.
    """
    return _read(frame, "a frame of a test clip")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AvisError(f"{what} cannot be read", where=str(path), fix="Run: dvc repro extract") from error


def other_sound(wav: bytes | None, *, like: bytes) -> bytes:
    """The sound of `wav` (silence for None), cut or filled with silence to the length of the WAV `like`."""
    import wave

    target = io.BytesIO()
    with wave.open(io.BytesIO(like)) as model, wave.open(target, "wb") as copy:
        copy.setparams(model.getparams())
        size = model.getnframes() * model.getsampwidth() * model.getnchannels()
        samples = b""
        if wav is not None:
            with wave.open(io.BytesIO(wav)) as source:
                samples = source.readframes(model.getnframes())
        copy.writeframes(samples[:size].ljust(size, b"\0"))
    return target.getvalue()


def reversed_sound(wav: bytes) -> bytes:
    """The sound of a WAV file from its end to its beginning."""
    import wave

    import numpy as np

    target = io.BytesIO()
    with wave.open(io.BytesIO(wav)) as source, wave.open(target, "wb") as copy:
        copy.setparams(source.getparams())
        samples = np.frombuffer(source.readframes(source.getnframes()), np.uint8)
        copy.writeframes(samples.reshape(-1, source.getsampwidth() * source.getnchannels())[::-1].tobytes())
    return target.getvalue()


def fitted(frames: Sequence[Path], length_s: int) -> tuple[Path, ...]:
    """So many frames, the last one as often as is needed."""
    return (*frames, *[frames[-1]] * length_s)[:length_s]


def sent_size(frame: Path, width_px: int) -> tuple[float, float]:
    """Width and height of a frame as it is sent."""
    height, width = _picture(frame, width_px).shape[:2]
    return float(width), float(height)


def _picture(frame: Path, width_px: int) -> Any:
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(read_frame(frame), np.uint8), cv2.IMREAD_COLOR)  # [H, W, 3] BGR
    if picture is None:
        raise AvisError(
            "a frame of a test clip is no picture", where=str(frame), fix="Run: dvc repro extract"
        )
    height, width = picture.shape[:2]
    if width > width_px:
        size = (width_px, max(1, round(height * width_px / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return picture


def _jpeg(frame: Path, width_px: int, jpeg_quality: int) -> bytes:
    import cv2

    ok, data = cv2.imencode(".jpg", _picture(frame, width_px), [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    if not ok:
        raise AvisError("a frame cannot be encoded as JPEG", where=str(frame))
    return bytes(data.tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
