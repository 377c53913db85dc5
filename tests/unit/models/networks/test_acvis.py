"""The options of ACVIS: audio-centric queries and the counting token, by what they are said to do."""

import pytest
import torch

from models.networks.losses.criterion import LossWeights, counting_loss
from models.networks.losses.targets import ClipTargets
from tests.support.tiny_model import tiny_model

ACVIS = {"audio_queries": "audio_centric", "count_token": True, "presence_head": False}


def test_each_switch_stands_alone() -> None:
    pictures = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    sound = torch.randn(1, 2, 16_000) * 0.1
    target = ClipTargets(torch.tensor([1]), torch.rand(1, 2, 64, 64) > 0.5)
    for audio_queries in ("fusion", "audio_centric"):
        for count_token in (False, True):
            model = tiny_model(audio_queries=audio_queries, count_token=count_token).train()
            output = model(pictures, sound)
            losses = model.losses(output, [target], LossWeights(points=64))
            assert ("counting" in losses) == count_token
            assert (output.frame.counting is not None) == count_token
            torch.stack(list(losses.values())).sum().backward()
            missing = [name for name, x in model.named_parameters() if x.requires_grad and x.grad is None]
            assert missing == []


@pytest.mark.parametrize(("loss", "most", "logits"), [("ordinal", 4, 4), ("cross_entropy", 2, 3)])
def test_counting_further_and_its_ablation(loss: str, most: int, logits: int) -> None:
    model = tiny_model(**ACVIS, count_loss=loss, count_most=most).train()
    pictures = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    output = model(pictures, torch.randn(1, 2, 16_000) * 0.1)
    assert output.frame.counting is not None
    assert output.frame.counting.shape == (2, logits)
    target = ClipTargets(torch.tensor([1]), torch.rand(1, 2, 64, 64) > 0.5)
    counted = model.losses(output, [target], LossWeights(points=64))["counting"]
    terms = 4 if loss == "ordinal" else 2  # two frames with one source
    whole = counting_loss(output.frame.counting, [target], ordinal=loss == "ordinal")
    torch.testing.assert_close(counted, whole / terms)


def test_counting_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="allowed: ordinal, cross_entropy"):
        tiny_model(count_loss="guess")


@torch.no_grad()
def test_audio_centric_queries_attend_to_the_sound_alone() -> None:
    """One key has all the attention, so every query gets the same value, whatever it asks."""
    fusion = tiny_model(**ACVIS).eval().frame_decoder.audio_fusion
    x, audio, position = torch.randn(2, 5, 16), torch.randn(2, 128), torch.randn(2, 5, 16)
    heard = fusion.before(audio)
    expected = x
    for look in fusion.look:
        value = look.attention.in_proj_weight.chunk(3)[2] @ heard.T
        value = value.T + look.attention.in_proj_bias.chunk(3)[2]
        expected = look.norm(expected + look.attention.out_proj(value)[:, None])
    torch.testing.assert_close(fusion(x, audio, [], position), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_counting_token_is_no_object() -> None:
    """Predictions are of the object queries; the token sees everything and changes them by self-attention."""
    model = tiny_model(**ACVIS).eval()
    pictures = torch.randint(0, 256, (1, 3, 3, 64, 64), dtype=torch.uint8)
    sound = torch.randn(1, 3, 16_000) * 0.1
    output = model(pictures, sound)
    assert output.frame.logits[-1].shape == (3, 5, 3)
    assert output.frame.queries[-1].shape == (3, 5, 16)
    assert output.frame.counting is not None
    assert output.frame.counting.shape == (3, 2)
    model.frame_decoder.count_token.weight.add_(torch.randn(1, 16))
    moved = model(pictures, sound)
    assert not torch.equal(moved.frame.counting, output.frame.counting)
    assert not torch.equal(moved.frame.logits[-1], output.frame.logits[-1])
