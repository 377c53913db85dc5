"""Why a score is what it is: what it would be without a stretch of the sound, or a part of the picture.

Occlusion: the video is predicted again with the stretch muted, or with the cell of a grid grey in every
frame. A score that does not care for the sound was guessed from the picture.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from tqdm import tqdm

from components.core.inference.predictor import Predictor
from components.core.records.masks import clip_overlap
from components.core.video.clip import VideoClip
from components.core.video.stored_masks import MaskFile, StoredMasks
from components.core.video.tracks import VideoTracks
from models.inference.moments import Moment
from models.inference.offline import FoundTrack

MOST_STRETCHES = 30
GRID = (3, 4)  # rows and columns
LEAST_FALL = 0.01  # of a score, that says anything
_GREY = 127
_SAME = 0.1  # least overlap of an object's masks in both runs
_CANDIDATES = 20  # of a run, among which the object is sought again


@dataclass(frozen=True)
class Explanation:
    """What moved the score of one object; falls are its score less that of the run without the part.

    stretches_s: [start, end) of what was muted, none for a model that hears nothing; sound_falls: of each.
    picture_falls: rows of the grid over the picture.
    """

    number: int
    score: float
    stretches_s: list[tuple[float, float]]
    sound_falls: list[float]
    picture_falls: list[list[float]]

    def sentence(self, name: str) -> str:
        """Whether it hears or guesses, in words."""
        if not self.sound_falls:
            return f"{name} ({self.score:.2f}): the model does not hear, so it was guessed from the picture"
        most = int(np.argmax(self.sound_falls))
        start_s, end_s = self.stretches_s[most]
        fall = self.sound_falls[most]
        if fall < LEAST_FALL:
            return f"{name} ({self.score:.2f}): no part of the sound moves its score, so it is a guess"
        return f"{name} ({self.score:.2f}): {fall:.2f} less without the sound of {start_s:g}-{end_s:g} s"


def explain(
    predictor: Predictor, found: VideoTracks, clip: Callable[[tuple[float, float]], VideoClip]
) -> list[Explanation]:
    """Explain all objects of a video: it is predicted once per stretch and cell.

    Args:
        predictor: the model that found them.
        found: what it found.
        clip: makes the video's moments, [start, end) in seconds of which are muted.
    """
    if not found.objects:
        return []
    wide = predictor.params.model_copy(update={"most_tracks": max(_CANDIDATES, predictor.params.most_tracks)})
    predictor = replace(predictor, params=wide)
    length_s = found.frames / found.rate_hz
    step_s = max(1.0, math.ceil(length_s / MOST_STRETCHES))
    stretches = [] if found.is_deaf else [k * step_s for k in range(math.ceil(length_s / step_s))]
    cells = [(row, column) for row in range(GRID[0]) for column in range(GRID[1])]
    with tqdm(
        total=len(stretches) + len(cells), desc="explain", unit="run", disable=not found.progress
    ) as bar:
        sound, picture = [], []
        for start_s in stretches:
            sound.append(_falls(predictor, found, clip((start_s, min(start_s + step_s, length_s)))))
            bar.update()
        for cell in cells:
            picture.append(_falls(predictor, found, partial(_greyed, clip((0.0, 0.0)), cell)))
            bar.update()
    return [
        Explanation(
            thing.number,
            thing.score,
            [(start_s, min(start_s + step_s, length_s)) for start_s in stretches],
            [falls[place] for falls in sound],
            [[picture[row * GRID[1] + column][place] for column in range(GRID[1])] for row in range(GRID[0])],
        )
        for place, thing in enumerate(found.objects)
    ]


def _falls(predictor: Predictor, found: VideoTracks, moments: Callable[[], Iterable[Moment]]) -> list[float]:
    """By how much the score of each object falls when the model sees and hears these moments."""
    masks = MaskFile(predictor.work_folder)
    tracks = predictor.find(moments, size=(found.height, found.width), encode=masks.add, least=_CANDIDATES)
    ids = sorted(predictor.card.categories)
    falls = []
    for thing in found.objects:
        same = [track for track in tracks if ids[track.label] == thing.category_id]
        score = max((_score(track, thing.masks, masks) for track in same), default=0.0)
        falls.append(round(thing.score - score, 6))
    return falls


def _score(track: FoundTrack[int], masks: StoredMasks, file: MaskFile) -> float:
    """Its score if it is the same object, else 0."""
    codes = ([_code(mask) for mask in side] for side in (masks, StoredMasks(file, track.masks)))
    return track.score if clip_overlap(*codes) >= _SAME else 0.0


def _code(mask: dict[str, object] | None) -> dict[str, object] | None:
    return None if mask is None else {"size": mask["size"], "counts": str(mask["counts"]).encode()}


def _greyed(moments: Callable[[], Iterable[Moment]], cell: tuple[int, int]) -> Iterator[Moment]:
    """The moments with one cell of the grid grey."""
    for picture, sound in moments():
        height, width = picture.shape[:2]
        rows, columns = (
            slice(place * size // parts, (place + 1) * size // parts)
            for place, size, parts in zip(cell, (height, width), GRID, strict=True)
        )
        hidden = np.array(picture)
        hidden[rows, columns] = _GREY
        yield hidden, sound
