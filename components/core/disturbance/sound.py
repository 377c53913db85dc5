"""What can happen to a clip's sound. Sounds are float32 [n] in -1..1, 16 kHz mono."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from components.core.clips.reader import SAMPLE_RATE_HZ
from components.core.disturbance.params import DisturbParams
from components.core.run.errors import AvisError

Sound = NDArray[np.float32]
Chance = Callable[[str], np.random.Generator]
"""What each disturbance draws from, by its name: none changes what another one draws."""

_LEVEL = 0.1  # root mean square of noise in the place of sound: -20 dB of full scale, whatever was there
# what is read again was written here, and names no other file
_SAFE = {"protocol_whitelist": "file", "format_whitelist": "ogg,mp3"}
_ENCODERS = {"opus": ("libopus", "ogg"), "mp3": ("libmp3lame", "mp3")}  # and their containers


def disturb_sound(sound: Sound, params: DisturbParams, chance: Chance, others: Sequence[Sound]) -> Sound:
    """A clip's sound as it arrives: its source, the room, the noise in it, the microphone, the line.

    Args:
        others: sounds of other clips, whatever their lengths, at least one.

    Raises:
        AvisError: all others are silent where they are to be a babble.
    """
    if params.replaced_by is not None:
        sound = _in_place_of(sound, params.replaced_by, chance("replaced_by"), others)
    if params.muted_share is not None:
        sound = mute(sound, params.muted_share, chance("muted_share"))
    if params.shift_s is not None:
        sound = shift(sound, params.shift_s)
    if params.reverberation_s is not None:
        sound = reverberate(sound, params.reverberation_s, chance("reverberation_s"))
    if params.noise is not None and params.snr_db is not None:
        noise = make_noise(params.noise, len(sound), chance("noise"), others)
        sound = add_noise(sound, noise, params.snr_db)
    if params.clipped_share is not None:
        sound = clip(sound, params.clipped_share)
    if params.band_hz is not None:
        sound = limit_band(sound, *params.band_hz)
    if params.codec is not None and params.bit_rate_kbps is not None:
        sound = code(sound, params.codec, params.bit_rate_kbps)
    return sound


def _in_place_of(sound: Sound, kind: str, chance: np.random.Generator, others: Sequence[Sound]) -> Sound:
    if kind == "silence":
        return np.zeros_like(sound)
    if kind == "other_clip":
        return np.resize(others[0], len(sound)) if len(others[0]) else np.zeros_like(sound)
    return np.float32(_LEVEL) * make_noise(kind, len(sound), chance, others)


def make_noise(kind: str, count: int, chance: np.random.Generator, others: Sequence[Sound]) -> Sound:
    """Noise of power 1: white, pink (power falls as 1/f), or a babble of the others, each as loud.

    Raises:
        AvisError: all others are silent.
    """
    if kind == "babble":
        loud = [_as_loud(np.resize(one, count)) for one in others if one.any()]
        if not loud:
            raise AvisError(
                "there is no babble: the other clips are silent", fix="Set noise to white or pink."
            )
        return _as_loud(np.sum(loud, axis=0))
    white = chance.standard_normal(count).astype(np.float32)
    if kind == "white":
        return _as_loud(white)
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return _as_loud(np.fft.irfft(spectrum, count))


def _as_loud(sound: NDArray[np.floating]) -> Sound:
    """The sound at power 1; silence stays silence."""
    power = float(np.mean(np.square(sound, dtype=np.float64))) if len(sound) else 0.0
    loud: Sound = (sound / np.sqrt(power or 1.0)).astype(np.float32)
    return loud


def add_noise(sound: Sound, noise: Sound, snr_db: float) -> Sound:
    """Add noise of which the sound has `snr_db` more power, over the whole clip; to silence nothing."""
    import torch
    from torchaudio.functional import add_noise

    added = add_noise(torch.from_numpy(sound)[None], torch.from_numpy(noise)[None], torch.tensor([snr_db]))
    noisy: Sound = added[0].numpy()
    return noisy


def mute(sound: Sound, share: float, chance: np.random.Generator) -> Sound:
    """Silence this share of the seconds, drawn at random."""
    seconds = -(-len(sound) // SAMPLE_RATE_HZ)
    quiet = sound.copy()
    for second in chance.permutation(seconds)[: round(share * seconds)]:
        quiet[second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ] = 0
    return quiet


def shift(sound: Sound, later_s: float) -> Sound:
    """The sound so much later, or earlier below 0; what is missing then is silence."""
    count = min(round(abs(later_s) * SAMPLE_RATE_HZ), len(sound))
    silence = np.zeros(count, np.float32)
    return np.concatenate((silence, sound[: len(sound) - count]) if later_s > 0 else (sound[count:], silence))


def reverberate(sound: Sound, decay_s: float, chance: np.random.Generator) -> Sound:
    """The sound in a room: itself, and as much power that falls by 60 dB within `decay_s`; as loud as before.

    Noise that decays exponentially is the late part of a room's response (Polack 1988).
    """
    import torch
    from torchaudio.functional import fftconvolve

    time_s = np.arange(round(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = chance.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    response = tail / np.sqrt(np.sum(tail**2))
    response[0] = 1
    response = (response / np.sqrt(np.sum(response**2))).astype(np.float32)
    heard: Sound = fftconvolve(torch.from_numpy(sound), torch.from_numpy(response))[: len(sound)].numpy()
    return heard


def clip(sound: Sound, share: float) -> Sound:
    """Cut off the loudest samples at one level, so that this share of those that are not 0 is there."""
    heard = np.abs(sound[sound != 0])
    if not len(heard):
        return sound
    limit = np.quantile(heard, 1 - share)
    return np.clip(sound, -limit, limit)


def limit_band(sound: Sound, low_hz: float, high_hz: float) -> Sound:
    """Take away all below and above."""
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
    spectrum[(frequencies < low_hz) | (frequencies > high_hz)] = 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def code(sound: Sound, codec: str, bit_rate_kbps: float) -> Sound:
    """The sound after a codec, where it was: containers tell an encoder's delay, and it is skipped."""
    import av

    encoder, container = _ENCODERS[codec]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(encoder, rate=SAMPLE_RATE_HZ, layout="mono")
        stream.bit_rate = round(1000 * bit_rate_kbps)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE_HZ)
    with av.open(file, mode="r", options=_SAFE) as source:
        pieces = [piece for frame in source.decode(audio=0) for piece in resampler.resample(frame)]
    pieces += resampler.resample(None)
    decoded = np.concatenate([np.zeros(0, np.float32), *(piece.to_ndarray()[0] for piece in pieces)])
    return np.pad(decoded[: len(sound)], (0, max(0, len(sound) - len(decoded))))
