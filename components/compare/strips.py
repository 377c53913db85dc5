"""Film strips: frames of test clips, the truth beside what each variant found, and when what sounds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.compare import clip_sound
from components.compare.params import CompareParams
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import Segmentation
from components.core.records.results import Result, read_results
from components.core.reports.overlay import category_colour, draw_masks
from components.core.reports.pictures import jpeg_uri, read_picture, scaled_mask
from components.core.reports.timeline import Span, outline, spans
from components.core.run.errors import AvisError
from components.core.run.paths import Paths

TRUTH = "ground truth"
_JPEG_QUALITY = 78

Tracks = Mapping[int, Sequence[tuple[int, Sequence[Segmentation]]]]
"""Video id -> category id and a segmentation (or None) per frame, for each object."""


@dataclass(frozen=True)
class Row:
    """The frames as one source sees them; images are data URIs."""

    name: str
    images: list[str]


@dataclass(frozen=True)
class Lane:
    """When a category sounds, according to one source."""

    name: str
    spans: list[Span]


@dataclass(frozen=True)
class Category:
    """A category that sounds in the clip, or that a model says so of."""

    name: str
    colour: str
    lanes: list[Lane]


@dataclass(frozen=True)
class Strip:
    """All that the page shows of one clip."""

    name: str
    length_s: int
    seconds: list[int]
    """Those of the shown frames."""
    ticks: list[tuple[int, str]]
    """Seconds on the time axis, and what is written there."""
    rows: list[Row]
    categories: list[Category]
    sound: str
    """Data URI."""
    outline: str
    """SVG points."""
    scores: list[tuple[str, float | None]]
    """Per variant, on this clip."""
    films: list[tuple[str, str]]
    """Variant and link to its overlay video of this clip, where evaluate made one."""


def tracks_of_truth(annotations: AnnotationSet) -> Tracks:
    """The annotated objects."""
    return _by_video(annotations.tracks)


def tracks_of_predictions(path: Path) -> Tracks:
    """The predicted objects."""
    return _by_video(read_results(path))


def _by_video(objects: Sequence[Track | Result]) -> Tracks:
    tracks: dict[int, list[tuple[int, Sequence[Segmentation]]]] = defaultdict(list)
    for one in objects:
        tracks[one.video_id].append((one.category_id, one.segmentations))
    return tracks


def film_strip(
    video: Video,
    sources: Mapping[str, Tracks],
    *,
    categories: Mapping[int, str],
    scores: Sequence[tuple[str, float | None]],
    params: CompareParams,
    paths: Paths,
    seconds: Sequence[int] | None = None,
) -> Strip:
    """One clip's strip.

    Args:
        video: the clip.
        sources: name -> objects; the truth first, then the variants.
        categories: names by id.
        scores: per variant, on this clip.
        seconds: those of the frames to show; `params.frames` of the whole clip if they are not given.

    Raises:
        AvisError: a frame or the sound is missing.
    """
    seconds = spread(video.length, params.frames) if seconds is None else list(seconds)
    samples, rate_hz = clip_sound.read_wav(paths.media / "audio" / f"{video.name}.wav")
    present = sorted(
        {
            category_id
            for tracks in sources.values()
            for category_id, segmentations in tracks.get(video.id, ())
            if _spans(video, [segmentations])
        }
    )
    return Strip(
        name=video.name,
        length_s=video.length,
        seconds=seconds,
        ticks=_ticks(video.length),
        rows=[
            Row(name, [_image(video, second, tracks.get(video.id, ()), params, paths) for second in seconds])
            for name, tracks in sources.items()
        ],
        categories=[
            Category(
                name=categories[category_id],
                colour="#{:02x}{:02x}{:02x}".format(*category_colour(category_id)),
                lanes=[
                    Lane(name, _spans(video, [s for c, s in tracks.get(video.id, ()) if c == category_id]))
                    for name, tracks in sources.items()
                ],
            )
            for category_id in present
        ],
        sound=clip_sound.data_uri(samples, rate_hz),
        outline=outline(samples, columns=240, loudest=int(np.abs(samples.astype(np.int32)).max(initial=0))),
        scores=list(scores),
        films=[
            (name, f"../evaluation/{name}/overlays/{video.name}.mp4")
            for name in sources
            if name != TRUTH and (paths.evaluation(name) / "overlays" / f"{video.name}.mp4").is_file()
        ],
    )


def choose(names_and_scores: Sequence[tuple[str, float]], count: int) -> list[str]:
    """`count` clips spread evenly from the worst to the best score; equal scores go by name."""
    ranked = [name for name, score in sorted(names_and_scores, key=lambda pair: (pair[1], pair[0]))]
    return [ranked[place] for place in spread(len(ranked), count)]


def spread(length: int, count: int) -> list[int]:
    """At most `count` places in 0 … length - 1, evenly spread, the first and the last among them."""
    if count >= length:
        return list(range(length))
    if count == 1:
        return [length // 2]
    return [round(place * (length - 1) / (count - 1)) for place in range(count)]


def _ticks(length_s: int) -> list[tuple[int, str]]:
    """About ten seconds of the axis; the last says what they are."""
    seconds = range(0, length_s, max(1, round(length_s / 10)))
    return [(second, f"{second} s" if second == seconds[-1] else str(second)) for second in seconds]


def _spans(video: Video, tracks: Sequence[Sequence[Segmentation]]) -> list[Span]:
    """When a category sounds that has these tracks."""
    return spans(
        sum(masks.bounding_box(track[second], video.height, video.width) is not None for track in tracks)
        for second in range(video.length)
    )


def _image(
    video: Video,
    second: int,
    tracks: Sequence[tuple[int, Sequence[Segmentation]]],
    params: CompareParams,
    paths: Paths,
) -> str:
    """The frame as a JPEG with its masks in the colours of their categories, as a data URI."""
    path = paths.media / "frames" / video.file_names[second]
    picture = read_picture(path, width_px=params.frame_width_px)
    if picture is None:
        raise AvisError(
            "a frame of a test clip cannot be read", where=str(path), fix="Run: dvc repro extract"
        )
    drawn = draw_masks(
        picture,
        [scaled_mask(track[second], video.height, video.width, picture) for _, track in tracks],
        [""] * len(tracks),
        [category_colour(category_id) for category_id, _ in tracks],
    )
    return jpeg_uri(drawn, quality=_JPEG_QUALITY)
