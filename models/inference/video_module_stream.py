"""AVISM's video module over a clip of any length, in constant memory and with the same result.

Frames come in pieces. The encoder's windows are cut from the stream as it passes, layer by layer, so no
layer holds more than one unfinished window; what leaves the last layer is kept in a temporary file once it
is too much for memory. The decoder's few queries then read that
file once per layer and sum their attention block by block: a softmax over all frames needs only its running
maximum and sums. Nothing is dropped, summarised or windowed beyond what the model itself does.

Letters: T frames (t of a piece), W window, N windows, Q frame queries, S tokens of a frame (Q, and one of
sound), V video queries, C channels, H heads, A audio, K categories.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.avism.video_module import VideoModule
from models.networks.layers.transformer import CrossAttentionLayer

MEMORY_BYTES = 16_000_000  # of frame queries that stay in memory; 1 minute of 100 queries needs 6 MB
BLOCK_TOKENS = 8192  # looked at together by the decoder

WindowFunction = Callable[[Tensor], Tensor]  # [N, W, S, C] -> the same


@dataclass(frozen=True)
class StreamOutput:
    """What the video queries say after the last layer, as in ``VideoOutput`` without the batch."""

    logits: Tensor  # [V, K + 1]
    mask_embeds: Tensor  # [V, C]


class VideoStream:
    """Feeds a ``VideoModule`` in evaluation mode with one clip; close it, or use it as a context.

    work_folder: where its temporary file lies; None: in the system's folder for such.
    """

    def __init__(self, module: VideoModule, work_folder: Path | None = None) -> None:
        if module.training:
            raise ValueError("the video module is in training mode; only evaluation can be streamed")
        self.module = module
        window, self._count = module.window, module.frame_query_position.weight.shape[0]
        self._encoder = [
            WindowedLayer(_self_attention(attend, feed, self._count), window, shifted=index % 2 == 1)
            for index, (attend, feed) in enumerate(
                zip(module.encoder_attention, module.encoder_feed_forward, strict=True)
            )
        ]
        self._audio = self._hearing_layers()
        self._hears: bool | None = None
        self._work_folder = work_folder
        self._memory = FrameStore(work_folder)
        self._queries: Tensor | None = None  # [V, C] after the last layer and the norm

    def _hearing_layers(self) -> "list[WindowedLayer]":
        return [
            WindowedLayer(_audio_attention(attend, feed), self.module.window, shifted=index % 2 == 1)
            for index, (attend, feed) in enumerate(
                zip(self.module.audio_attention, self.module.audio_feed_forward, strict=True)
            )
        ]

    def push(self, queries: Tensor, audio: Tensor | None) -> None:
        """The next frames: frame queries [t, Q, C] and audio [t, A] or None (deaf, then always)."""
        audio = audio if self.module.hears else None
        if self._hears not in (None, audio is not None):
            raise ValueError("some frames of the clip have sound and others have none")
        self._hears = audio is not None
        # [t, 1, C], or [t, 0, C] of a deaf model
        token = self.module.audio_proj(audio)[:, None] if audio is not None else queries[:, :0]
        tokens = (token, self.module.input_proj(queries))  # the sound's token travels in front
        self._pass(torch.cat([x.float() for x in tokens], dim=1), last=False)

    def finish(self) -> StreamOutput:
        """After the last frame: the video queries' predictions.

        Raises:
            ValueError: there was no frame.
        """
        module = self.module
        if self._hears is None:
            raise ValueError("a clip needs at least one frame")
        content = module.query_content.weight
        self._pass(content.new_zeros(0, int(self._hears) + self._count, content.shape[1]), last=True)
        self._hear_whole()
        position = module.query_position.weight[None]
        y = content[None]  # [1, V, C]
        for cross, attend, feed in zip(
            module.decoder_cross_attention,
            module.decoder_self_attention,
            module.decoder_feed_forward,
            strict=True,
        ):
            y = self._cross_attention(cast(CrossAttentionLayer, cross), y[0], position[0])[None]
            y = feed(attend(y, position))  # [1, V, C]
        self._queries = module.norm(y)[0]
        return StreamOutput(module.class_head(self._queries).float(), module.mask_head(self._queries).float())

    def presence(self, queries: Tensor) -> Tensor | None:
        """Logits "sounds in this frame" [n, T] of some video queries [n]; None without a presence head."""
        if self.module.presence is None:
            return None
        if self._queries is None:
            raise ValueError("presence is known after finish()")
        chosen = self._queries[queries][None]
        pieces = [self.module.presence(chosen, x[None])[0].float() for x in self._blocks()]
        return torch.cat(pieces, dim=1)

    def close(self) -> None:
        """Remove the temporary file."""
        self._memory.close()

    def __enter__(self) -> "VideoStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pass(self, x: Tensor, *, last: bool) -> None:
        """Send tokens [t, S, C] through all windowed layers; store what comes out at the other end."""
        for layer in (*self._encoder, *(self._audio if self._hears else ())):
            x = layer.push(x, last=last)  # [t, S, C], of other frames than came in
        if self._hears:
            x = x[:, 1:] + x[:, :1]  # [t, Q, C]
        self._memory.append(x)

    def _hear_whole(self) -> None:
        """After the last frame: what looks at the whole clip. Nothing does, but in H2S."""

    def _blocks(self) -> Iterator[Tensor]:
        """The stored frames [t, Q, C], in order, on the module's device."""
        weight = self.module.query_content.weight
        for block in self._memory.blocks(max(1, BLOCK_TOKENS // self._count)):
            yield block.to(weight.device)

    def _cross_attention(self, layer: CrossAttentionLayer, y: Tensor, position: Tensor) -> Tensor:
        """Cross-attention of y [V, C] to every token of the clip, a block at a time."""
        attention = layer.attention
        weight_q, weight_k, weight_v = attention.in_proj_weight.chunk(3)
        bias_q, bias_k, bias_v = attention.in_proj_bias.chunk(3)

        def split(x: Tensor) -> Tensor:  # [S, C] -> [H, S, C/H]
            return x.float().unflatten(-1, (attention.heads, -1)).transpose(0, 1)

        query = split(F.linear(y + position, weight_q, bias_q))  # [H, V, C/H]
        query = query * float(query.shape[-1]) ** -0.5
        softmax = RunningSoftmax()
        for block in self._blocks():
            key = F.linear(block + self.module.frame_query_position.weight, weight_k, bias_k)  # [t, Q, C]
            value = F.linear(block, weight_v, bias_v)  # [t, Q, C]
            softmax.add(query, split(key.flatten(0, 1)), split(value.flatten(0, 1)))
        attended = softmax.result().transpose(0, 1).flatten(1)  # [V, C]
        return layer.norm(y + attention.out_proj(attended))  # [V, C]


class RunningSoftmax:
    """softmax(query keyᵀ) value over keys that come in blocks (Milakov and Gimelshein, arXiv 1805.02867).

    In fp32 whatever the precision around it: long sums of small weights would be lost in less.
    """

    def __init__(self) -> None:
        self._highest: Tensor | None = None  # [H, V, 1]
        self._total = self._sums = torch.empty(0)

    def add(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Take in a block: scaled queries [H, V, D], keys and values [H, S, D]."""
        with torch.autocast(query.device.type, enabled=False):
            logits = query @ key.transpose(-2, -1)  # [H, V, S]
            highest = logits.amax(-1, keepdim=True)
            if self._highest is not None:
                highest = torch.maximum(highest, self._highest)
            weights = logits.sub_(highest).exp_()
            total, sums = weights.sum(-1, keepdim=True), weights @ value
            if self._highest is not None:
                shrink = (self._highest - highest).exp()
                total, sums = total + self._total * shrink, sums + self._sums * shrink
            self._highest, self._total, self._sums = highest, total, sums

    def result(self) -> Tensor:
        """The attended values [H, V, D]."""
        return self._sums / self._total


class WindowedLayer:
    """Applies a function to every window of a stream of frames, holding one unfinished window.

    Windows are those of ``video_module.Windows``: W frames each, the first of shifted ones shorter by half
    a window, the last one as short as the clip leaves it. A short window goes through alone, unpadded.
    """

    def __init__(self, function: WindowFunction, window: int, *, shifted: bool) -> None:
        self._function, self._window = function, window
        first = window - (window + 1) // 2 if shifted else window
        self._next = first or window  # frames of the window that is due
        self._waiting: Tensor | None = None  # [t, S, C]

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        """The next frames [t, S, C], possibly none -> those whose window is complete."""
        x = x if self._waiting is None else torch.cat((self._waiting, x))
        done = []
        while len(x) >= self._next:
            # all whole windows in one batch, but for a shorter first one
            count = len(x) // self._window if self._next == self._window else 1
            taken, x = x[: count * self._next], x[count * self._next :]
            done.append(self._function(taken.unflatten(0, (count, self._next))).flatten(0, 1))
            self._next = self._window
        if last and len(x):
            done.append(self._function(x[None])[0])
            x = x[:0]
        self._waiting = x.clone() if done and len(x) else x  # not a view that keeps the whole piece alive
        return torch.cat(done) if done else x[:0]


class FrameStore:
    """Frames [T, Q, C] in fp32, appended in pieces and read in blocks; beyond MEMORY_BYTES in a file.

    The file has no name where the system allows that, so that it is gone even after kill -9.
    """

    def __init__(self, folder: Path | None = None) -> None:
        place = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=place)  # noqa: SIM115, closed by close()
        self._shape: tuple[int, ...] = ()
        self.frames = 0

    def append(self, x: Tensor) -> None:
        """Add frames [t, Q, C]."""
        if len(x):
            self._shape = tuple(x.shape[1:])
            self._file.seek(0, 2)
            self._file.write(x.detach().float().cpu().contiguous().numpy().tobytes())
            self.frames += len(x)

    def blocks(self, frames: int) -> Iterator[Tensor]:
        """All frames from the first on, ``frames`` at a time."""
        item = 4 * int(np.prod(self._shape))
        for start in range(0, self.frames, frames):
            count = min(frames, self.frames - start)
            self._file.seek(start * item)
            data = bytearray(self._file.read(count * item))
            yield torch.frombuffer(data, dtype=torch.float32).view(count, *self._shape)

    def close(self) -> None:
        """Forget everything."""
        self._file.close()


def _self_attention(attend: nn.Module, feed: nn.Module, queries: int) -> WindowFunction:
    """The frame queries of a window look at each other; a token of sound in front of them passes by."""

    def apply(x: Tensor) -> Tensor:
        sound, seen = x.split((x.shape[2] - queries, queries), dim=2)
        attended = feed(attend(seen.flatten(1, 2))).unflatten(1, (-1, queries))  # [N, W, Q, C]
        return torch.cat((sound, attended), dim=2)

    return apply


def _audio_attention(attend: nn.Module, feed: nn.Module) -> WindowFunction:
    """The token of sound looks at the frame queries of its window; these stay as they are."""

    def apply(x: Tensor) -> Tensor:
        sound, seen = x[:, :, 0], x[:, :, 1:]  # [N, W, C], [N, W, Q, C]
        return torch.cat((feed(attend(sound, seen.flatten(1, 2)))[:, :, None], seen), dim=2)

    return apply
