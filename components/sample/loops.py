"""From a recording to a loop that sounds without a gap for as long as a scene needs it."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from scipy.signal import resample

from components.core.run.errors import AvisError

Samples = npt.NDArray[np.float32]

SOUND_RATE_HZ = 44_100
LOOP_LEVEL = 0.1  # root mean square
LONGEST_PAUSE_S = 0.2
SEAM_S = 0.04
WINDOW_S = 0.02
QUIET_SHARE = 0.1  # of the loud parts: below it counts as a pause
ROOM_NOISE_S = 7.3
_SAFE = {"protocol_whitelist": "file", "format_whitelist": "ogg,wav,mp3,flac"}  # as core/media has for videos


def read_sound(file: Path) -> Samples:
    """Decode to mono at SOUND_RATE_HZ.

    Raises:
        AvisError: the file is no readable sound, or is shorter than a fifth of a second.
    """
    fix = "replace it by a recording that ordinary players open (ogg, wav, mp3, flac)"
    resampler = AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE_HZ)
    try:
        with av.open(str(file.absolute()), options=_SAFE) as container:
            frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.FFmpegError, IndexError) as error:
        raise AvisError("a sound of the sample kit cannot be read", where=str(file), fix=fix) from error
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames] or [np.zeros(0, np.float32)])
    if len(samples) < 0.2 * SOUND_RATE_HZ:
        raise AvisError("a sound of the sample kit is shorter than 0.2 s", where=str(file), fix=fix)
    return np.asarray(samples, np.float32)


def seamless_loop(samples: Samples, file: Path) -> Samples:
    """Cut pauses, even the level out, and fade the end into the beginning.

    A scene says that an object sounds from here to there; so every second of its sound must be audible.

    Raises:
        AvisError: the recording is silent.
    """
    level = _envelope(samples)
    loud = float(np.percentile(level, 95))
    if loud < 1e-4:
        raise AvisError("a sound of the sample kit is silent", where=str(file), fix="replace or remove it")
    pause = round(LONGEST_PAUSE_S / WINDOW_S)
    active = np.convolve(level >= QUIET_SHARE * loud, np.ones(pause, int), "same") > 0
    first, last = np.flatnonzero(level >= QUIET_SHARE * loud)[[0, -1]]
    active[:first] = active[last + 1 :] = False
    window = round(WINDOW_S * SOUND_RATE_HZ)
    samples = samples[np.repeat(active, window)[: len(samples)].nonzero()[0]]
    # Square root: quiet parts come up half way (in decibels), so the recording keeps its shape.
    level = np.convolve(np.pad(_envelope(samples), 5, "edge"), np.hanning(11) / np.hanning(11).sum(), "valid")
    gain = np.clip(np.sqrt(loud / np.maximum(level, 1e-6)), 0.7, 4.0)
    at = (np.arange(len(samples)) - window / 2) / window
    samples = samples * np.interp(at, np.arange(len(gain)), gain)
    seam = min(round(SEAM_S * SOUND_RATE_HZ), len(samples) // 4)
    angle = np.linspace(0, np.pi / 2, seam)
    loop = samples[: len(samples) - seam].copy()
    loop[:seam] = loop[:seam] * np.sin(angle) + samples[-seam:] * np.cos(angle)
    loop *= LOOP_LEVEL / np.sqrt(np.mean(loop**2))
    return np.asarray(0.6 * np.tanh(loop / 0.6), np.float32)  # no click clips the mix


def _envelope(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Root mean square of every WINDOW_S, the last one possibly shorter."""
    window = round(WINDOW_S * SOUND_RATE_HZ)
    starts = np.arange(0, len(samples), window)
    power = np.add.reduceat(samples.astype(np.float64) ** 2, starts)
    counts = np.diff(np.append(starts, len(samples)))
    return np.asarray(np.sqrt(power / counts))


def periodic_resample(loop: Samples, length: int) -> Samples:
    """The same period with another number of samples; band-limited, and the seam stays closed."""
    return loop if length == len(loop) else np.asarray(resample(loop, length), np.float32)


def room_noise() -> Samples:
    """A loop of noise that falls with frequency, the same for every kit, at LOOP_LEVEL."""
    length = round(ROOM_NOISE_S * SOUND_RATE_HZ)
    generator = np.random.Generator(np.random.PCG64(0))
    spectrum = np.fft.rfft(generator.standard_normal(length))
    frequency_hz = np.fft.rfftfreq(length, 1 / SOUND_RATE_HZ)
    spectrum *= 1 / np.sqrt(1 + (frequency_hz / 400) ** 2) * (frequency_hz > 30)
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise * LOOP_LEVEL / np.sqrt(np.mean(noise**2)), np.float32)
