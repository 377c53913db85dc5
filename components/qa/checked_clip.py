"""One clip as checks see it: masks, pictures and loudness, each read once when first asked for.

T: frames, H, W: the frame's height and width in pixels, h, w: a crop's or small picture's.
"""

import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.core.records.annotations import intervals_problem
from components.core.records.masks import compress_all
from components.qa.label_files import ClipItem
from components.qa.measures.jpeg import jpeg_size

SAMPLE_RATE_HZ = 16_000
SILENCE_DBFS = -120.0
INAUDIBLE_DBFS = -60.0
ENVELOPE_S = 0.02
_WINDOW_S = 0.05
_BANDS, _LOWEST_BAND_HZ = 24, 100.0
_SMALL_WIDTH_PX = 320
_INT16_FULL_SCALE = 32768.0


@dataclass(frozen=True)
class Crop:
    """A mask cut to its box: pixels [h, w] with the upper left corner at column x, row y of the frame."""

    x: int
    y: int
    pixels: NDArray[np.bool_]
    area: int

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """The mean of the pixels' places, x and y, [2]."""
        rows, columns = np.nonzero(self.pixels)
        return np.array([self.x + columns.mean(), self.y + rows.mean()])

    @cached_property
    def pieces(self) -> tuple[int, int]:
        """How many islands (8-connected) and how many holes (4-connected) the mask has."""
        _, ranks = cv2.findContours(self.pixels.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        holes = int(np.count_nonzero(ranks[0, :, 3] >= 0))
        return len(ranks[0]) - holes, holes

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom (exclusive), in pixels."""
        return self.x, self.y, self.x + self.pixels.shape[1], self.y + self.pixels.shape[0]


def intersection(one: Crop, other: Crop) -> int:
    """Pixels that two masks share."""
    left, top = max(one.x, other.x), max(one.y, other.y)
    right, bottom = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if left >= right or top >= bottom:
        return 0
    mine = one.pixels[top - one.y : bottom - one.y, left - one.x : right - one.x]
    theirs = other.pixels[top - other.y : bottom - other.y, left - other.x : right - other.x]
    return int(np.count_nonzero(mine & theirs))


def iou(one: Crop | None, other: Crop | None) -> float:
    """Intersection over union of two masks, 0 where one is missing."""
    if one is None or other is None:
        return 0.0
    common = intersection(one, other)
    return common / (one.area + other.area - common)


@dataclass
class Track:
    """One annotation of the clip.

    segmentations, boxes, areas: as in the file, whatever their lengths.
    crops: the mask on each of the T frames, None where there is none or it cannot be decoded.
    undecodable: frame to reason.
    sounding: when the object is heard, (start, end) in seconds; None where the file does not say, or says
        something that cannot be (`sounding_problem`).
    """

    id: int
    category: str | None
    segmentations: list[Any]
    boxes: list[Any] | None
    areas: list[Any] | None
    crops: list[Crop | None] = field(default_factory=list)
    undecodable: dict[int, str] = field(default_factory=dict)
    sounding: list[tuple[float, float]] | None = None
    sounding_problem: str | None = None

    @cached_property
    def present(self) -> list[int]:
        """Frames with a mask."""
        return [k for k, _ in self.masks]

    @property
    def masks(self) -> Iterator[tuple[int, Crop]]:
        """The frames with a mask, each with its mask."""
        return ((k, crop) for k, crop in enumerate(self.crops) if crop is not None)


def _crop(code: dict[str, Any]) -> Crop | None:
    """The mask of a checked code; None where it is empty."""
    from pycocotools import mask as coco

    x, y, w, h = (int(value) for value in coco.toBbox(code))
    if w == 0 or h == 0:
        return None
    # Decoded column by column; only the box is brought into rows. A view would keep the whole frame.
    pixels = np.ascontiguousarray(coco.decode(code)[y : y + h, x : x + w]).view(np.bool_)
    return Crop(x, y, pixels, int(coco.area(code)))


class Clip:
    """One clip."""

    def __init__(self, item: ClipItem) -> None:
        self.item = item
        self.split, self.name, self.length = item.split, item.name, item.length
        self.height, self.width = item.height, item.width
        self.frame_rate_hz = item.entry.frame_rate_hz if item.entry else 1.0
        self.frame_folder = item.media / "frames" / item.name
        self.audio_path = item.media / "audio" / f"{item.name}.wav"
        self._pictures: dict[int, NDArray[np.uint8] | None] = {}

    @cached_property
    def tracks(self) -> list[Track]:
        """The clip's tracks, masks decoded."""
        return [self._track(row) for row in self.item.tracks]

    def _track(self, row: dict[str, Any]) -> Track:
        track = Track(
            id=row["id"],
            category=self.item.categories.get(row.get("category_id", -1)),
            segmentations=row["segmentations"],
            boxes=row.get("bboxes") if isinstance(row.get("bboxes"), list) else None,
            areas=row.get("areas") if isinstance(row.get("areas"), list) else None,
        )
        if row.get("sounding") is not None:
            track.sounding_problem = intervals_problem(row["sounding"])
            if track.sounding_problem is None:
                track.sounding = [(float(start), float(end)) for start, end in row["sounding"]]
        codes, track.undecodable = compress_all(track.segmentations[: self.length], self.height, self.width)
        codes += [None] * (self.length - len(codes))
        track.crops = [None if code is None else _crop(code) for code in codes]
        return track

    @cached_property
    def labelled(self) -> NDArray[np.intp]:
        """Masks on each frame, [T]."""
        present = [[crop is not None for crop in track.crops] for track in self.tracks]
        return np.sum(present, axis=0, dtype=np.intp) if present else np.zeros(self.length, dtype=np.intp)

    def frame_path(self, k: int) -> Path:
        """The JPEG of frame k."""
        return self.frame_folder / f"{k:05d}.jpg"

    @cached_property
    def frame_sizes(self) -> list[tuple[int, int] | None]:
        """Width and height of each JPEG after its markers; None where it is missing, cut off or none."""
        return [jpeg_size(self.frame_path(k)) for k in range(self.length)]

    @property
    def pictures(self) -> list[NDArray[np.uint8] | None]:
        """The frames, gray and small, [h, w] each; None where a file is missing or unreadable."""
        return [self.picture(k) for k in range(self.length)]

    def picture(self, k: int) -> NDArray[np.uint8] | None:
        """One of `pictures`: decoding is what costs most, and few checks need every frame."""
        if k not in self._pictures:
            self._pictures[k] = self._read_picture(k)
        return self._pictures[k]

    def _read_picture(self, k: int) -> NDArray[np.uint8] | None:
        if not self.frame_path(k).is_file():  # imread would print a warning
            return None
        # The decoder halves and quarters a JPEG for less than it costs to decode it whole.
        half = cv2.IMREAD_REDUCED_GRAYSCALE_2 if self.width >= 2 * _SMALL_WIDTH_PX else cv2.IMREAD_GRAYSCALE
        picture = cv2.imread(str(self.frame_path(k)), half)
        if picture is None:
            return None
        if picture.shape[1] > _SMALL_WIDTH_PX:
            height = round(picture.shape[0] * _SMALL_WIDTH_PX / picture.shape[1])
            picture = cv2.resize(picture, (_SMALL_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        return np.asarray(picture, dtype=np.uint8)

    @cached_property
    def sound(self) -> NDArray[np.int16] | None:
        """The clip's 16 kHz mono sound, [samples]; None where there is no readable file."""
        try:
            with wave.open(str(self.audio_path), "rb") as file:
                if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, SAMPLE_RATE_HZ):
                    return None
                return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        except (OSError, wave.Error, EOFError):
            return None

    @cached_property
    def level_dbfs(self) -> NDArray[np.float64] | None:
        """The loudest 50 ms of each frame's second, [T]: root mean square in dB of full scale."""
        return None if self._windows_dbfs is None else np.max(self._windows_dbfs, axis=1)

    @cached_property
    def usual_level_dbfs(self) -> NDArray[np.float64] | None:
        """What half of the 50 ms pieces of each frame's second reach, [T], in dB of full scale."""
        return None if self._windows_dbfs is None else np.median(self._windows_dbfs, axis=1)

    @cached_property
    def spectrum_db(self) -> NDArray[np.float64] | None:
        """Power in 24 bands of each frame's second, [T, 24], in dB against the second's mean band."""
        if self.sound is None or self._far_too_short():
            return None
        per_frame = max(1, round(SAMPLE_RATE_HZ / self.frame_rate_hz))
        samples = np.zeros(self.length * per_frame, dtype=np.float32)
        available = self.sound[: len(samples)]
        samples[: len(available)] = available / _INT16_FULL_SCALE
        power = np.abs(np.fft.rfft(samples.reshape(self.length, per_frame), axis=1)) ** 2
        edges = np.geomspace(_LOWEST_BAND_HZ, SAMPLE_RATE_HZ / 2, _BANDS + 1) / SAMPLE_RATE_HZ * per_frame
        edges = np.maximum.accumulate(np.minimum(edges.astype(int), power.shape[1] - 1))
        bands = 10 * np.log10(np.add.reduceat(power, edges[:-1].tolist(), axis=1) + 1e-6)
        return np.asarray(bands - bands.mean(axis=1, keepdims=True))

    @cached_property
    def envelope_dbfs(self) -> NDArray[np.float64] | None:
        """Root mean square of each 20 ms, [windows], in dB of full scale."""
        if self.sound is None:
            return None
        window = round(ENVELOPE_S * SAMPLE_RATE_HZ)
        count = len(self.sound) // window
        samples = self.sound[: count * window].astype(np.float64) / _INT16_FULL_SCALE
        power = np.mean(samples.reshape(count, window) ** 2, axis=1)
        return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SILENCE_DBFS / 10))))

    def silent(self, drop_db: float) -> NDArray[np.bool_]:
        """Seconds [T] in which nothing is heard but the recording's own noise.

        Such a second is below -60 dB of full scale, or it lies `drop_db` under the clip's loud seconds and
        within 6 dB of the quietest 50 ms pieces of the clip.
        """
        if self.level_dbfs is None or self._windows_dbfs is None:
            return np.zeros(self.length, dtype=bool)
        loud = float(np.percentile(self.level_dbfs, 90))
        noise = float(np.percentile(self._windows_dbfs, 5))
        quiet = (self.level_dbfs < loud - drop_db) & (self.level_dbfs < noise + 6.0)
        return np.asarray(quiet | (self.level_dbfs < INAUDIBLE_DBFS))

    def _far_too_short(self) -> bool:
        """Whether the sound is so much shorter than the clip's length that one of them is wrong.

        audio_length says so; silence of the whole length would only fill the memory.
        """
        assert self.sound is not None  # noqa: S101
        return self.length / self.frame_rate_hz > 60 + 2 * len(self.sound) / SAMPLE_RATE_HZ

    @cached_property
    def _windows_dbfs(self) -> NDArray[np.float64] | None:
        """Root mean square of each 50 ms of each frame's second, [T, windows]."""
        if self.sound is None or self._far_too_short():
            return None
        window = round(_WINDOW_S * SAMPLE_RATE_HZ)
        per_frame = max(1, round(SAMPLE_RATE_HZ / self.frame_rate_hz / window))
        samples = np.zeros(self.length * per_frame * window)
        available = self.sound[: len(samples)]
        samples[: len(available)] = available / _INT16_FULL_SCALE
        power = np.mean(samples.reshape(self.length, per_frame, window) ** 2, axis=2)
        return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SILENCE_DBFS / 10))))
