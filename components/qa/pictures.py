"""Pictures for the report: frames with their masks, and time lines of sound and labels."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from components.core.reports.pictures import Picture, jpeg_uri, read_picture
from components.core.reports.timeline import Span, outline, spans
from components.qa.checked_clip import SAMPLE_RATE_HZ, Clip, Crop
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
_SHEET_FRAMES, _SHEET_WIDTH_PX, _SHEET_JPEG_QUALITY = 5, 208, 62
_TICKS = 16  # frames numbered below a time line


@dataclass(frozen=True, slots=True)
class Still:
    """One frame with its masks."""

    frame: int
    jpeg: str  # data URI
    focus: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """The frames on which a track is labelled."""

    title: str
    colour: str
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The sound of `length` frames from `first` on, a lane for each track, and numbered frames.

    marked: the frames [start, end) that a finding is about.
    onsets: the frames at whose beginning a label begins.
    """

    first: int
    length: int
    outline: str
    lanes: list[Lane]
    ticks: list[tuple[float, int]]
    marked: Span | None = None
    onsets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """Frames and the time line of one finding, or of one clip."""

    stills: list[Still]
    timeline: Timeline


@dataclass(slots=True)
class Request:
    """What to draw of one clip: its findings by number, whether the clip as a whole, and for the sheet."""

    item: ClipItem
    findings: dict[int, Finding] = field(default_factory=dict)
    preview: bool = False
    on_sheet: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawings that were asked for of one clip; those of findings by their numbers."""

    findings: dict[int, Drawing]
    preview: Drawing | None
    on_sheet: Drawing | None


def draw(request: Request) -> Drawn:
    """Draw one clip. Runs in a worker."""
    clip = Clip(request.item)
    return Drawn(
        {number: _draw_finding(clip, finding) for number, finding in request.findings.items()},
        _draw_preview(clip) if request.preview else None,
        _draw_for_sheet(clip) if request.on_sheet else None,
    )


def _draw_finding(clip: Clip, finding: Finding) -> Drawing:
    if finding.frame is None:
        track = next((track for track in clip.tracks if track.id == finding.track), None)
        labelled = track.present if track else np.flatnonzero(clip.labelled).tolist()
        frames = [labelled[len(labelled) // 2] if labelled else clip.length // 2]
        line = timeline(clip, 0, clip.length - 1, focus=finding.track)
    else:
        end = finding.frame if finding.last_frame is None else finding.last_frame
        frames = [k for k in (finding.frame - 1, finding.frame, finding.frame + 1) if 0 <= k < clip.length]
        first, last = max(0, finding.frame - _AROUND), min(clip.length - 1, end + _AROUND)
        line = timeline(clip, first, last, marked=(finding.frame, end), focus=finding.track)
    stills = [
        Still(k, jpeg, focus=k == finding.frame)
        for k in frames
        if (jpeg := _still(clip, k, focus=finding.track, tracks=finding.track is not None)) is not None
    ]
    return Drawing(stills, line)


def _draw_preview(clip: Clip) -> Drawing:
    count = min(_PREVIEW_FRAMES, clip.length)
    frames = sorted({round((n + 0.5) * clip.length / count - 0.5) for n in range(count)})
    stills = [Still(k, jpeg) for k in frames if (jpeg := _still(clip, k)) is not None]
    return Drawing(stills, timeline(clip, 0, clip.length - 1))


def _draw_for_sheet(clip: Clip) -> Drawing:
    """Frames with masks spread over the clip, small; over the sound a line where each label begins."""
    labelled = np.flatnonzero(clip.labelled).tolist() or list(range(clip.length))
    count = min(_SHEET_FRAMES, len(labelled))
    frames = [labelled[round((n + 0.5) * len(labelled) / count - 0.5)] for n in range(count)]
    stills = [
        Still(k, jpeg)
        for k in dict.fromkeys(frames)
        if (jpeg := _still(clip, k, width_px=_SHEET_WIDTH_PX, quality=_SHEET_JPEG_QUALITY)) is not None
    ]
    begins = {k for track in clip.tracks for k in track.present if k > 0 and track.crops[k - 1] is None}
    line = timeline(clip, 0, clip.length - 1)
    return Drawing(stills, replace(line, onsets=tuple(sorted(begins))))


def _still(
    clip: Clip,
    k: int,
    *,
    focus: int | None = None,
    tracks: bool = False,
    width_px: int = _WIDTH_PX,
    quality: int = _JPEG_QUALITY,
) -> str | None:
    """Frame k as a JPEG data URI with its masks: in the tracks' colours, or (`tracks`) one in the focus."""
    picture = read_picture(clip.frame_path(k), width_px=width_px)
    if picture is None:
        return None
    for number, track in enumerate(clip.tracks):
        crop = track.crops[k]
        if crop is None:
            continue
        if tracks:
            colour, strong = (_FOCUS, True) if track.id == focus else (_OTHERS, False)
        else:
            colour, strong = TRACK_COLOURS[number % len(TRACK_COLOURS)], True
        _draw_mask(picture, _whole(crop, clip), colour, strong=strong)
    return jpeg_uri(picture, quality=quality)


def _whole(crop: Crop, clip: Clip) -> NDArray[np.uint8]:
    mask = np.zeros((clip.height, clip.width), dtype=np.uint8)
    mask[crop.y : crop.box[3], crop.x : crop.box[2]] = crop.pixels
    return mask


def _draw_mask(
    picture: Picture, mask: NDArray[np.uint8], colour: tuple[int, int, int], *, strong: bool
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
    clip: Clip, first: int, last: int, *, marked: tuple[int, int] | None = None, focus: int | None = None
) -> Timeline:
    """Frames `first` to `last`: the sound, and for each track where it is labelled.

    Args:
        marked: first and last frame that a finding is about.
        focus: the track that it is about; the others are drawn in grey.
    """
    length = last - first + 1
    lanes = []
    for number, track in enumerate(clip.tracks):
        if not track.present:
            continue
        colour = TRACK_COLOURS[number % len(TRACK_COLOURS)]
        if focus is not None:
            colour = _FOCUS if track.id == focus else _UNFOCUSED
        present = set(track.present)
        lanes.append(
            Lane(
                f"track {track.id}, {track.category or '?'}",
                f"rgb{colour}",
                spans((k in present for k in range(first, last + 1)), first),
            )
        )
    start, end = (round(k * SAMPLE_RATE_HZ / clip.frame_rate_hz) for k in (first, last + 1))
    sound = clip.sound[start:end] if clip.sound is not None else np.zeros(0, dtype=np.int16)
    return Timeline(
        first,
        length,
        outline(sound),
        lanes,
        [(k + 0.5, k) for k in range(first, last + 1, max(1, round(length / _TICKS)))],
        None if marked is None else Span(marked[0], min(marked[1], last) + 1),
    )
