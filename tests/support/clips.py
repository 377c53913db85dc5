"""Small video files for tests, made with PyAV: a grey that counts the frames, flashes and beeps."""

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from components.core.media.container import tracks_taken
from components.core.media.sound import read_sound
from components.ingest.remux import remux
from components.ingest.verify import Verified, verify

TICKS = Fraction(1, 90_000)


def make_clip(
    path: Path,
    *,
    seconds: float = 3.0,
    fps: float = 10.0,
    size: tuple[int, int] = (96, 64),
    rate_hz: int = 44_100,
    channels: int = 2,
    video_codec: str | None = "libx264",
    audio_codec: str | None = "aac",
    flashes_s: tuple[float, ...] = (),
    times_s: list[float] | None = None,
    rotation: int = 0,
    offset_s: float = 0.0,
    pix_fmt: str = "yuv420p",
    video_options: dict[str, str] | None = None,
    sound_from_s: float = 0.0,
    sound_until_s: float | None = None,
    loud_channels: tuple[int, ...] | None = None,
) -> Path:
    """Write a clip whose picture k is grey 20 + 2k (modulo 200), white during 0.1 s at each of `flashes_s`,
    when a 1 kHz tone sounds too. `times_s` gives the pictures' times (variable rate); all are shifted by
    `offset_s`. The left upper corner is dark in the file's own orientation. The sound track begins and ends
    at `sound_from_s` and `sound_until_s`; the tone is in all channels or in `loud_channels`."""
    width, height = size
    path.parent.mkdir(parents=True, exist_ok=True)
    times = times_s if times_s is not None else [k / fps for k in range(round(seconds * fps))]
    options = {"avoid_negative_ts": "disabled"} if offset_s else {}
    with av.open(str(path), mode="w", options=options) as container:
        video = audio = None
        if video_codec:
            video = container.add_stream(video_codec, rate=Fraction(fps).limit_denominator(1001))
            video.width, video.height, video.pix_fmt = width, height, pix_fmt
            video.codec_context.time_base = TICKS
            video.options = video_options or {}
            if rotation:
                video.set_display_rotation(rotation)
        if audio_codec:
            audio = container.add_stream(
                audio_codec, rate=rate_hz, layout={1: "mono", 2: "stereo", 6: "5.1"}[channels]
            )
        if video:
            for k, time_s in enumerate(times):
                white = any(f - 1e-6 <= time_s < f + 0.1 - 1e-6 for f in flashes_s)
                rgb = np.full((height, width, 3), 255 if white else 20 + 2 * k % 200, dtype=np.uint8)
                rgb[: height // 4, : width // 4] = 0
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
                frame.pts, frame.time_base = round((time_s + offset_s) / TICKS), TICKS
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio:
            first, end = round(sound_from_s * rate_hz), round((sound_until_s or seconds) * rate_hz)
            t = np.arange(first, end) / rate_hz
            sounding = np.zeros(len(t), dtype=bool)
            for f in flashes_s:
                sounding |= (t >= f) & (t < f + 0.1)
            wave = np.where(sounding, 0.8 * np.cos(2 * np.pi * 1000 * t), 0.0).astype(np.float32)
            waves = np.zeros((channels, len(wave)), np.float32)
            waves[list(loud_channels or range(channels))] = wave
            frame = av.AudioFrame.from_ndarray(waves, format="fltp", layout=audio.layout.name)
            frame.sample_rate = rate_hz
            frame.pts, frame.time_base = round(offset_s * rate_hz) + first, Fraction(1, rate_hz)
            resampler = av.AudioResampler(format=audio.format.name, layout=audio.layout.name, rate=audio.rate)
            for piece in resampler.resample(frame) + resampler.resample(None):
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    if video_codec == "libsvtav1":
        leave_real_time()
    return path


def leave_real_time() -> None:
    """Take back what SVT-AV1 does to the process that encodes with it.

    For root it asks for the highest real-time priority. All that is started from there on has it, too, and
    leaves other processes next to nothing.
    """
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def make_clip_of_two_sizes(
    path: Path, sizes: tuple[tuple[int, int], tuple[int, int]] = ((96, 64), (192, 128)), seconds: float = 2.0
) -> Path:
    """A .ts file whose picture changes its size after `seconds`: two MPEG-TS files, one after the other.

    A part loses its last picture or two; the second is half a second longer, so that its seconds are whole.
    """
    parts = [
        make_clip(path.with_name(f"part{k}.ts"), seconds=seconds + k / 2, size=size, offset_s=seconds * k)
        for k, size in enumerate(sizes)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def grey(picture: np.ndarray) -> float:
    """The grey of a picture away from its marked corner."""
    return float(picture[picture.shape[0] // 2 :, picture.shape[1] // 2 :].mean())


def onset_s(audio: np.ndarray, rate_hz: int = 16_000) -> float:
    """When the first beep begins."""
    loud = np.abs(audio.astype(np.float64)) > 0.25 * np.abs(audio.astype(np.float64)).max()
    return float(np.argmax(loud) / rate_hz)


def remuxed(
    files: list[Path],
    folder: Path,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Verified:
    """Files as ingest keeps them: joined, cut, verified."""
    changes = tracks_taken(files)
    path, frame_s = remux(files, folder, start_s=start_s, end_s=end_s, changes=changes)
    verified = verify(path, min_duration_s=1.0, frame_s=frame_s)
    return replace(verified, changes=changes.text() or None)


TONES_S = 3
TONES_RATE_HZ = 48_000


def make_clip_of_tracks(
    path: Path,
    tones_hz: Sequence[float | None],
    *,
    marks: dict[int, Disposition] | None = None,
    container: str = "mp4",
    cover: Disposition | None = None,
    empty_pictures: bool = False,
    grey: int = 8,
    options: dict[str, str] | None = None,
) -> Path:
    """A video with a sound track for each tone; `marks`: the flags of some of them, by number.

    tones_hz: a track of None is declared, and has no packet. empty_pictures: so is the first picture track.
    grey: picture k has k times that. cover: a white picture is the first track, and has these flags."""
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        if cover is not None:
            still = output.add_stream("mjpeg", rate=1)
            still.width, still.height, still.pix_fmt, still.disposition = 32, 32, "yuvj420p", cover
        for _ in range(1 + empty_pictures):
            video = output.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams: list[Any] = [output.add_stream("aac", rate=TONES_RATE_HZ, layout="mono") for _ in tones_hz]
        for number, stream in enumerate(streams):
            stream.disposition = (marks or {}).get(number, Disposition(0))
        output.start_encoding()
        if cover is not None:
            white = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255, np.uint8), format="rgb24")
            white.pts = 0
            output.mux(still.encode(white.reformat(format="yuvj420p")) + still.encode(None))
        for number in range(10 * TONES_S):
            picture = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), grey * number, np.uint8), format="rgb24"
            )
            picture.pts = number
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        for stream, tone_hz in zip(streams, tones_hz, strict=True):
            if tone_hz is None:
                continue
            samples = np.sin(2 * np.pi * tone_hz * np.arange(TONES_S * TONES_RATE_HZ) / TONES_RATE_HZ)
            for first in range(0, len(samples), 1024):
                piece = (samples[None, first : first + 1024] * 0.3).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                sound.rate, sound.pts = TONES_RATE_HZ, first
                output.mux(stream.encode(sound))
            output.mux(stream.encode(None))
    return path


def without_decoder(path: Path, names: tuple[bytes, bytes], number: int) -> Path:
    """Rename the codec of the number-th track that has this one, and the box that tells of it otherwise."""
    content = path.read_bytes()
    at = content.index(b"stsd") + 16
    found = 0
    while content[at : at + 4] != names[0] or found < number:
        found += content[at : at + 4] == names[0]
        at = content.index(b"stsd", at) + 16
    described = content.index(b"esds", at)
    path.write_bytes(
        content[:at] + names[1] + content[at + 4 : described] + b"xxxx" + content[described + 4 :]
    )
    return path


def heard_hz(path: Path) -> float:
    """The strongest tone of a file's sound."""
    samples = read_sound(path, rate_hz=16_000)[:, 0].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * 16_000 / len(samples))
