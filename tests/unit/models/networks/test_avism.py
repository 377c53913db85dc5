"""AVISM on clips of all lengths and sizes."""

import pytest
import torch

from models.inference.avism import AvismPredictor
from tests.support.tiny_model import tiny_model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 32, 32), (2, 33, 50), (5, 47, 64)])
def test_any_length_and_size(frames: int, height: int, width: int, training: bool) -> None:
    model = tiny_model().train(training)
    pictures = torch.randint(0, 256, (2, frames, 3, height, width), dtype=torch.uint8)
    output = model(pictures, torch.randn(2, frames, 16_000) * 0.1)
    padded = (height + -height % 32, width + -width % 32)
    assert output.video_mask_features.shape == (2, frames, 16, padded[0] // 4, padded[1] // 4)
    assert output.frame_mask_features.shape == (2 * frames, 16, padded[0] // 4, padded[1] // 4)
    # training: the first prediction and one after each layer; two of them go through the video module
    assert len(output.frame.logits) == (4 if training else 1)
    assert output.frame.logits[-1].shape == (2 * frames, 5, 3)
    assert len(output.video.logits) == (2 if training else 1)
    assert output.video.logits[-1].shape == (4 if training else 2, 4, 3)
    assert output.video.presence[-1].shape == (4 if training else 2, 4, frames)
    assert output.audio_tags is not None and output.audio_tags.shape == (2 * frames, 2)
    assert all(x.isfinite().all() for x in (*output.frame.logits, *output.video.logits))


@torch.no_grad()
def test_a_frame_does_not_see_its_neighbours() -> None:
    """The frame level works frame by frame: what is found in one does not hang on the others."""
    model = tiny_model().eval()
    pictures = torch.randint(0, 256, (4, 3, 40, 56), dtype=torch.uint8)
    audio = model.encode_audio(torch.randn(4, 16_000) * 0.1)
    whole, features = model.decode_frames(pictures, audio)
    for k in range(4):
        single, own = model.decode_frames(pictures[k : k + 1], audio[k : k + 1])
        torch.testing.assert_close(single.queries[-1][0], whole.queries[-1][k], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(own[0], features[k], atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_clips_of_a_batch_do_not_meet() -> None:
    model = tiny_model().eval()
    pictures = torch.randint(0, 256, (2, 3, 3, 32, 64), dtype=torch.uint8)
    sound = torch.randn(2, 3, 16_000) * 0.1
    both = model(pictures, sound)
    for k in range(2):
        alone = model(pictures[k : k + 1], sound[k : k + 1])
        torch.testing.assert_close(alone.video.logits[-1][0], both.video.logits[-1][k], atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_sound_matters_to_a_hearing_model_only() -> None:
    pictures = torch.randint(0, 256, (1, 2, 3, 32, 32), dtype=torch.uint8)
    loud, quiet = torch.randn(1, 2, 16_000) * 0.3, torch.zeros(1, 2, 16_000)
    hearing, deaf = tiny_model().eval(), tiny_model(audio="none").eval()
    assert not torch.equal(
        hearing(pictures, loud).video.logits[-1], hearing(pictures, quiet).video.logits[-1]
    )
    assert torch.equal(deaf(pictures, loud).video.logits[-1], deaf(pictures, None).video.logits[-1])
    given = tiny_model(audio="features").eval()
    assert not torch.equal(
        given(pictures, torch.randn(1, 2, 128)).video.logits[-1], given(pictures, None).video.logits[-1]
    )


@torch.no_grad()
@pytest.mark.parametrize(("frames", "windows"), [(True, True), (False, True), (True, False), (False, False)])
def test_each_way_of_the_sound_can_be_closed(frames: bool, windows: bool) -> None:
    pictures = torch.randint(0, 256, (1, 7, 3, 32, 32), dtype=torch.uint8)
    model = tiny_model(audio_in_frames=frames, audio_in_windows=windows).eval()
    loud, quiet = (
        (model(pictures, sound), sound) for sound in (torch.randn(1, 7, 16_000), torch.zeros(1, 7, 16_000))
    )
    assert torch.equal(loud[0].frame.logits[-1], quiet[0].frame.logits[-1]) == (not frames)
    assert torch.equal(loud[0].video.logits[-1], quiet[0].video.logits[-1]) == (not (frames or windows))
    assert not torch.equal(loud[0].audio_tags, quiet[0].audio_tags)
    whole, open_model = tiny_model().state_dict(), model.state_dict()
    assert list(whole) == list(open_model)
    assert all(torch.equal(value, open_model[name]) for name, value in whole.items())
    predictor = AvismPredictor(model)
    for place in range(0, 7, 3):
        predictor.add(pictures[0, place : place + 3], loud[1][0, place : place + 3])
    found = predictor.class_probabilities()
    predictor.close()
    expected = loud[0].video.logits[-1][0].softmax(-1)[:, :-1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_padding_is_of_no_consequence_for_where_things_are() -> None:
    """Frames are padded on the right and below: maps keep their place."""
    model = tiny_model().eval()
    pictures = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    seen: list[torch.Tensor] = []
    model.backbone.register_forward_hook(lambda _module, given, _result: seen.append(given[0]))
    model.extract_features(pictures[..., :20, :50])
    assert seen[0].shape[-2:] == (32, 64)
    torch.testing.assert_close(seen[0][..., :20, :50], model.backbone.normalise(pictures)[..., :20, :50])
    assert seen[0][..., 20:, :].abs().max() == 0 and seen[0][..., 50:].abs().max() == 0


@pytest.mark.parametrize(
    ("audio", "shape", "wanted"),
    [("vggish", (3, 128), "16000"), ("vggish", (3, 32_000), "16000"), ("features", (3, 16_000), "128")],
)
def test_sound_of_another_shape_is_refused(audio: str, shape: tuple[int, int], wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"shape \[{shape[0]}, {shape[1]}\].* hears \[frames, {wanted}\]"):
        tiny_model(audio=audio).encode_audio(torch.zeros(shape))
