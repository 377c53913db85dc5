"""Several sets of annotations become one."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from components.annotate.categories import unite_categories
from components.core.records.annotations import AnnotationSet, tracks_by_video
from components.core.run.errors import AvisError


def unite(
    sets: Sequence[AnnotationSet], categories: dict[int, str], names: Collection[str] | None = None
) -> AnnotationSet:
    """One set of all videos, or of those in `names`. Ids stay (results files refer to them) unless two clash.

    Args:
        categories: what `unite_categories` made of the sets.
    """
    pairs = []
    for annotations in sets:
        tracks_of = tracks_by_video(annotations)
        pairs += [
            (video, tracks_of[video.id])
            for video in annotations.videos
            if names is None or video.name in names
        ]
    keep_videos = len({video.id for video, _ in pairs}) == len(pairs)
    track_ids = [track.id for _, tracks in pairs for track in tracks]
    keep_tracks = len(set(track_ids)) == len(track_ids)
    part = AnnotationSet(categories=categories, videos=[], tracks=[], info={})
    for video, tracks in pairs:
        video_id = video.id if keep_videos else len(part.videos) + 1
        part.videos.append(replace(video, id=video_id))
        for track in tracks:
            track_id = track.id if keep_tracks else len(part.tracks) + 1
            part.tracks.append(replace(track, id=track_id, video_id=video_id))
    return part


def unite_all(sets: Sequence[AnnotationSet], sources: Sequence[str]) -> AnnotationSet:
    """One set of several, named for messages by `sources`; raises AvisError where two have the same video."""
    origin: dict[str, str] = {}
    for source, annotations in zip(sources, sets, strict=True):
        for video in annotations.videos:
            refuse_twice(origin, video.name, source)
    if len(sets) == 1:
        return sets[0]
    return unite(sets, unite_categories(list(sets)))


def refuse_twice(origin: dict[str, str], name: str, source: str) -> None:
    """Note where a video was annotated; raises AvisError where it was before."""
    if name in origin:
        raise AvisError(
            f"The video {name!r} is annotated twice",
            where=f"{origin[name]} and {source}",
            fix="Keep one of the two.",
        )
    origin[name] = source
