"""The pages: report.html, with a plot and the clips, and a page for each clip with what was said of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.records.annotations import AnnotationSet, Video
from components.core.records.masks import Segmentation
from components.core.reports import charts
from components.core.reports.overlay import category_colour, draw_masks
from components.core.reports.page import render_page
from components.core.reports.pictures import Picture, jpeg_uri, read_picture, scaled_mask
from components.core.run.files import replace_folder, write_text
from components.core.run.paths import Paths
from components.mllm.choices import Choice
from components.mllm.sounding import BOX_SCALE, Sounding

TRUTH = "truth"
_FRAMES, _WIDTH_PX, _JPEG_QUALITY = 6, 240, 75
PLOTTED = {
    "category_f1": "who: category F1",
    "second_category_f1": "when: second F1",
    "box_fsla": "where: box FSLA",
    "refer_accuracy": "refer",
    "order_accuracy": "order",
}
Tracks = Mapping[str, Mapping[int, Sequence[tuple[int, Sequence[Segmentation]]]]]
"""Source -> video id -> category id and segmentations of each object; the truth first."""


def write_pages(
    paths: Paths,
    annotations: AnnotationSet,
    truth: Mapping[str, Sounding],
    choices: Sequence[Choice],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    tracks: Tracks,
    metrics: Mapping[str, Mapping[str, float]],
    *,
    has_media: bool,
) -> None:
    """Write report.html and clips/<clip>.html.

    Args:
        rows: video -> what each source said.
        has_media: whether frames are at hand; else the pages have no pictures.
    """
    videos = sorted(annotations.videos, key=lambda video: video.name)
    with replace_folder(paths.mllm / "clips") as folder:
        for video in videos:
            seconds = _spread(video.length) if has_media else []
            page = render_page(
                "mllm/clip.html",
                name=video.name,
                truth=truth[video.name],
                choices=[choice for choice in choices if choice.video == video.name],
                rows=rows[video.name],
                seconds=seconds,
                strips=_strips(video, seconds, tracks, rows[video.name], annotations, paths),
            )
            (folder / f"{video.name}.html").write_text(page, encoding="utf-8")
    bar = charts.bar_chart(
        {
            source: {title: values.get(name) for name, title in PLOTTED.items()}
            for source, values in metrics.items()
            if source not in ("baseline/everything", "baseline/silent")
        },
        [title for name, title in PLOTTED.items() if any(name in values for values in metrics.values())],
        title="who, when and where, by source",
        y_label="percent",
    )
    clips = [{"name": v.name, "truth": truth[v.name], "rows": rows[v.name]} for v in videos]
    write_text(paths.mllm / "report.html", render_page("mllm/report.html", clips=clips, bar=bar))


def _strips(
    video: Video,
    seconds: Sequence[int],
    tracks: Tracks,
    rows: Sequence[Mapping[str, Any]],
    annotations: AnnotationSet,
    paths: Paths,
) -> list[tuple[str, list[str]]]:
    """For each source that says where: its name and its pictures as data URIs."""
    frames = [
        read_picture(paths.media / "frames" / video.file_names[second], width_px=_WIDTH_PX)
        for second in seconds
    ]
    shown = [(second, frame) for second, frame in zip(seconds, frames, strict=True) if frame is not None]
    numbers = {name: number for number, name in annotations.categories.items()}

    def masked(second: int, frame: Picture, source: str) -> str:
        found = tracks[source].get(video.id, ())
        return picture(
            frame, [(n, scaled_mask(track[second], video.height, video.width, frame)) for n, track in found]
        )

    def picture(frame: Picture, objects: Sequence[tuple[int, NDArray[np.bool_]]]) -> str:
        drawn = draw_masks(
            frame,
            [mask for _, mask in objects],
            [annotations.categories[number] for number, _ in objects],
            [category_colour(number) for number, _ in objects],
        )
        return jpeg_uri(drawn, quality=_JPEG_QUALITY)

    strips = [(source, [masked(second, frame, source) for second, frame in shown]) for source in tracks]
    for row in rows:
        answer: Sounding | None = row["answer"]
        if row["status"] is not None and answer is not None and answer.boxes is not None:
            named = [(frame, answer.boxes.get(second, ())) for second, frame in shown]
            pictures = [picture(f, [(numbers[name], _filled(box, f)) for name, box in n]) for f, n in named]
            strips.append((row["source"], pictures))
    return strips if shown else []


def _filled(box: Sequence[float], frame: Picture) -> NDArray[np.bool_]:
    mask = np.zeros(frame.shape[:2], bool)
    scale = np.array([frame.shape[1], frame.shape[0]] * 2) / BOX_SCALE
    left, top, right, bottom = np.rint(np.array(box) * scale).astype(int).tolist()
    mask[top:bottom, left:right] = True
    return mask


def _spread(length: int) -> list[int]:
    """At most so many seconds, evenly spread, the first and the last among them."""
    return sorted({round(second) for second in np.linspace(0, length - 1, min(_FRAMES, length))})
