"""Inference on a clip of any length: frames in chunks, then the video module, then masks on demand.

Letters: T frames, V video queries, C channels, K categories.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.avism import STRIDE_PX, Avism

CHUNK_FRAMES = 18


@dataclass
class FoundTrack:
    """One sounding object; its masks are made frame by frame, so a long clip costs no memory for them."""

    label: int  # category index 0..K-1
    score: float
    embed: Tensor  # [C]
    features: list[Tensor]  # per frame [C, h, w], shared by all tracks of the clip
    sounds: NDArray[np.bool_]  # [T]; always true for a model without presence head
    size: tuple[int, int]  # of the frames that went in

    def mask(self, frame: int, height: int, width: int) -> NDArray[np.bool_]:
        """The object's mask in one frame at the wanted size, empty where it is silent."""
        if not self.sounds[frame]:
            return np.zeros((height, width), bool)
        features = self.features[frame].to(self.embed.device, self.embed.dtype)
        logits = torch.einsum("c,chw->hw", self.embed, features)[None, None]
        padded = [side + -side % STRIDE_PX for side in self.size]
        logits = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)
        logits = logits[..., : self.size[0], : self.size[1]]
        logits = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        mask: NDArray[np.bool_] = (logits[0, 0] > 0).cpu().numpy()
        return mask


def _chunks(frames: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    chunk: list[NDArray[np.uint8]] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == CHUNK_FRAMES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@torch.inference_mode()
def find_sounding(
    model: Avism,
    frames: Iterable[NDArray[np.uint8]],
    sound: NDArray[np.float32] | None,
    *,
    threshold: float,
    most: int = 10,
) -> list[FoundTrack]:
    """Find the sounding objects of one clip.

    Args:
        model: in evaluation mode.
        frames: RGB [H, W, 3] at the model's size.
        sound: [T, 16000] samples or [T, 128] features, as the model's audio wants it.
        threshold: tracks below this score are dropped.
        most: (query, category) pairs looked at.

    Returns:
        Tracks, best first. The score is the class probability times the mean foreground probability.
    """
    device = next(model.parameters()).device
    queries, heard, features = [], [], []
    size = (0, 0)
    start = 0
    for chunk in _chunks(frames):
        size = chunk[0].shape[:2]
        batch = torch.from_numpy(np.stack(chunk)).permute(0, 3, 1, 2).to(device)
        samples = None if sound is None else torch.from_numpy(sound[start : start + len(chunk)]).to(device)
        audio = model.hear(samples)
        output, _, video_features = model.decode_frames(batch, audio)
        queries.append(output.queries[-1])
        if audio is not None:
            heard.append(audio)
        features += list(video_features.half().cpu())
        start += len(chunk)
    if not queries:
        return []
    video = model.video_module(torch.cat(queries)[None], torch.cat(heard)[None] if heard else None)
    probability = video.logits[-1][0].float().softmax(-1)[:, :-1]  # [V, K]
    scores, places = probability.flatten().topk(min(most, probability.numel()))
    sounds = np.ones((probability.shape[0], start), bool)
    if video.presence:
        sounds = (video.presence[-1][0] > 0).cpu().numpy()
    found = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        query, label = divmod(place, probability.shape[1])
        embed = video.mask_embeds[-1][0, query].float()
        sure = score * _mean_foreground(embed, features, sounds[query], device) if score >= threshold else 0.0
        if sure >= threshold:
            found.append(FoundTrack(label, sure, embed, features, sounds[query], size))
    return sorted(found, key=lambda track: -track.score)


def _mean_foreground(
    embed: Tensor, features: list[Tensor], sounds: NDArray[np.bool_], device: torch.device
) -> float:
    """Mean probability over all pixels of the track that are more likely object than not."""
    total, count = 0.0, 0
    for frame in np.flatnonzero(sounds).tolist():
        chance = torch.einsum("c,chw->hw", embed, features[frame].to(device, embed.dtype)).sigmoid()
        inside = chance > 0.5
        total += float((chance * inside).sum())
        count += int(inside.sum())
    return total / count if count else 0.0
