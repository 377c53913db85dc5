"""Offline inference: a whole clip of any length, in constant memory, to mask tracks.

First pass: frames and sound in chunks of 18, as published, to frame queries; the video module runs over them
as they come (avism_stream.py; of a TPAVI clips are linked instead, tpavi.py). Then the candidates are known,
and only they need masks: from the mask features kept of the first pass if the clip is short, else from a
second pass over the frames. Both ways round the features to half precision, so a mask does not depend on the
clip's length. What grows with the clip: the encoded masks of at most ``most`` tracks, one bool per candidate
and frame, and on disk the frame queries (1 hour at 1 frame per second and 100 queries of 256 channels:
370 MB).

Letters: T frames (t of a chunk), V video queries, n candidates, C channels, K categories, h w size of a map.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.inference.avism import AvismPredictor
from models.inference.h2s import H2sPredictor
from models.inference.masks import MaskMaker
from models.inference.moments import ClipError, Moment, chunks
from models.inference.tpavi import TpaviPredictor
from models.networks.h2s.h2s import H2s
from models.networks.registry import Network
from models.networks.tpavi.tpavi import Tpavi

CHUNK_FRAMES = 18  # as published
# Mask features of so many frames (4 chunks; 566 MB of the published model at 640x360) or bytes are kept:
# a minute needs one pass (88 MB of the demo's model), a longer clip hardly more memory, whatever the model.
KEPT_FRAMES = 72
KEPT_BYTES = 100_000_000

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a track's score and its silences were made of, so that other thresholds can be judged afterwards.

    probability: of its category. presence [T]: logits. heard [T]: logits that its category sounds, by the
    sound alone; inf where no head says so. foreground [T]: sums of the foreground probabilities; pixels [T]:
    over how many pixels. Both are 0 where it is silent.
    """

    probability: float
    presence: NDArray[np.float32]
    heard: NDArray[np.float32]
    foreground: NDArray[np.float64]
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class FoundTrack(Generic[R]):
    """One sounding object with a mask for every frame, empty ones where it is silent.

    Tracks of one video query (with different labels) share their masks, and where all are heard their list.
    """

    label: int  # category index 0..K-1
    score: float
    masks: list[R]  # T, as ``encode`` made them
    evidence: Evidence


class ClipPredictor(Protocol):
    """What inference needs of a network, for one clip. Methods are called in this order."""

    def add(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """The next frames [t, 3, H, W] with their sound [t, …]; returns mask features [t, C, h, w]."""

    def class_probabilities(self) -> Tensor:
        """After the last frame: class probabilities [V, K] of the video queries, "no object" left out."""

    def presence(self, queries: Tensor) -> Tensor:
        """How sure is it that a query [n] sounds in a frame? Logits [n, T]."""

    def heard(self) -> Tensor | None:
        """How sure is it that a category sounds, by the sound alone? Logits [T, K]; None: no head knows."""

    def mask_features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """A second pass: what ``add`` returned for these frames."""

    def mask_logits(self, features: Tensor, queries: Tensor, frame: int) -> Tensor:
        """Mask logits [n, h, w], fp32, of queries [n] in frame number ``frame`` with features [C, h, w]."""

    def close(self) -> None:
        """Remove what was kept on disk."""


def predictor_for(model: Network, work_folder: Path | None = None) -> ClipPredictor:
    """The predictor of a network, for one clip; what it keeps on disk lies in the folder."""
    if isinstance(model, Tpavi):
        return TpaviPredictor(model)
    return H2sPredictor(model, work_folder) if isinstance(model, H2s) else AvismPredictor(model, work_folder)


def chunk_length(model: Network) -> int:
    """Frames that go through a network at once: as published, or as many whole clips as that holds."""
    if isinstance(model, Tpavi):
        clip = model.config.clip_frames
        return max(clip, CHUNK_FRAMES // clip * clip)
    return CHUNK_FRAMES


def find_sounding(
    model: Network,
    clip: Callable[[], Iterable[Moment]],
    *,
    size: tuple[int, int],
    encode: Callable[[NDArray[np.bool_]], R],
    threshold: float,
    presence_threshold: float = 0.5,
    hearing_threshold: float = 0.0,
    most: int = 10,
    least: int = 0,
    precision: torch.dtype | None = None,
    work_folder: Path | None = None,
) -> list[FoundTrack[R]]:
    """Find the sounding objects of one clip.

    Args:
        model: in evaluation mode.
        clip: gives the clip's moments from the first on, each time it is called: once or twice.
            Frames are at the model's size, any size, the same for all.
        size: height and width of the masks.
        encode: packs a mask, bool ``size``, as soon as it is made; never are many of them in memory.
        threshold: tracks below this score are dropped.
        presence_threshold: in a frame where a query sounds with no higher probability its mask is empty.
        hearing_threshold: the same where its category, by the sound alone, sounds with no higher probability.
        most: (query, category) pairs looked at, the most probable.
        least: so many of them are returned whatever their score.
        precision: of the networks, as ``precision.autocast_type`` names it; None: fp32. Masks are
            computed in fp32 from features rounded to half precision in any case.
        work_folder: for what a long clip keeps on disk; None: the system's folder for temporary files.

    Returns:
        Tracks, best first. The score is the class probability times the mean foreground probability.

    Raises:
        ClipError: frames of different sizes, sound of some frames only or not finite, or a clip that is
            another one when called again; it names the frame. Also if the network's output is not finite.
    """
    device, at_once = next(model.parameters()).device, chunk_length(model)
    reduced = torch.autocast(device.type, dtype=precision, enabled=precision is not None)
    with torch.inference_mode(), reduced, closing(predictor_for(model, work_folder)) as predictor:
        kept: list[Tensor] | None = []  # mask features [t, C, h, w] of each chunk
        kept_bytes = length = 0
        shape = (0, 0)
        for frames, sound in chunks(clip(), at_once, device):
            features = predictor.add(frames, sound).half()  # [t, C, h, w]
            length, shape = length + len(frames), (frames.shape[2], frames.shape[3])
            kept_bytes += features.nbytes
            if length > KEPT_FRAMES and kept_bytes > KEPT_BYTES:
                kept = None  # there will be a second pass
            elif kept is not None:
                kept.append(features.cpu())
        if not length:
            return []
        probability = predictor.class_probabilities().cpu()  # [V, K]
        # before topk, whose order of NaN means nothing
        if not probability.isfinite().all():
            raise ClipError("the network's output is not finite: its weights or the precision do not fit")
        # as published: the best pairs of query and category, so one query may stand for several categories
        scores, places = probability.flatten().topk(min(most, probability.numel()))
        pairs = [
            (*divmod(place, probability.shape[1]), score, rank < least)
            for rank, (place, score) in enumerate(zip(places.tolist(), scores.tolist(), strict=True))
            if score >= threshold or rank < least  # the mean foreground probability is at most 1
        ]
        if not pairs:
            return []
        queries = sorted({query for query, *_ in pairs})
        chosen = torch.tensor(queries, device=device)
        presence = predictor.presence(chosen).float().cpu().numpy()  # [n, T]
        logits = predictor.heard()
        labels = {label for _, label, *_ in pairs}
        heard = {
            label: np.full(length, np.inf, np.float32)
            if logits is None
            else logits[:, label].float().cpu().numpy()
            for label in labels
        }
        audible = {label: logits > _logit(hearing_threshold) for label, logits in heard.items()}  # each [T]
        sounds = presence > _logit(presence_threshold)
        for place, query in enumerate(queries):
            sounds[place] &= np.any([audible[label] for other, label, *_ in pairs if other == query], 0)
        maker = MaskMaker(
            partial(predictor.mask_logits, queries=chosen),
            sounds,
            shape=shape,
            size=size,
            encode=encode,
        )
        if kept is not None:
            for features in kept:
                maker.add(features.to(device))
        else:
            _second_pass(maker, predictor, chunks(clip(), at_once, device), length)
    found = []
    for query, label, score, sought in pairs:
        place = queries.index(query)
        sure = score * maker.mean_foreground(place, audible[label])
        if sure >= threshold or sought:
            evidence = Evidence(
                probability=score,
                presence=presence[place],
                heard=heard[label],
                foreground=np.where(audible[label], maker.foreground[place], 0.0),
                pixels=np.where(audible[label], maker.pixels[place], 0),
            )
            found.append(FoundTrack(label, sure, maker.masks_where(place, audible[label]), evidence))
    return sorted(found, key=lambda track: -track.score)


def _logit(probability: float) -> float:
    if 0 < probability < 1:
        return math.log(probability / (1 - probability))
    return math.inf if probability else -math.inf


def _second_pass(
    maker: MaskMaker[R], predictor: ClipPredictor, clip: Iterator[tuple[Tensor, Tensor | None]], length: int
) -> None:
    """Frames in which no candidate sounds are read once more, but the network is spared them."""
    seen = 0
    for frames, sound in clip:
        seen += len(frames)
        if seen > length:
            break
        if maker.is_silent(len(frames)):
            maker.skip(len(frames))
        else:
            maker.add(predictor.mask_features(frames, sound).half())
    if seen != length:
        raise ClipError(f"the clip had {length} frames at first and has another number when read again")
