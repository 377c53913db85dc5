"""The first screen: what one training taught, in scores, by category, and on a clip before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from components.compare.gains import Gain
from components.compare.params import CompareParams
from components.compare.strips import (
    TRUTH,
    Strip,
    film_strip,
    spread,
    tracks_of_predictions,
    tracks_of_truth,
)
from components.compare.variants import Model
from components.core.metrics.paired import Difference
from components.core.records.annotations import AnnotationSet
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media

HEADLINES = ("FSLA", "HOTA", "mAP")
BY_CATEGORY = ("AP", "HOTA")
_FRAMES = 4  # of the strip, which has half of the page's width


@dataclass(frozen=True)
class Learned:
    """A category, or the mean of several.

    objects: how many the test clips have of it.
    scores: for each of BY_CATEGORY, (of the start, of the trained model), percent; None where it has none.
    """

    name: str
    objects: int
    scores: list[tuple[float | None, float | None]]


@dataclass(frozen=True)
class Taught:
    """A trained model beside the variant that it began as; scores of the corrected protocol, percent.

    headlines: metric, its two scores, and how sure their difference is.
    new: categories of the test clips that the start does not know, the most gained first; known: the mean of
        those that it knows. Neither, if its card does not say which.
    clip: one test clip, as both see it, chosen among `clips`: those in which a new category sounds, or all.
    gain: points of FSLA gained on it, the median of these.
    """

    start: str
    model: str
    headlines: list[tuple[str, float | None, float | None, Difference | None]]
    new: list[Learned]
    known: list[Learned]
    clip: Strip | None
    clips: int
    gain: float | None


def what_was_taught(
    start: Model,
    model: Model,
    gain: Gain,
    annotations: AnnotationSet,
    params: CompareParams,
    paths: Paths,
) -> Taught:
    """Put a model beside its start.

    Raises:
        AvisError: a frame or the sound of the clip is missing.
    """
    objects = [annotations.categories[track.category_id] for track in annotations.tracks]
    names = sorted(set(objects)) if start.origin.categories else []
    new = [name for name in names if name not in start.origin.categories]
    learned = [_learned(name, [name], objects, start, model) for name in new]
    known = [name for name in names if name in start.origin.categories]
    clips = _gains_of_clips(start, model, annotations, new)
    chosen = clips[(len(clips) - 1) // 2] if clips else None
    return Taught(
        start=start.name,
        model=model.name,
        headlines=[
            (
                metric,
                start.scores["corrected"].get(metric),
                model.scores["corrected"].get(metric),
                None if gain.tested is None else gain.tested["corrected"].get(metric),
            )
            for metric in HEADLINES
        ],
        new=sorted(learned, key=_gained, reverse=True),
        known=[_learned(f"the {len(known)} known before", known, objects, start, model)] if known else [],
        clip=None if chosen is None else _strip(chosen[1], new, start, model, annotations, params, paths),
        clips=len(clips),
        gain=None if chosen is None else chosen[0],
    )


def _learned(title: str, names: Sequence[str], objects: Sequence[str], start: Model, model: Model) -> Learned:
    def score(of: Model, metric: str) -> float | None:
        rows = (of.category_scores["corrected"].get(name, {}) for name in names)
        values = [value for row in rows if (value := row.get(metric)) is not None]
        return mean(values) if values else None

    scores = [(score(start, metric), score(model, metric)) for metric in BY_CATEGORY]
    return Learned(title, sum(name in names for name in objects), scores)


def _gained(learned: Learned) -> float:
    before, after = learned.scores[0]
    return (after or 0.0) - (before or 0.0)


def _gains_of_clips(
    start: Model, model: Model, annotations: AnnotationSet, new: Sequence[str]
) -> list[tuple[float, str]]:
    """FSLA gained on each clip in which one of the new categories sounds (else on all), the least first."""
    having = {
        track.video_id
        for track in annotations.tracks
        if not new or annotations.categories[track.category_id] in new
    }
    gained = []
    for video in annotations.videos:
        before, after = (of.clip_scores["corrected"].get(video.name, {}).get("FSLA") for of in (start, model))
        if video.id in having and before is not None and after is not None:
            gained.append((after - before, video.name))
    return sorted(gained)


def _strip(
    name: str,
    new: Sequence[str],
    start: Model,
    model: Model,
    annotations: AnnotationSet,
    params: CompareParams,
    paths: Paths,
) -> Strip:
    """Frames spread over the seconds in which a new category sounds, or over the clip."""
    video = next(video for video in annotations.videos if video.name == name)
    shown = [
        second
        for second in range(video.length)
        if not new
        or any(
            track.segmentations[second] is not None
            for track in annotations.tracks
            if track.video_id == video.id and annotations.categories[track.category_id] in new
        )
    ]
    pair = (start, model)
    return film_strip(
        video,
        {
            TRUTH: tracks_of_truth(annotations),
            **{of.name: tracks_of_predictions(paths.predictions(of.name) / "results.json") for of in pair},
        },
        categories=annotations.categories,
        scores=[(of.name, of.clip_scores["corrected"][name].get("FSLA")) for of in pair],
        params=params,
        paths=with_local_media(paths, [name]),
        seconds=[shown[place] for place in spread(len(shown), _FRAMES)],
    )
