"""Pictures for the report: frames with their masks, and time lines of sound and labels."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from components.qa.checked_clip import SAMPLE_RATE_HZ, Clip, Crop
from components.qa.checks import runs
from components.qa.findings import Finding
from components.qa.label_files import ClipItem

# Colours of tracks, red, green, blue: told apart on photographs and by colour-blind eyes (Okabe and Ito).
TRACK_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
_FOCUS = (255, 64, 96)
_OTHERS = (235, 235, 235)
_UNFOCUSED = (190, 196, 206)
_WIDTH_PX = 288
_JPEG_QUALITY = 72
_AROUND = 4  # frames shown on either side of a finding in the time line
_PREVIEW_FRAMES = 6
_BINS = 200  # columns of a waveform
_WAVE_HEIGHT, _ROW_HEIGHT = 44, 12
_WIDE, _NARROW = 960, 440  # of a time line, in pixels of the page


@dataclass(frozen=True, slots=True)
class Still:
    """One frame with its masks."""

    frame: int
    jpeg: str  # data URI
    focus: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Frames and the time line of one finding, or of one clip."""

    stills: list[Still]
    timeline: Markup


@dataclass(slots=True)
class Request:
    """What to draw of one clip: its findings by number, and whether the clip as a whole."""

    item: ClipItem
    findings: dict[int, Finding]
    preview: bool


def draw(request: Request) -> tuple[dict[int, Drawing], Drawing | None]:
    """The drawings of findings by number, and the clip's preview. Runs in a worker."""
    clip = Clip(request.item)
    drawings = {number: _draw_finding(clip, finding) for number, finding in request.findings.items()}
    return drawings, _draw_preview(clip) if request.preview else None


def _draw_finding(clip: Clip, finding: Finding) -> Drawing:
    if finding.frame is None:
        track = next((track for track in clip.tracks if track.id == finding.track), None)
        labelled = track.present if track else np.flatnonzero(clip.labelled).tolist()
        frames, first, last = (
            [labelled[len(labelled) // 2] if labelled else clip.length // 2],
            0,
            clip.length - 1,
        )
        marked = None
    else:
        end = finding.frame if finding.last_frame is None else finding.last_frame
        frames = [k for k in (finding.frame - 1, finding.frame, finding.frame + 1) if 0 <= k < clip.length]
        first, last = max(0, finding.frame - _AROUND), min(clip.length - 1, end + _AROUND)
        marked = finding.frame, end
    stills = [
        Still(k, jpeg, focus=k == finding.frame)
        for k in frames
        if (jpeg := _still(clip, k, focus=finding.track, tracks=finding.track is not None)) is not None
    ]
    return Drawing(stills, timeline(clip, first, last, marked=marked, focus=finding.track))


def _draw_preview(clip: Clip) -> Drawing:
    count = min(_PREVIEW_FRAMES, clip.length)
    frames = sorted({round((n + 0.5) * clip.length / count - 0.5) for n in range(count)})
    stills = [Still(k, jpeg) for k in frames if (jpeg := _still(clip, k)) is not None]
    return Drawing(stills, timeline(clip, 0, clip.length - 1, width=_NARROW))


def _still(clip: Clip, k: int, *, focus: int | None = None, tracks: bool = False) -> str | None:
    """Frame k as a JPEG data URI with its masks: in the tracks' colours, or (`tracks`) one in the focus."""
    path = clip.frame_path(k)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if path.is_file() else None
    if picture is None:
        return None
    height = max(1, round(picture.shape[0] * _WIDTH_PX / picture.shape[1]))
    picture = cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    for number, track in enumerate(clip.tracks):
        crop = track.crops[k]
        if crop is None:
            continue
        if tracks:
            colour, strong = (_FOCUS, True) if track.id == focus else (_OTHERS, False)
        else:
            colour, strong = TRACK_COLOURS[number % len(TRACK_COLOURS)], True
        _draw_mask(picture, _whole(crop, clip), colour, strong=strong)
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _whole(crop: Crop, clip: Clip) -> NDArray[np.uint8]:
    mask = np.zeros((clip.height, clip.width), dtype=np.uint8)
    mask[crop.y : crop.box[3], crop.x : crop.box[2]] = crop.pixels
    return mask


def _draw_mask(
    picture: NDArray[np.uint8], mask: NDArray[np.uint8], colour: tuple[int, int, int], *, strong: bool
) -> None:
    """Draws into picture [h, w, 3]; mask [H, W] is brought to its size."""
    small = cv2.resize(
        mask, picture.shape[1::-1], interpolation=cv2.INTER_AREA if strong else cv2.INTER_NEAREST
    )
    covered = small > 0
    if not covered.any():
        return
    if strong:
        picture[covered] = (0.6 * picture[covered] + 0.4 * np.array(colour)).astype(np.uint8)
    outline, _ = cv2.findContours(covered.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outline, -1, colour, 2 if strong else 1, cv2.LINE_AA)


def timeline(
    clip: Clip,
    first: int,
    last: int,
    *,
    marked: tuple[int, int] | None = None,
    focus: int | None = None,
    width: int = _WIDE,
) -> Markup:
    """An SVG of frames `first` to `last`: the waveform, and for each track a bar where it is labelled."""
    count = last - first + 1
    step = width / count
    rows = [(number, track) for number, track in enumerate(clip.tracks) if track.present]
    height = _WAVE_HEIGHT + _ROW_HEIGHT * len(rows) + 14
    parts = [f'<svg class="line" viewBox="0 0 {width} {height}" role="img" aria-label="sound and labels">']
    if marked:
        begin, end = (marked[0] - first) * step, (min(marked[1], last) + 1 - first) * step
        parts.append(_rectangle(begin, 0, end, height - 14, 'class="mark"'))
    parts.append(f'<path class="wave" d="{_wave(clip, first, last, width)}"/>')
    for row, (number, track) in enumerate(rows):
        y = _WAVE_HEIGHT + row * _ROW_HEIGHT + 2
        colour = TRACK_COLOURS[number % len(TRACK_COLOURS)]
        if focus is not None:
            colour = _FOCUS if track.id == focus else _UNFOCUSED
        title = Markup("<title>track {}, {}</title>").format(track.id, track.category or "?")
        parts.append(f'<g fill="rgb{colour}">{title}')
        for begin, end in runs(k - first for k in track.present if first <= k <= last):
            parts.append(_rectangle(begin * step, y, (end + 1) * step, y + _ROW_HEIGHT - 4, 'rx="2"'))
        parts.append("</g>")
    for k in range(first, last + 1, max(1, round(count / 16))):
        parts.append(f'<text x="{(k - first + 0.5) * step:.1f}" y="{height - 2}">{k}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - numbers of ours; titles are escaped


def _rectangle(left: float, top: float, right: float, bottom: float, attributes: str) -> str:
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} {attributes}/>'


def _wave(clip: Clip, first: int, last: int, width: int) -> str:
    """The sound's envelope as an SVG path."""
    start = round(first * SAMPLE_RATE_HZ / clip.frame_rate_hz)
    end = round((last + 1) * SAMPLE_RATE_HZ / clip.frame_rate_hz)
    sound = clip.sound[start:end] if clip.sound is not None else np.zeros(0, dtype=np.int16)
    if len(sound) < _BINS:
        return f"M0 {_WAVE_HEIGHT / 2}H{width}"
    usable = len(sound) // _BINS * _BINS
    peaks = np.abs(sound[:usable].astype(np.float64)).reshape(_BINS, -1).max(axis=1) / 32768
    half = _WAVE_HEIGHT / 2
    columns = [(n + 0.5) * width / _BINS for n in range(_BINS)]
    heights = np.maximum(0.4, np.sqrt(peaks) * (half - 2)).tolist()  # the root: quiet sounds show too
    upper = " ".join(f"{x:.1f},{half - h:.1f}" for x, h in zip(columns, heights, strict=True))
    lower = " ".join(f"{x:.1f},{half + h:.1f}" for x, h in zip(columns[::-1], heights[::-1], strict=True))
    return f"M{upper} {lower}Z"
