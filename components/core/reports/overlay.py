"""Masks, labels and a time bar drawn over pictures, and videos made of them with their sound.

Pictures are RGB, uint8 [H, W, 3]; colours are (red, green, blue), 0 to 255.
"""

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.core.records.masks import Segmentation, decode, is_empty
from components.core.text.terminal import plain

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Colour: TypeAlias = tuple[int, int, int]
Picture: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Box: TypeAlias = tuple[slice, slice]  # of rows and columns

BACKGROUND: Colour = (15, 23, 42)
_TEXT: Colour = (226, 232, 240)
_FAINT: Colour = (71, 85, 105)  # of lines
_SOFT: Colour = (148, 163, 184)  # of texts beside what matters
_PLAYHEAD: Colour = (250, 204, 21)
_MASK_OPACITY = 0.45
_FAINT_OPACITY = 0.2  # where masks are held: a tint that is stronger on computed pictures would flash
_DOT_STEP_PX = 7  # between the dots of a held outline
_LANE_PX, _LABEL_SHARE, _AXIS_PX = 16, 0.16, 18
_HEADER_PX = 26


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the time bar: `on` tells per annotated frame whether the object sounds.

    A solid lane is filled, one that is not solid is drawn as an outline.
    """

    label: str
    colour: Colour
    on: Sequence[bool]
    solid: bool = True


@dataclass(frozen=True, slots=True)
class OverlayTrack:
    """An object to draw: one segmentation per annotated frame."""

    label: str
    colour: Colour
    segmentations: Sequence[Segmentation]

    def sounding(self) -> list[bool]:
        """Whether there is a mask, per annotated frame."""
        return [not is_empty(segmentation) for segmentation in self.segmentations]


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of several side by side, with its own title and objects."""

    title: str
    tracks: Sequence[OverlayTrack]


def category_colour(category_id: int) -> Colour:
    """Return the colour of a category, the same everywhere."""
    return _hsv(category_id * 0.381966, 0.72, 0.95)


def track_colours(category_ids: Sequence[int]) -> list[Colour]:
    """Return a colour for each track: its category's, changed a little for the second, third, … of it."""
    seen: dict[int, int] = {}
    colours = []
    for category_id in category_ids:
        instance = seen.get(category_id, 0)
        seen[category_id] = instance + 1
        shift = (instance + 1) // 2 * (0.07 if instance % 2 else -0.07)
        value = 0.95 if instance == 0 else 0.8
        colours.append(_hsv(category_id * 0.381966 + shift, 0.72, value))
    return colours


def draw_masks(
    frame_rgb: Picture,
    masks: Sequence[Mask],
    labels: Sequence[str],
    colours: Sequence[Colour],
    *,
    held: bool = False,
    opacity: float = _MASK_OPACITY,
) -> Picture:
    """Return the picture with masks (bool [H, W] each) tinted and outlined, and their labels on top.

    An empty mask draws nothing, an empty label no label. Masks that are `held` over from another picture have
    a dotted outline. opacity: of the tint.
    """
    picture = frame_rgb.copy()
    _Drawing(masks, labels, colours, opacity).put_on(picture, held=held)
    return picture


class _Drawing:
    """Masks and labels made ready once, and put on many pictures of their size: all that a second shows."""

    def __init__(
        self, masks: Sequence[Mask], labels: Sequence[str], colours: Sequence[Colour], opacity: float
    ) -> None:
        import cv2

        height, width = masks[0].shape if masks else (0, 0)
        self._thickness = max(1, round(height / 240))
        levels = np.arange(256)[:, None]
        self._parts: list[tuple[Box, Mask, Picture, Colour, list[NDArray[np.int32]]]] = []
        self._labels: list[tuple[Box, Picture, Mask]] = []
        self._dots: list[tuple[NDArray[np.intp], ...]] | None = None  # of each part, once they are asked for
        taken: list[tuple[int, int, int, int]] = []
        size = max(11, round(height / 26))
        for mask, label, colour in zip(masks, labels, colours, strict=True):
            if not mask.any():
                continue
            contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            table = (levels * (1 - opacity) + np.array(colour) * opacity).astype(np.uint8)[None]
            self._parts.append((box, mask[box].astype(np.uint8), table, colour, list(contours)))
            if label:
                largest = cv2.boundingRect(max(contours, key=cv2.contourArea))
                place = _label_place(label, largest, colour, size, (height, width), taken)
                self._labels.append(place)

    def put_on(self, picture: Picture, *, held: bool) -> None:
        """Draw into a picture; see `draw_masks`."""
        import cv2

        if held and self._dots is None:
            self._dots = [self._dots_of(contours, picture.shape[:2]) for *_, contours in self._parts]
        for number, (box, inside, table, colour, contours) in enumerate(self._parts):
            cv2.copyTo(cv2.LUT(picture[box], table), inside, picture[box])
            if held and self._dots is not None:
                picture[self._dots[number]] = colour
            else:
                cv2.drawContours(picture, contours, -1, colour, self._thickness, cv2.LINE_AA)
        for box, drawn, inside in self._labels:
            picture[box][inside] = drawn[inside]

    def _dots_of(
        self, contours: Sequence[NDArray[np.int32]], size: tuple[int, ...]
    ) -> tuple[NDArray[np.intp], ...]:
        """Rows and columns of the dots along outlines."""
        import cv2

        dotted = np.zeros(size, np.uint8)
        for contour in contours:
            for column, row in contour[:: _DOT_STEP_PX * self._thickness, 0].tolist():
                cv2.circle(dotted, (column, row), self._thickness, 1, -1)
        return np.nonzero(dotted)


def draw_timeline(
    width_px: int, lanes: Sequence[Lane], *, frame_rate_hz: float = 1.0, now_s: float | None = None
) -> Picture:
    """Draw when each object sounds: one lane per object, seconds below, and the playhead at `now_s`.

    Args:
        width_px: of the drawing; its height follows from the number of lanes.
        lanes: from top to bottom.
        frame_rate_hz: annotated frames per second; frame k sounds during [k, k + 1) / frame_rate_hz.
        now_s: None draws no playhead.
    """
    from PIL import Image
    from PIL.ImageDraw import Draw

    frames = max((len(lane.on) for lane in lanes), default=0)
    duration_s = max(frames / frame_rate_hz, 1e-6)
    height = _LANE_PX * max(1, len(lanes)) + _AXIS_PX + 6
    image = Image.new("RGB", (width_px, height), BACKGROUND)
    draw = Draw(image)
    left, right = _timeline_span(width_px)
    scale = (right - left) / duration_s
    font = _font(11)
    for row, lane in enumerate(lanes):
        top = 3 + row * _LANE_PX
        draw.text(
            (left - 8, top + _LANE_PX / 2),
            _shorten(plain(lane.label), left - 14, 11),
            _TEXT,
            font,
            anchor="rm",
        )
        draw.line([(left, top + _LANE_PX / 2), (right, top + _LANE_PX / 2)], _FAINT, 1)
        for start, end in _stretches(lane.on):
            box = (
                left + start / frame_rate_hz * scale,
                top + 3,
                max(left + end / frame_rate_hz * scale - 1, left + start / frame_rate_hz * scale),
                top + _LANE_PX - 3,
            )
            fill = lane.colour if lane.solid else BACKGROUND
            draw.rounded_rectangle(box, 3, fill=fill, outline=lane.colour, width=2)
    if not lanes:
        draw.text((left, 3 + _LANE_PX / 2), "nothing sounds", _SOFT, font, anchor="lm")
    step = next((step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300) if step * scale >= 36), 600)
    for second in range(0, int(duration_s) + 1, step):
        x = left + second * scale
        draw.line([(x, height - _AXIS_PX - 2), (x, height - _AXIS_PX + 2)], _FAINT, 1)
        draw.text((x, height - _AXIS_PX / 2 + 1), f"{second} s", _SOFT, _font(10), anchor="mm")
    picture = np.array(image)
    if now_s is not None:
        _draw_playhead(picture, now_s, duration_s)
    return picture


def render_overlay(
    path: Path,
    pictures: Iterable[Picture],
    *,
    picture_rate_hz: float,
    panels: Sequence[Panel],
    lanes: Sequence[Lane],
    frame_rate_hz: float = 1.0,
    audio: Iterable[NDArray[np.float32]] | NDArray[np.float32] | None = None,
    audio_rate_hz: int = 16_000,
    panel_height_px: int = 360,
    mark_held: bool = False,
    quick: bool = False,
) -> None:
    """Write an MP4: panels side by side, the time bar with a moving playhead below, and the clip's sound.

    The masks of annotated frame k are shown during [k, k + 1) / frame_rate_hz.

    Args:
        path: the file; written completely or not at all.
        pictures: the clip's pictures, RGB.
        picture_rate_hz: pictures per second.
        panels: what to draw over the picture, at least one panel.
        lanes: of the time bar.
        frame_rate_hz: annotated frames per second.
        audio: float32 [n] or [n, channels] in [-1, 1] from the first picture on, whole or in pieces.
        audio_rate_hz: samples per second.
        panel_height_px: height of each panel; the width follows from the picture.
        mark_held: on pictures other than the annotated one (at the middle of its time) masks are drawn as
            held: dotted outlines. All tints are faint then.
        quick: less time for a larger file.
    """
    from components.core.media.encode import write_video

    frames = _overlay_frames(
        pictures, picture_rate_hz, panels, lanes, frame_rate_hz, panel_height_px, mark_held=mark_held
    )
    write_video(
        path,
        frames,
        frame_rate_hz=picture_rate_hz,
        audio=audio,
        audio_rate_hz=audio_rate_hz,
        quick=quick,
    )


def _overlay_frames(
    pictures: Iterable[Picture],
    picture_rate_hz: float,
    panels: Sequence[Panel],
    lanes: Sequence[Lane],
    frame_rate_hz: float,
    panel_height_px: int,
    *,
    mark_held: bool,
) -> Iterator[Picture]:
    import cv2

    whole: Picture | None = None  # one for all: the encoder takes a copy of each
    bar = np.zeros((0, 0, 3), np.uint8)
    shown = -1  # annotated frame whose masks are drawn
    drawings: list[_Drawing] = []
    opacity = _FAINT_OPACITY if mark_held else _MASK_OPACITY
    duration_s = max((len(lane.on) for lane in lanes), default=0) / frame_rate_hz
    for index, picture in enumerate(pictures):
        time_s = index / picture_rate_hz
        height, width = picture.shape[:2]
        size = (max(2, round(width * panel_height_px / height)), panel_height_px)
        if whole is None:
            bar = draw_timeline(size[0] * len(panels), lanes, frame_rate_hz=frame_rate_hz)
            header = _header([panel.title for panel in panels], size[0])
            under = np.zeros((panel_height_px, *header.shape[1:]), np.uint8)
            whole = np.concatenate([header, under, bar])
        frame = int(time_s * frame_rate_hz + 1e-6)
        if frame != shown:
            shown = frame
            drawings = [
                _Drawing(
                    [_resized(track, frame, height, width, size) for track in panel.tracks],
                    [track.label for track in panel.tracks],
                    [track.colour for track in panel.tracks],
                    opacity,
                )
                for panel in panels
            ]
        computed = int((frame + 0.5) / frame_rate_hz * picture_rate_hz + 1e-6)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for place, drawing in enumerate(drawings):
            panel_of = whole[_HEADER_PX : _HEADER_PX + size[1], place * size[0] : (place + 1) * size[0]]
            panel_of[:] = small
            drawing.put_on(panel_of, held=mark_held and index != computed)
        now = whole[-len(bar) :]
        now[:] = bar
        if duration_s:
            _draw_playhead(now, time_s, duration_s)
        yield whole


def _resized(track: OverlayTrack, frame: int, height: int, width: int, size: tuple[int, int]) -> Mask:
    import cv2

    if frame >= len(track.segmentations) or track.segmentations[frame] is None:
        return np.zeros((size[1], size[0]), dtype=bool)
    segmentation = track.segmentations[frame]
    if isinstance(segmentation, dict):  # masks may be kept at another size than the picture
        height, width = segmentation["size"]
    mask = decode(segmentation, height, width).astype(np.uint8)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=bool)


def _header(titles: Sequence[str], width_px: int) -> Picture:
    from PIL import Image
    from PIL.ImageDraw import Draw

    image = Image.new("RGB", (width_px * len(titles), _HEADER_PX), BACKGROUND)
    draw = Draw(image)
    for place, title in enumerate(titles):
        text = _shorten(plain(title), width_px - 20, 13)
        draw.text((place * width_px + 10, _HEADER_PX / 2), text, _TEXT, _font(13), anchor="lm")
    return np.array(image)


def _label_place(
    label: str,
    piece: Sequence[int],
    colour: Colour,
    size: int,
    picture_size: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
) -> tuple[Box, Picture, Mask]:
    """Where a label goes, and of it what lies in the picture: above a piece, clear of labels there.

    piece: the largest of the mask: left, top, width, height. picture_size: height and width.
    taken: boxes of labels, this one's is added.
    """
    drawn, inside = _label_picture(plain(label), colour, size)
    label_height, label_width = inside.shape
    height, width = picture_size
    left = max(0, min(round(piece[0] + (piece[2] - 1 - label_width) / 2), width - label_width))
    top = max(0, piece[1] - size - 7)
    beside = [t for t in taken if left < t[2] and t[0] < left + label_width]
    step = size + 6  # down to the picture's edge, then up
    places = [*range(top, height - label_height + 1, step), *range(top - step, -1, -step)]
    free = (
        place for place in places if not any(place < t[3] and t[1] < place + label_height for t in beside)
    )
    top = next(free, top)
    taken.append((left, top, left + label_width, top + label_height))
    part = np.s_[: max(0, height - top), : width - left]
    return np.s_[top : top + label_height, left : left + label_width], drawn[part], inside[part]


@lru_cache(maxsize=256)
def _label_picture(label: str, colour: Colour, size: int) -> tuple[Picture, Mask]:
    """A label as RGB [h, w, 3], and which of its pixels are inside its round corners [h, w]."""
    from PIL import Image
    from PIL.ImageDraw import Draw

    font = _font(size)
    box = (0, 0, round(font.getlength(label)) + 8, size + 5)
    inside, image = Image.new("1", (box[2] + 1, box[3] + 1)), Image.new("RGB", (box[2] + 1, box[3] + 1))
    Draw(inside).rounded_rectangle(box, 4, fill=1)
    draw = Draw(image)
    draw.rounded_rectangle(box, 4, fill=colour)
    red, green, blue = colour
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 130
    draw.text((4, (size + 5) / 2), label, BACKGROUND if dark else (255, 255, 255), font, anchor="lm")
    return np.array(image), np.array(inside)


def _draw_playhead(picture: Picture, now_s: float, duration_s: float) -> None:
    left, right = _timeline_span(picture.shape[1])
    x = round(left + min(max(now_s / duration_s, 0.0), 1.0) * (right - left))
    picture[:-_AXIS_PX, max(0, x - 1) : x + 1] = _PLAYHEAD


def _timeline_span(width_px: int) -> tuple[int, int]:
    """Where the time axis begins and ends, in pixels."""
    left = max(90, round(width_px * _LABEL_SHARE))
    return (left, width_px - 16) if left < width_px - 16 else (0, width_px)  # a very narrow video


def _stretches(on: Sequence[bool]) -> list[tuple[int, int]]:
    """Return [start, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(on, dtype=bool), [False]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _shorten(text: str, width_px: float, size: int) -> str:
    font = _font(size)
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=16)
def _font(size: int) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
