"""A clip's sound as something that the page plays."""

import base64
import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.run.errors import AvisError

_BIT_RATE_HZ = 48_000  # AAC, mono: 6 KB a second, good enough to tell a violin from a cello


def read_wav(path: Path) -> tuple[NDArray[np.int16], int]:
    """Samples [N] and sample rate in Hz of a 16 bit mono WAV file.

    Raises:
        AvisError: it is missing, or not of this kind.
    """
    try:
        with wave.open(str(path)) as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise AvisError("the sound is not 16 bit mono", where=str(path), fix="Run: dvc repro extract")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()
    except (OSError, wave.Error, EOFError) as error:
        raise AvisError(
            f"the sound of a test clip cannot be read: {error}", where=str(path), fix="Run: dvc repro extract"
        ) from error


def data_uri(samples: NDArray[np.int16], rate_hz: int) -> str:
    """The sound as AAC in an mp4, inline."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate_hz)
        stream.layout = "mono"
        stream.bit_rate = _BIT_RATE_HZ
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return f"data:audio/mp4;base64,{base64.b64encode(target.getvalue()).decode('ascii')}"
