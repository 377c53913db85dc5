"""Inference on a clip of any length in constant memory.

First pass: frames and sound in chunks of 18, as published, to frame queries; the video module runs over them
as they come (video_stream.py). Then the candidates are known, and only they need masks: from the mask
features kept of the first pass if the clip is short, else from a second pass over the frames. Both ways
round the features to half precision, so a mask does not depend on the clip's length. What grows with the
clip: the encoded masks of at most ``most`` tracks, one bool per candidate and frame, and on disk the frame
queries (1 hour at 1 frame per second and 100 queries of 256 channels: 370 MB).

Letters: T frames (t of a chunk), V video queries, n candidates, C channels, K categories.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.inference.masks import MaskMaker
from models.inference.moments import ClipError, Moment, chunks
from models.inference.tpavi import TpaviWatcher
from models.inference.video_stream import VideoStream
from models.networks.avism.avism import Avism
from models.networks.registry import Network
from models.networks.tpavi.tpavi import Tpavi

CHUNK_FRAMES = 18  # as published
# Mask features of so many frames (4 chunks; 566 MB of the published model at 640x360) or bytes are kept:
# a minute needs one pass, and a longer clip hardly more memory, whatever the model.
KEPT_FRAMES = 72
KEPT_BYTES = 200_000_000

R = TypeVar("R")


@dataclass(frozen=True)
class FoundTrack(Generic[R]):
    """One sounding object with a mask for every frame, empty ones where it is silent.

    Tracks of one video query (with different labels) share their list of masks.
    """

    label: int  # category index 0..K-1
    score: float
    masks: list[R]  # T, as ``encode`` made them


class Watcher(Protocol):
    """What inference needs of a network, for one clip."""

    def watch(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """The next frames [t, 3, H, W] with their sound [t, …]; returns mask features [t, C, h, w]."""

    def conclude(self) -> Tensor:
        """After the last frame: class probabilities [V, K] of the video queries, "no object" left out."""

    def sounds(self, queries: Tensor) -> Tensor:
        """Does a query [n] sound in a frame? Bool [n, T]."""

    def features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """A second pass: what ``watch`` returned for these frames."""

    def logits(self, features: Tensor, queries: Tensor, frame: int) -> Tensor:
        """Mask logits [n, h, w], fp32, of queries [n] in frame number ``frame`` with features [C, h, w]."""

    def close(self) -> None:
        """Remove what was kept on disk."""


class AvismWatcher:
    """An Avism looks at one clip."""

    def __init__(self, model: Avism) -> None:
        self._model = model
        self._stream = VideoStream(model.video_module)
        self._embeds = torch.empty(0)  # [V, C]
        self._frames = 0

    def watch(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """See Watcher."""
        audio = self._model.hear(sound)
        output, features = self._model.decode_frames(frames, audio)
        self._stream.push(output.queries[-1], audio)
        self._frames += len(frames)
        return features

    def conclude(self) -> Tensor:
        """See Watcher."""
        output = self._stream.finish()
        self._embeds = output.mask_embeds
        return output.logits.softmax(-1)[:, :-1]

    def sounds(self, queries: Tensor) -> Tensor:
        """See Watcher. Without a presence head a query sounds in every frame."""
        presence = self._stream.presence(queries)
        if presence is None:
            return torch.ones(len(queries), self._frames, dtype=torch.bool)
        return presence > 0

    def features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """See Watcher. They do not depend on the sound."""
        return self._model.video_features(frames)

    def logits(self, features: Tensor, queries: Tensor, frame: int) -> Tensor:
        """See Watcher. A query has the same embedding in every frame."""
        return torch.einsum("nc,chw->nhw", self._embeds[queries], features)

    def close(self) -> None:
        """See Watcher."""
        self._stream.close()


def watcher_for(model: Network) -> Watcher:
    """The watcher of a network."""
    return TpaviWatcher(model) if isinstance(model, Tpavi) else AvismWatcher(model)


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
    most: int = 10,
    least: int = 0,
    precision: torch.dtype | None = None,
) -> list[FoundTrack[R]]:
    """Find the sounding objects of one clip.

    Args:
        model: in evaluation mode.
        clip: gives the clip's moments from the first on, each time it is called: once or twice.
            Frames are at the model's size, any size, the same for all.
        size: height and width of the masks.
        encode: packs a mask, bool ``size``, as soon as it is made; never are many of them in memory.
        threshold: tracks below this score are dropped.
        most: (query, category) pairs looked at, the most probable.
        least: so many of them are returned whatever their score.
        precision: of the networks, as ``precision.autocast_type`` names it; None: fp32. Masks are
            computed in fp32 from features rounded to half precision in any case.

    Returns:
        Tracks, best first. The score is the class probability times the mean foreground probability.

    Raises:
        ClipError: frames of different sizes, sound of some frames only or not finite, or a clip that is
            another one when called again; it names the frame. Also if the network's output is not finite.
    """
    device, at_once = next(model.parameters()).device, chunk_length(model)
    reduced = torch.autocast(device.type, dtype=precision, enabled=precision is not None)
    with torch.inference_mode(), reduced, closing(watcher_for(model)) as watcher:
        kept: list[Tensor] | None = []  # mask features [t, C, h, w] of each chunk
        kept_bytes = length = 0
        shape = (0, 0)
        for frames, sound in chunks(clip(), at_once, device):
            features = watcher.watch(frames, sound).half()
            length, shape = length + len(frames), (frames.shape[2], frames.shape[3])
            kept_bytes += features.nbytes
            if length > KEPT_FRAMES and kept_bytes > KEPT_BYTES:
                kept = None
            elif kept is not None:
                kept.append(features.cpu())
        if not length:
            return []
        probability = watcher.conclude().cpu()  # [V, K]
        if not probability.isfinite().all():
            raise ClipError("the network's output is not finite: its weights or the precision do not fit")
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
        maker = MaskMaker(
            partial(watcher.logits, queries=chosen),
            watcher.sounds(chosen).cpu().numpy(),
            shape=shape,
            size=size,
            encode=encode,
        )
        if kept is not None:
            for features in kept:
                maker.add(features.to(device))
        else:
            _look_again(maker, watcher, chunks(clip(), at_once, device), length)
    found = []
    for query, label, score, sought in pairs:
        place = queries.index(query)
        sure = score * maker.mean_foreground(place)
        if sure >= threshold or sought:
            found.append(FoundTrack(label, sure, maker.masks[place]))
    return sorted(found, key=lambda track: -track.score)


def _look_again(
    maker: MaskMaker[R], watcher: Watcher, clip: Iterator[tuple[Tensor, Tensor | None]], length: int
) -> None:
    """The second pass. Frames in which no candidate sounds are read, but the network is spared them."""
    seen = 0
    for frames, sound in clip:
        seen += len(frames)
        if seen > length:
            break
        if maker.is_silent(len(frames)):
            maker.skip(len(frames))
        else:
            maker.add(watcher.features(frames, sound).half())
    if seen != length:
        raise ClipError(f"the clip had {length} frames at first and has another number when read again")
