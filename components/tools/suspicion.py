"""How much labels surprise a trained model: mistakes that it suspects.

For each track the candidates of the model (query and category, whatever their score) are looked through for
the one under which the track is least surprising: its loss is -ln(score) + 1 - IoU, with the intersection
over union of all pixels of the clip. An object that the model is sure of and nobody labelled has the loss
-ln(1 - score) + 1: no label overlaps it. After Northcutt et al., "Confident Learning" (2021), with the loss
of masks in place of that of classes.
"""

import math
from collections.abc import Sequence
from typing import Any

from components.core.records.annotations import Track, Video
from components.core.records.masks import clip_overlap, seen_codes
from components.core.records.results import Result
from components.qa.tables.suspicions import Suspicion

CANDIDATES = 20  # of a clip, by score
_LEAST_SCORE = 1e-3
_SAME_OBJECT = 0.5  # overlap from which on a candidate is the labelled object
_UNLABELLED = 0.3  # overlap below which it is none of the labelled ones


def suspect(
    split: str,
    video: Video,
    tracks: Sequence[Track],
    candidates: Sequence[Result],
    categories: dict[int, str],
) -> list[Suspicion]:
    """The loss of each track, and of each object that only the model sees.

    Args:
        tracks: of this video.
        candidates: the model's, with masks of the video's size.
        categories: names by id, the same for tracks and candidates.
    """
    seen = [seen_codes(candidate.segmentations, video.height, video.width) for candidate in candidates]
    labelled = [seen_codes(track.segmentations, video.height, video.width) for track in tracks]
    overlaps = [[clip_overlap(mine, theirs) for theirs in seen] for mine in labelled]
    found = []
    for number, track in enumerate(tracks):
        if not any(labelled[number]):
            continue
        best, loss = None, 1 - math.log(_LEAST_SCORE)
        for place, candidate in enumerate(candidates):
            if candidate.category_id == track.category_id:
                surprise = 1 - overlaps[number][place] - math.log(max(candidate.score, _LEAST_SCORE))
                if surprise < loss:
                    best, loss = place, surprise
        other = _other_category(track, overlaps[number], candidates)
        first, last = _worst(labelled[number], seen[best] if best is not None else [None] * video.length)
        if other is not None and (best is None or candidates[other].score > candidates[best].score):
            name = categories[candidates[other].category_id]
            message = (
                f"labelled as {categories[track.category_id]}; the model takes it for {name} "
                f"(score {candidates[other].score:.2f})"
            )
            first, last = _extent(labelled[number])
        elif best is None or overlaps[number][best] < _UNLABELLED:
            message = f"the model sees no {categories[track.category_id]} here"
            first, last = _extent(labelled[number])
        else:
            message = (
                f"masks differ from the model's ({overlaps[number][best]:.0%} overlap, "
                f"score {candidates[best].score:.2f})"
            )
        found.append(Suspicion(split, video.name, track.id, first, last, round(loss, 4), message))
    taken: list[int] = []  # several candidates may be one object: the likeliest speaks for it
    for place in sorted(range(len(candidates)), key=lambda p: -candidates[p].score):
        score = min(candidates[place].score, 1 - _LEAST_SCORE)
        labelled_too = any(overlaps[number][place] >= _UNLABELLED for number in range(len(tracks)))
        if labelled_too or not any(seen[place]):
            continue
        if any(clip_overlap(seen[place], seen[one]) >= _UNLABELLED for one in taken):
            continue
        taken.append(place)
        first, last = _extent(seen[place])
        name = categories[candidates[place].category_id]
        message = f"the model sees and hears a {name} that nobody labelled (score {score:.2f})"
        found.append(
            Suspicion(split, video.name, None, first, last, round(1 - math.log(1 - score), 4), message)
        )
    return found


def _other_category(track: Track, overlaps: Sequence[float], candidates: Sequence[Result]) -> int | None:
    """The likeliest candidate that covers the track under another category."""
    others = [
        place
        for place, candidate in enumerate(candidates)
        if candidate.category_id != track.category_id and overlaps[place] >= _SAME_OBJECT
    ]
    return max(others, key=lambda place: candidates[place].score, default=None)


def _worst(mine: Sequence[Any], theirs: Sequence[Any]) -> tuple[int, int]:
    """First and last of the longest run of frames on which the two have less than half in common."""
    from pycocotools import mask as coco

    longest, start = (0, -1), None
    for k in range(len(mine) + 1):
        one, other = (mine[k], theirs[k]) if k < len(mine) else (None, None)
        apart = bool(one) != bool(other) or (one and other and coco.iou([one], [other], [0])[0, 0] < 0.5)
        if apart and start is None:
            start = k
        elif not apart and start is not None:
            if k - start > longest[1] - longest[0] + 1:
                longest = start, k - 1
            start = None
    return longest if longest[1] >= 0 else _extent(mine)


def _extent(codes: Sequence[Any]) -> tuple[int, int]:
    present = [k for k, code in enumerate(codes) if code]
    return present[0], present[-1]
