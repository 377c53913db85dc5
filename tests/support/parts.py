"""Parts of recordings for tests: a grey and a tone, at the times that a test wants; put end to end."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = Fraction(1, 90_000)
RATE_HZ = 48_000
NOTHING = (0.0, 0.0)


def make_part(
    path: Path,
    seconds: float,
    *,
    grey: int,
    tone_hz: float,
    from_s: float = 0.0,
    sound_from_s: float | None = None,
    no_pictures_s: tuple[float, float] = NOTHING,
    no_sound_s: tuple[float, float] = NOTHING,
    codecs: tuple[str, str] = ("libx264", "aac"),
    container: str | None = None,
    size: tuple[int, int] = (96, 64),
    options: dict[str, str] | None = None,
) -> Path:
    """Write pictures of one grey, ten a second, and a tone. The file's time begins at `from_s`, that of the
    sound perhaps elsewhere; within the spans `no_…_s`, counted from the part's begin, packets are missing."""
    packets = []
    options = {"avoid_negative_ts": "disabled", **(options or {})}
    with av.open(str(path), "w", format=container, options=options) as output:
        video, audio = output.add_stream(codecs[0], rate=10), output.add_stream(codecs[1], rate=RATE_HZ)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio.layout = "mono"
        if codecs[0] == "libx264":
            video.codec_context.time_base, video.options = TICKS, {"preset": "ultrafast"}
        array = np.full((size[1], size[0], 3), grey, np.uint8)
        for k in range(round(10 * seconds)):
            if no_pictures_s[0] <= k / 10 < no_pictures_s[1]:
                continue
            picture = av.VideoFrame.from_ndarray(array, format="rgb24")
            picture.pts, picture.time_base = round((k / 10 + from_s) / TICKS), TICKS
            packets += video.encode(picture)
        samples = np.sin(2 * np.pi * tone_hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ) * 0.3
        begin = round((from_s if sound_from_s is None else sound_from_s) * RATE_HZ)
        format_name = audio.format.name
        for first in range(0, len(samples), 1024):
            if no_sound_s[0] <= first / RATE_HZ < no_sound_s[1]:
                continue
            piece = samples[None, first : first + 1024]
            piece = piece.astype(np.float32) if format_name == "fltp" else (piece * 32767).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(piece, format=format_name, layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE_HZ, begin + first, Fraction(1, RATE_HZ)
            packets += audio.encode(sound)
        packets += video.encode(None) + audio.encode(None)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            output.mux(packet)
    return path


def put_together(path: Path, *parts: Path) -> Path:
    """As `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def tones_hz(sound: np.ndarray, rate_hz: int = 16_000) -> list[int]:
    """The strongest tone in each whole second of a mono sound, to 10 Hz; 0 where it is silent."""
    found = []
    for second in np.split(sound, range(rate_hz, len(sound), rate_hz)):
        inner = second.reshape(-1)[rate_hz // 10 : -rate_hz // 10].astype(float)
        if len(second) == rate_hz:
            loud = np.abs(inner).max() > 0.001 * max(1.0, np.abs(sound).max())
            peak = np.argmax(np.abs(np.fft.rfft(inner))) * rate_hz / len(inner)
            found.append(int(round(peak, -1)) if loud else 0)
    return found


SECOND_PROGRAM = {"mpegts_pmt_start_pid": "0x1010", "mpegts_start_pid": "0x200", "mpegts_service_id": "2"}


def as_programs(path: Path, first: Path, second: Path) -> Path:
    """Two MPEG-TS files side by side in one, as channels are broadcast; the second has SECOND_PROGRAM."""
    packets = [
        (begin / len(content), content[begin : begin + 188])
        for content in (first.read_bytes(), second.read_bytes())
        for begin in range(0, len(content), 188)
    ]
    beside = [packet for _, packet in sorted(packets) if _pid(packet) not in (0, 0x11)]
    # the table of programs (ISO 13818-1, 2.4.4.3): number and the stream that describes it, of each
    table = bytes.fromhex("00b011 0001 c10000 0001f000 0002f010")
    table = b"\x47\x40\x00\x10\x00" + table + _crc(table).to_bytes(4, "big")
    describes_first = next(packet for packet in beside if _pid(packet) == 0x1000)
    path.write_bytes(table.ljust(188, b"\xff") + describes_first + b"".join(beside))
    return path


def _pid(packet: bytes) -> int:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


def _crc(content: bytes) -> int:
    """ISO 13818-1, annex A."""
    rest = 0xFFFFFFFF
    for byte in content:
        rest ^= byte << 24
        for _ in range(8):
            rest = (rest << 1) ^ (0x104C11DB7 if rest & 0x80000000 else 0)
    return rest
