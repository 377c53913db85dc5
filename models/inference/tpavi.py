"""TPAVI on a video of any length: short clips one after the other, their queries linked to tracks.

Each clip has as many frames as the model's ``clip_frames`` and is seen once, on its own, so a frame costs the
same wherever it stands. The queries of a clip are linked to tracks by Hungarian matching of query embeddings
(cosine similarity), as MinVIS does from frame to frame (arXiv 2208.02245): queries that tell instances apart
within a clip are alike for one instance across clips. Matching masks in frames shared by neighbouring clips
(near-online methods, arXiv 2308.15266) would compute every frame of a 2-frame clip twice, and has nothing to
match while an object is silent and therefore has no mask. For the same reason a track that has sounded is
matched by the embedding that it last sounded with: what a query is while it stands for nothing says little.

Letters: T frames (t of a chunk), B clips of a chunk, Q queries, V = Q tracks, n of them, C channels,
K categories.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.tpavi.tpavi import Tpavi

SOUNDS_ABOVE = 0.5  # a track sounds in a clip when it is more likely an object than not


class TpaviPredictor:
    """A Tpavi on one video (models.inference.offline.ClipPredictor).

    What is kept of a clip: which tracks sound in it, and the mask embeddings of those.
    """

    def __init__(self, model: Tpavi) -> None:
        self._model = model
        self._links = TrackLinks()
        self._sounds: list[Tensor] = []  # of each clip: bool [V]
        self._embeds: list[Tensor] = []  # of each clip: [sounding tracks, C], half precision
        self._clips: list[int] = []  # T: which clip a frame is in
        self._sounding = torch.empty(0)  # [V, K] sums of class probabilities over the frames of clips: of
        self._every = torch.empty(0)  # those in which the track sounds, and of all

    def add(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """The next frames [t, 3, H, W] with their sound [t, …]; returns mask features [t, C, h, w]."""
        features = []
        for clips, clip_sound in self._cut(frames, sound):
            output = self._model(clips, clip_sound)
            features.append(output.mask_features.flatten(0, 1))
            probability = output.clip.logits[-1].float().softmax(-1)  # [B, Q, K + 1]
            queries, embeds = output.clip.queries[-1].float(), output.clip.mask_embeds[-1]
            for index in range(len(clips)):
                self._link(queries[index], probability[index], embeds[index], clips.shape[1])
        return torch.cat(features)  # [t, C, h, w]

    def class_probabilities(self) -> Tensor:
        """After the last frame: class probabilities [V, K], means over the clips in which a track sounds.

        A track that never sounds has its mean over all clips.
        """
        lengths = torch.tensor(self._clips, device=self._every.device).bincount()  # frames of each clip
        frames = (torch.stack(self._sounds, 1) * lengths).sum(1)[:, None]  # [V, 1] in which it sounds
        return torch.where(frames > 0, self._sounding / frames.clamp(min=1), self._every / len(self._clips))

    def presence(self, queries: Tensor) -> Tensor:
        """Does a track [n] sound in a frame? inf or -inf [n, T], the same for all frames of a clip."""
        sounds = torch.stack(self._sounds, 1)[queries][:, self._clips]
        return torch.where(sounds, torch.inf, -torch.inf)

    def heard(self) -> Tensor | None:
        """It has no head that only hears."""
        return None

    def mask_features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """A second pass: what ``add`` returned for these frames."""
        features = []
        for clips, clip_sound in self._cut(frames, sound):
            audio = self._model.encode_clip_audio(clip_sound, clips.shape[0], clips.shape[1])
            features.append(self._model.extract_features(clips, audio)[0])
        return torch.cat(features)  # [t, C, h, w]

    def mask_logits(self, features: Tensor, queries: Tensor, frame: int) -> Tensor:
        """Mask logits [n, h, w] of tracks [n] in a frame with features [C, h, w]; 0 where one is silent."""
        clip = self._clips[frame]
        kept = self._embeds[clip].to(features.dtype)  # only of tracks that sound in this clip
        embeds = kept.new_zeros(len(self._sounds[clip]), kept.shape[1])  # [V, C]
        embeds[self._sounds[clip]] = kept
        return torch.einsum("nc,chw->nhw", embeds[queries], features)

    def close(self) -> None:
        """Nothing is kept on disk."""

    def _cut(self, frames: Tensor, sound: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        """A chunk as one batch of whole clips [B, clip_frames, …], and what is left over as a shorter one."""
        length = self._model.config.clip_frames
        whole = len(frames) - len(frames) % length
        parts = [(slice(0, whole), length), (slice(whole, None), len(frames) - whole)]
        return [
            (
                frames[part].unflatten(0, (-1, size)),
                None if sound is None else sound[part].unflatten(0, (-1, size)),
            )
            for part, size in parts
            if len(frames[part])
        ]

    def _link(self, queries: Tensor, probability: Tensor, embeds: Tensor, frames: int) -> None:
        """One clip's queries [Q, C], probabilities [Q, K + 1] and mask embeddings [Q, C] to the tracks."""
        sounds = probability[:, -1] < 1 - SOUNDS_ABOVE
        order = self._links.link(queries, sounds)
        # [V] and [V, K]: the clip's last class, "no object", left out
        sounds, named = sounds[order], probability[order, :-1] * frames
        if not self._clips:
            self._sounding = self._every = torch.zeros_like(named)
        self._sounding = self._sounding + named * sounds[:, None]
        self._every = self._every + named
        self._clips += [len(self._sounds)] * frames
        self._sounds.append(sounds)
        self._embeds.append(embeds[order][sounds].half())


class TrackLinks:
    """Which query of a clip goes on with which track. There are as many tracks as queries."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)  # [V, C] unit embeddings that tracks are matched by
        self._has_sounded = torch.empty(0, dtype=torch.bool)  # [V]

    def link(self, queries: Tensor, sounds: Tensor) -> Tensor:
        """The next clip: embeddings [Q, C] and whether they sound [Q] -> the query of each track [V]."""
        unit = F.normalize(queries, dim=-1)  # [Q, C]
        if not len(self._memory):
            self._memory, self._has_sounded = unit, sounds
            return torch.arange(len(unit), device=unit.device)
        from scipy.optimize import linear_sum_assignment  # slow to import

        # [V, Q]; NaN is found by whoever reads the output
        alike = (self._memory @ unit.T).nan_to_num()
        order = torch.as_tensor(linear_sum_assignment(alike.cpu().numpy(), maximize=True)[1]).to(unit.device)
        unit, sounds = unit[order], sounds[order]
        self._memory = torch.where((sounds | ~self._has_sounded)[:, None], unit, self._memory)
        self._has_sounded = self._has_sounded | sounds
        return order
