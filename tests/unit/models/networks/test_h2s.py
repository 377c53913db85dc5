"""H2S: its parts against what the paper's text says, literally; and as a network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.checkpoints.parameter_names import our_name, published_name
from models.inference.h2s import ScanStream
from models.inference.offline import find_sounding
from models.networks.h2s import selective_scan
from models.networks.h2s.clustered_attention import (
    CLUSTERS,
    ClusteredAttention,
    Starts,
    first_tokens,
    k_means,
    place_weights,
    select,
)
from models.networks.h2s.selective_scan import DIRECTIONS, STATE, SelectiveScan
from models.networks.h2s.separated_audio import AudioDecomposition, AudioIntoPixels
from models.networks.registry import build
from tests.support.tiny_h2s import tiny_h2s

SHAPES = Path("tests/data/golden/h2s_r50/state_dict_shapes.json")


def clip(frames: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (frames, 3, 96, 128), dtype=torch.uint8, generator=random)
    return pictures, torch.randn(frames, 8, 128, generator=random)


def test_sources_have_no_order_and_are_heard() -> None:
    model, (frames, sound) = tiny_h2s().eval(), clip()
    mixed = sound[:, torch.randperm(8)]
    with torch.no_grad():
        first, second, other = (model(frames[None], x[None]).video for x in (sound, mixed, sound.flip(0)))
    torch.testing.assert_close(first.logits[-1], second.logits[-1], atol=1e-4, rtol=1e-4)
    assert (first.logits[-1] - other.logits[-1]).abs().max() > 1e-3


def test_chunks_of_a_clip_give_what_the_whole_clip_gives() -> None:
    model, (frames, sound) = tiny_h2s().eval(), clip(7)
    with torch.no_grad():
        output = model(frames[None], sound[None])
    probability = output.video.logits[-1][0].softmax(-1)[:, :-1]

    def moments() -> list[tuple[Any, Any]]:
        return list(zip(frames.permute(0, 2, 3, 1).numpy(), sound.numpy(), strict=True))

    found = find_sounding(
        model, moments, size=(96, 128), encode=np.ndarray.sum, threshold=0.0, most=5, least=5
    )
    for track in found:
        assert (probability - track.evidence.probability).abs().min() < 1e-5
    best = max(found, key=lambda track: track.evidence.probability)
    query = int(probability.flatten().argmax()) // 2
    masks = torch.einsum("c,tchw->thw", output.video.mask_embeds[-1][0, query], output.video_mask_features[0])
    masks = torch.nn.functional.interpolate(masks[None], size=(96, 128), mode="bilinear")[0]
    areas = [int((mask > 0).sum()) for mask in masks]
    assert best.masks == pytest.approx(areas, abs=30) and min(areas) > 500  # features in half precision


@pytest.mark.parametrize("hears", [False, True])
def test_chunks_sound_or_do_not_whether_or_not_the_scans_hear(hears: bool) -> None:
    model, (frames, sound) = tiny_h2s(audio_in_windows=hears).eval(), clip(4)
    with torch.no_grad(), ScanStream(model.video_module) as stream:
        output, _ = model.decode_frames(frames, sound)
        stream.push(output.queries[-1][:2], sound[:2])
        stream.push(output.queries[-1][2:], sound[2:])
        with pytest.raises(ValueError, match="some frames of the clip have sound and others have none"):
            stream.push(output.queries[-1][:1], None)
        whole = model(frames[None], sound[None]).video.logits[-1][0]
        torch.testing.assert_close(stream.finish().logits, whole, atol=1e-5, rtol=1e-4)


def test_what_does_not_go_together_is_said() -> None:
    model, (frames, sound) = tiny_h2s().eval(), clip()
    with pytest.raises(ValueError, match=r"shape \[4, 5, 128\].*\[frames, 8, 128\]"):
        model(frames[None], sound[None, :, :5])
    with pytest.raises(ValueError, match=r"frame_queries \(10\) and video_queries \(9\) must be equal"):
        tiny_h2s(video_queries=9)
    for setting in ({"count_token": True}, {"audio_queries": "audio_centric"}):
        with pytest.raises(ValueError, match="are ACVIS's"):
            tiny_h2s(**setting)
    with pytest.raises(ValueError, match="separated sources"):
        tiny_h2s(audio="vggish")
    with pytest.raises(ValueError, match="into 8 clusters: 6 are too few"):
        model(frames[None, :, :, :64, :96], sound[None])


def test_every_published_name_has_a_place_and_comes_back() -> None:
    names = [
        name
        for name in json.loads(SHAPES.read_text())
        if not name.endswith(("num_batches_tracked", "empty_weight"))
    ]
    with torch.device("meta"):
        own = build("h2s").state_dict()
    ours = [our_name(name) for name in names]
    assert {name for name in own if not name.endswith("num_batches_tracked")} == set(ours)
    assert [published_name(str(name), "avism") for name in ours] == names


def test_pixels_attend_to_sources_as_written() -> None:
    torch.manual_seed(1)
    hear = AudioIntoPixels(channels=16, heads=4, audio_channels=6)
    x, position, sources = torch.randn(2, 7, 16), torch.randn(7, 16), torch.randn(2, 5, 6)

    def heads(values: Tensor) -> Tensor:
        return values.unflatten(-1, (4, 4)).transpose(1, 2)

    query, key = heads(hear.to_qk(x + position)), heads(hear.context_to_qk(sources))
    weights = (query @ key.transpose(2, 3) / 2).softmax(-1)
    expected = x + hear.to_out((weights @ heads(hear.context_to_v(sources))).transpose(1, 2).flatten(2))
    torch.testing.assert_close(hear(x, position, sources), expected)


def test_queries_are_projected_once_for_all_frames() -> None:
    torch.manual_seed(2)
    decompose = AudioDecomposition(queries=3, channels=8, heads=2)
    sources = torch.randn(4, 5, 8)
    each = [decompose(one[None])[0] for one in sources]
    torch.testing.assert_close(decompose(sources), torch.stack(each))


def lloyd(tokens: np.ndarray, start: list[int]) -> tuple[list[int], np.ndarray]:
    """K-means as the paper's program writes it, for 50 rounds."""
    centres = tokens[start]

    def nearest() -> np.ndarray:
        return ((tokens[:, None] - centres[None]) ** 2).sum(-1).argmin(1)

    for _ in range(50):
        labels = nearest()
        centres = np.stack(
            [
                tokens[labels == number].mean(0) if (labels == number).any() else 0 * tokens[0]
                for number in range(len(start))
            ]
        )
    return nearest().tolist(), centres


@given(st.integers(0, 2**32 - 1), st.integers(8, 30))
def test_k_means_stops_where_fifty_rounds_end(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    tokens = torch.from_numpy(random.normal(size=(3, count, 4)))
    start = torch.from_numpy(np.stack([random.permutation(count)[:CLUSTERS] for _ in range(3)]))
    labels, centres = k_means(tokens, start)
    for group in range(3):
        expected, middle = lloyd(tokens[group].numpy(), start[group].tolist())
        assert labels[group].tolist() == expected
        np.testing.assert_allclose(centres[group], middle, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_places_are_counted_as_the_program_fills_them(seed: int) -> None:
    """Index lists with copies of one key, query by query, and a softmax over all places."""
    torch.manual_seed(seed)
    frames, heads, queries, keys, width = 2, 2, 9, 14, 3
    attention = ClusteredAttention(channels=heads * width, heads=heads, share=0.7)
    q, k = torch.randn(frames, queries, heads * width), 2 * torch.randn(frames, keys, heads * width)
    with torch.no_grad():
        made = attention(q, k)

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (heads, width)).transpose(1, 2).flatten(0, 1)

        query, key, value = split(attention.q_proj(q)), split(attention.k_proj(k)), split(attention.v_proj(k))
        of_query, query_centres = k_means(query, first_tokens(query))
        of_key, key_centres = k_means(key, first_tokens(key, draws=1))
        chosen, _sizes = select(query_centres, key_centres, of_key, 0.7)
        lists = [
            [
                [n for n in range(keys) if chosen[group, of_query[group, i], of_key[group, n]]]
                for i in range(queries)
            ]
            for group in range(frames * heads)
        ]
        places = max(len(one) for group in lists for one in group)
        attended = torch.zeros_like(query)
        for group, per_query in enumerate(lists):
            lowest = int(of_key[group].min())
            filler = of_key[group].tolist().index(lowest)
            for i, one in enumerate(per_query):
                index = one + [filler] * (places - len(one))
                weights = (query[group, i] @ key[group, index].T / width**0.5).softmax(-1)
                attended[group, i] = weights @ value[group, index]
        expected = attention.out_proj(attended.unflatten(0, (frames, heads)).transpose(1, 2).flatten(2))
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


def test_the_cluster_that_crosses_the_share_is_left_out() -> None:
    key_centres = torch.zeros(1, CLUSTERS, 1)
    of_key = torch.tensor([[0] * 5 + [1] * 3 + [2] * 2])  # alike, so each counts by its keys
    query_centres = torch.zeros(1, CLUSTERS, 1)
    for share, kept in ((0.4, [0]), (0.7, [0]), (0.85, [0, 1])):
        chosen, sizes = select(query_centres, key_centres, of_key, share)
        assert sizes[0].tolist() == [5, 3, 2, 0, 0, 0, 0, 0]
        assert chosen[0, 0, :3].nonzero()[:, 0].tolist() == kept


def test_starts_that_are_given_are_used_and_draws_are_alike() -> None:
    torch.manual_seed(3)
    queries, keys = torch.randn(2, 20, 4), torch.randn(2, 30, 4)
    again = place_weights(queries.flip(0), keys.flip(0), 0.8).flip(0)
    drawn = place_weights(queries, keys, 0.8)
    assert torch.equal(drawn, again), "they hang on what else is computed"
    given_starts = Starts(torch.arange(8).repeat(2, 1), torch.arange(8).repeat(2, 1))
    assert not torch.equal(drawn, place_weights(queries, keys, 0.8, given_starts))
    assert len(set(first_tokens(keys)[0].tolist())) == CLUSTERS, "far tokens are likelier: none twice"


@pytest.mark.parametrize("learning", [False, True])
def test_scans_are_the_recurrence(learning: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selective_scan, "_BLOCK", 5)  # 12 places are three blocks
    torch.manual_seed(4)
    scan = SelectiveScan(channels=16)
    frames, queries, inner = 3, 4, 32
    x, guide = torch.randn(2, frames, queries, 16), torch.randn(1, frames, queries, 16)
    with torch.set_grad_enabled(learning):
        made = scan(x, guide)

    with torch.no_grad():
        u, z = scan.in_proj(x).chunk(2, -1)
        u = torch.nn.functional.silu(scan.conv2d(u.permute(0, 3, 1, 2)))
        g = scan.audio_proj_1(guide).permute(0, 3, 1, 2).expand(2, -1, -1, -1)
        by_frame = [(t, q) for t in range(frames) for q in range(queries)]
        by_query = [(t, q) for q in range(queries) for t in range(frames)]
        total = torch.zeros(2, frames, queries, inner)
        near, gates = scan.audio_gate(
            torch.stack(
                [
                    torch.stack([g[:, :, t, q] for t, q in order], -1)
                    for order in (by_frame, by_query, by_frame[::-1], by_query[::-1])
                ],
                1,
            )
        )
        for r, order in enumerate((by_frame, by_query, by_frame[::-1], by_query[::-1])):
            state = torch.zeros(2, inner, STATE)
            decay = -scan.A_logs.exp().view(DIRECTIONS, inner, STATE)[r]
            for place, (t, q) in enumerate(order):
                here = u[:, :, t, q]
                delta, write, read = (here @ scan.x_proj_weight[r].T).split((1, STATE, STATE), -1)
                step = torch.nn.functional.softplus(
                    delta @ scan.dt_projs_weight[r].T
                    + gates[:, r, :, place] * near[:, r, :, place]
                    + scan.dt_projs_bias[r]
                )[..., None]
                state = (step * decay).exp() * state + step * write[:, None] * here[..., None]
                total[:, t, q] += (state * read[:, None]).sum(-1) + scan.Ds.view(DIRECTIONS, inner)[r] * here
        expected = scan.out_proj(scan.out_norm(total) * torch.nn.functional.silu(z))
    torch.testing.assert_close(made.detach(), expected, atol=1e-5, rtol=1e-4)


def test_all_that_is_used_learns() -> None:
    model, (frames, sound) = tiny_h2s().train(), clip()
    output = model(frames[None], sound[None])
    (sum(x.square().sum() for x in (*output.video.logits, *output.video.mask_embeds))).backward()
    silent = {name for name, x in model.named_parameters() if x.grad is None or not x.grad.abs().sum()}
    heads = ("class_head", "mask_head", "similarity", "mask_features")
    used = {name for name in silent if not any(head in name for head in heads)}
    assert {name for name in used if "audio_into_pixels" in name} == {
        f"pixel_decoder.audio_into_pixels.{scale}.{part}"
        for scale in range(3)
        for part in ("to_v.weight", "context_to_out.weight", "context_to_out.bias")
    }
    assert not {name for name in used if "scans" in name or "decompose" in name or "audio_fusion" in name}
