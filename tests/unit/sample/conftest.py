"""A tiny kit of the tester's own: squares that sound as pure tones."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

TONES_HZ = {"bell": 440, "horn": 1200}


def write_tone(file: Path, frequency_hz: float, duration_s: float = 1.0, rate_hz: int = 22_050) -> None:
    samples = np.sin(2 * np.pi * frequency_hz * np.arange(int(duration_s * rate_hz)) / rate_hz)
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 20_000).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_square(file: Path, colour: tuple[int, int, int], side_px: int = 64) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((side_px, side_px, 4), 255, np.uint8)
    image[..., :3] = colour[::-1]
    cv2.imwrite(str(file), image)


@pytest.fixture
def own_kit(tmp_path: Path) -> Path:
    folder = tmp_path / "kit"
    write_square(folder / "sprites/bell/red.png", (255, 0, 0))
    write_square(folder / "sprites/bell/pink.png", (255, 120, 120))
    write_square(folder / "sprites/horn/blue.png", (0, 0, 255))
    for name, frequency_hz in TONES_HZ.items():
        write_tone(folder / f"sounds/{name}/tone.wav", frequency_hz)
    (folder / "backgrounds").mkdir()
    cv2.imwrite(str(folder / "backgrounds/grey.png"), np.full((180, 320, 3), 128, np.uint8))
    return folder
