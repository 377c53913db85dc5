"""The TPAVI model on clips of all lengths and sizes, hearing and deaf, and its training."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoints.saved import load_model, save_model
from models.networks.losses.criterion import LossWeights
from models.networks.losses.targets import ClipTargets
from models.networks.tpavi.clip_decoder import ClipOutput, clip_position
from models.networks.tpavi.tpavi import TpaviOutput
from tests.support.tiny_model import tiny_card
from tests.support.tiny_tpavi import SETTINGS, tiny_tpavi

pytestmark = pytest.mark.slow

WEIGHTS = LossWeights(points=64)


def clip_of(frames: int, height: int, width: int, *, clips: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    pictures = torch.randint(0, 256, (clips, frames, 3, height, width), dtype=torch.uint8)
    return pictures, torch.randn(clips, frames, 16_000) * 0.1


def squares(frames: int, count: int, side: int = 64) -> ClipTargets:
    """Squares one beside the other that move down, the first silent in the first frame of several."""
    masks = torch.zeros(count, frames, side, side, dtype=torch.bool)
    step = side // max(count, 1)
    for n in range(count):
        for t in range(frames):
            masks[n, t, 4 + 4 * t : 20 + 4 * t, n * step : (n + 1) * step - 1] = True
    if count and frames > 1:
        masks[0, 0] = False
    return ClipTargets(torch.arange(count) % 2, masks)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 32, 32), (2, 33, 50), (5, 47, 64)])
def test_any_length_and_size(frames: int, height: int, width: int, training: bool) -> None:
    model = tiny_tpavi().train(training)
    output = model(*clip_of(frames, height, width))
    padded = (height + -height % 32, width + -width % 32)
    assert output.mask_features.shape == (2, frames, 16, padded[0] // 4, padded[1] // 4)
    # training: the first prediction and one after each layer
    assert len(output.clip.logits) == (4 if training else 1)
    assert output.clip.logits[-1].shape == (2, 5, 3)
    assert output.clip.mask_embeds[-1].shape == output.clip.queries[-1].shape == (2, 5, 16)
    assert all(x.isfinite().all() for x in (*output.clip.logits, output.mask_features))


@torch.no_grad()
def test_clips_of_a_batch_do_not_meet_and_frames_of_a_clip_do() -> None:
    model = tiny_tpavi().eval()
    pictures, sound = clip_of(2, 40, 60)
    both = model(pictures, sound)
    for k in range(2):
        alone = model(pictures[k : k + 1], sound[k : k + 1])
        torch.testing.assert_close(alone.clip.logits[-1][0], both.clip.logits[-1][k], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(alone.mask_features[0], both.mask_features[k], atol=1e-4, rtol=1e-3)
    changed = pictures.clone()
    changed[:, 1] = 255 - changed[:, 1]
    assert not torch.allclose(model(changed, sound).clip.logits[-1], both.clip.logits[-1], atol=1e-4)


@torch.no_grad()
def test_sound_matters_by_both_ways_to_a_hearing_model_only() -> None:
    pictures, loud = clip_of(2, 32, 32)
    quiet = torch.zeros_like(loud)
    model = tiny_tpavi().eval()

    def change() -> tuple[float, float]:
        a, b = model(pictures, loud), model(pictures, quiet)
        seen = (a.mask_features - b.mask_features).abs().max()
        return float(seen), float((a.clip.logits[-1] - b.clip.logits[-1]).abs().max())

    assert min(change()) > 1e-3
    for fusion in model.fusions:  # without the fusion the audio queries are left
        torch.nn.init.zeros_(fusion.W_z[1].weight)
    seen, found = change()
    assert seen == 0 and found > 1e-3
    torch.nn.init.zeros_(model.clip_decoder.audio_content.weight)
    assert change() == (0, 0)

    deaf = tiny_tpavi(audio="none").eval()
    assert torch.equal(deaf(pictures, loud).clip.logits[-1], deaf(pictures, None).clip.logits[-1])
    assert not [name for name in deaf.state_dict() if "audio" in name or "fusions" in name]
    given = tiny_tpavi(audio="features").eval()
    silence = given(pictures, torch.zeros(2, 2, 128)).clip.logits[-1]
    assert torch.equal(given(pictures, None).clip.logits[-1], silence)  # missing sound is silence
    assert not torch.equal(given(pictures, torch.randn(2, 2, 128)).clip.logits[-1], silence)


@torch.no_grad()
def test_each_second_of_sound_is_told_apart() -> None:
    model = tiny_tpavi().eval()
    pictures, sound = clip_of(2, 32, 32)
    swapped = model(pictures, sound.flip(1)).clip.logits[-1]
    assert not torch.allclose(model(pictures, sound).clip.logits[-1], swapped, atol=1e-4)


@torch.no_grad()
def test_an_empty_mask_looks_at_all_frames_and_a_full_one_where_it_is() -> None:
    """A query whose mask is empty in one frame looks at the other only."""
    decoder = tiny_tpavi(audio="none", decoder_layers=1).eval().clip_decoder
    torch.nn.init.zeros_(decoder.mask_head.layers[-1].weight)
    torch.nn.init.ones_(decoder.mask_head.layers[-1].bias)  # mask = sum of the features
    scales = [torch.randn(1, 2, 16, side, side) for side in (2, 4, 8)]
    looks = [torch.full_like(x, -1.0) for x in scales]
    looks[0][:, 0] = 1.0
    seen = decoder(looks, scales, None).queries[-1]
    scales[0][:, 1] += 5  # in the frame without a mask
    torch.testing.assert_close(decoder(looks, scales, None).queries[-1], seen)
    looks[0][:, 0] = -1.0  # empty everywhere
    everywhere = decoder(looks, scales, None).queries[-1]
    scales[0][:, 1] -= 5
    assert not torch.allclose(decoder(looks, scales, None).queries[-1], everywhere, atol=1e-3)


def test_positions_tell_all_cells_of_all_frames_apart() -> None:
    position = clip_position(3, 2, 4, 16, device=torch.device("cpu"))
    assert position.shape == (24, 16)
    distance = torch.cdist(position, position) + 9 * torch.eye(24)
    assert distance.min() > 0.05
    # frame after frame, row after row: the step in time is the same at every place
    by_cell = position.view(3, 8, 16)
    torch.testing.assert_close((by_cell[1] - by_cell[0])[0], (by_cell[1] - by_cell[0])[5])


def test_training_reduces_the_loss() -> None:
    model = tiny_tpavi().train()
    pictures, sound = clip_of(2, 64, 64, clips=1)
    target = squares(2, 2)
    pictures[0, target.masks.any(0)[:, None].expand(-1, 3, -1, -1)] = 255
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for step in range(25):
        losses = model.losses(model(pictures, sound), [target], WEIGHTS, seeds=[step])
        assert set(losses) == {"class", "mask", "dice"}
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-3:]) < 0.7 * sum(totals[:3])


@pytest.mark.parametrize("counts", [(0, 0), (0, 2), (9, 1)])  # 9 instances are more than 5 queries
@pytest.mark.parametrize("frames", [1, 2])
def test_losses_reach_every_parameter_whatever_there_is(counts: tuple[int, int], frames: int) -> None:
    model = tiny_tpavi().train()
    targets = [squares(frames, count) for count in counts]
    output = model(*clip_of(frames, 64, 64))
    losses = model.losses(output, targets, WEIGHTS, seeds=[1, 2])
    assert all(x.isfinite() for x in losses.values())
    assert losses["class"] > 0 and (losses["mask"].item() > 0) == any(counts)
    torch.stack(list(losses.values())).sum().backward()
    learned = {name: x for name, x in model.named_parameters() if x.requires_grad}
    assert [name for name, x in learned.items() if x.grad is None] == []
    if any(counts):
        assert [name for name, x in learned.items() if name.startswith("fusions") and not x.grad.any()] == []


def test_losses_of_a_batch_are_those_of_its_clips() -> None:
    model = tiny_tpavi().train()
    targets = [squares(2, 1), squares(2, 3)]
    output = model(*clip_of(2, 64, 64))
    whole = model.losses(output, targets, WEIGHTS, seeds=[1, 2])
    step = model.counts(targets, WEIGHTS)
    parts = []
    for k, target in enumerate(targets):
        part = type(output)(
            type(output.clip)(
                *([x[k : k + 1] for x in getattr(output.clip, name)] for name in vars(output.clip))
            ),
            output.mask_features[k : k + 1],
        )
        parts.append(model.losses(part, [target], WEIGHTS, seeds=[k + 1], counts=step))
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value)


def test_losses_do_not_depend_on_how_many_clips_and_instances_there_are() -> None:
    """A batch of one clip twice has that clip's losses; a network that knows the answer has few."""
    model = tiny_tpavi().train()
    target = squares(2, 2)
    output = model(*clip_of(2, 64, 64, clips=1))
    once = model.losses(output, [target], WEIGHTS, seeds=[1])
    output.mask_features = output.mask_features.repeat(2, 1, 1, 1, 1)
    for name, layers in vars(output.clip).items():
        setattr(output.clip, name, [x.repeat(2, 1, 1) for x in layers])
    twice = model.losses(output, [target, target], WEIGHTS, seeds=[1, 1])
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value)

    signs = torch.where(target.masks, 20.0, -20.0).transpose(0, 1)[None]  # [1, T, N, H, W], a channel each
    embeds = torch.zeros(1, 5, 2)
    embeds[0, :2] = torch.eye(2)
    logits = torch.full((1, 5, 3), -10.0)
    logits[0, :2, :2] = 20 * torch.eye(2)
    logits[0, 2:, 2] = 10
    known = model.losses(TpaviOutput(ClipOutput([embeds], [logits], [embeds]), signs), [target], WEIGHTS)
    assert 10 * sum(known.values()) < sum(once.values())  # what is left are points on edges


@pytest.mark.parametrize("audio", ["vggish", "none"])
def test_reduced_precision_trains_and_finds_the_same(audio: str) -> None:
    model = tiny_tpavi(audio=audio).eval()
    clip = clip_of(2, 64, 64)
    with torch.no_grad():
        full = model(*clip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            reduced = model(*clip)
    scale = full.mask_features.abs().max()
    assert (reduced.mask_features - full.mask_features).abs().max() < 0.1 * scale
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(*clip)
    losses = model.losses(output, [squares(2, 1), squares(2, 0)], WEIGHTS)
    torch.stack(list(losses.values())).sum().backward()
    assert all(x.grad.isfinite().all() for x in model.parameters() if x.requires_grad)


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    model = tiny_tpavi().eval()
    save_model(tmp_path, model, tiny_card("tpavi", SETTINGS))
    loaded, read = load_model(tmp_path)
    assert read.name == "tpavi" and type(loaded) is type(model)
    clip = clip_of(2, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(*clip).clip.logits[-1], model(*clip).clip.logits[-1])


def test_wrong_settings_are_answered_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"audio is 'beats'; allowed: features, vggish, none"):
        tiny_tpavi(audio="beats")
    with pytest.raises(ValueError, match=r"clip_frames is 0; allowed: whole numbers from 1 on"):
        tiny_tpavi(clip_frames=0)
    with pytest.raises(
        ValueError, match=r"unknown settings of tpavi: video_queries; allowed: .*instance_queries"
    ):
        tiny_tpavi(video_queries=3)
