"""Finding the sounding objects of a clip: chunks, threshold, presence, masks."""

import numpy as np
import pytest
import torch

from models import inference
from models.avism import Avism
from models.inference import FoundTrack, find_sounding
from tests.tiny_model import tiny_model

FRAMES = 5


@pytest.fixture
def model() -> Avism:
    network: Avism = tiny_model().eval()
    hear_all(network, True)
    return network


def hear_all(model: Avism, sounds: bool) -> None:
    """Make the presence head say the same in every frame."""
    assert model.video_module.presence is not None
    last = model.video_module.presence.decide.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 1.0 if sounds else -1.0)


def clip() -> tuple[list[np.ndarray], np.ndarray]:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(FRAMES)]
    return frames, random.normal(0, 0.1, (FRAMES, 16_000)).astype(np.float32)


def test_chunks_change_nothing(model: Avism, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, sound = clip()
    whole = find_sounding(model, iter(frames), sound, threshold=0.0)
    for size in (1, 2, FRAMES):
        monkeypatch.setattr(inference, "CHUNK_FRAMES", size)
        pieces = find_sounding(model, iter(frames), sound, threshold=0.0)
        assert [track.label for track in pieces] == [track.label for track in whole]
        np.testing.assert_allclose([x.score for x in pieces], [x.score for x in whole], atol=2e-3)
        for one, other in zip(pieces, whole, strict=True):
            same = [np.mean(one.mask(k, 40, 60) == other.mask(k, 40, 60)) for k in range(FRAMES)]
            assert min(same) > 0.98


def test_tracks_come_best_first_and_below_the_threshold_none(model: Avism) -> None:
    frames, sound = clip()
    every = find_sounding(model, frames, sound, threshold=0.0, most=6)
    scores = [track.score for track in every]
    assert len(every) == 6
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    threshold = scores[2]
    kept = find_sounding(model, frames, sound, threshold=threshold, most=6)
    assert [track.score for track in kept] == [score for score in scores if score >= threshold]
    assert find_sounding(model, frames, sound, threshold=1.0) == []
    # no more than there are pairs of query and category
    assert len(find_sounding(model, frames, sound, threshold=0.0, most=1000)) == 4 * 2


def test_score_is_class_probability_times_mean_foreground(model: Avism) -> None:
    frames, sound = clip()
    best = find_sounding(model, frames, sound, threshold=0.0)[0]
    with torch.no_grad():
        pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None]
        output = model(pictures, torch.from_numpy(sound)[None])
    probability = output.video.logits[-1][0].softmax(-1)
    masks = torch.einsum("vc,tchw->vthw", output.video.mask_embeds[-1][0], output.video_mask_features[0])
    scores = []
    for query in range(4):
        inside = masks[query].sigmoid()[masks[query] > 0]
        foreground = float(inside.mean()) if len(inside) else 0.0
        scores += [float(probability[query, label]) * foreground for label in range(2)]
    assert best.score == pytest.approx(max(scores), abs=2e-3)
    assert best.label == int(np.argmax(scores)) % 2


def test_an_object_that_is_never_heard_has_no_mask(model: Avism) -> None:
    frames, sound = clip()
    heard = find_sounding(model, frames, sound, threshold=0.0)
    assert any(track.mask(k, 40, 60).any() for track in heard for k in range(FRAMES))
    hear_all(model, False)
    silent = find_sounding(model, frames, sound, threshold=0.0)
    assert not any(track.mask(k, 40, 60).any() for track in silent for k in range(FRAMES))
    assert all(track.score == 0 for track in silent)
    assert find_sounding(model, frames, sound, threshold=0.01) == []


def test_masks_fall_silent_frame_by_frame() -> None:
    features = [torch.ones(2, 8, 8, dtype=torch.half)] * 2
    sounds = np.array([True, False])
    track = FoundTrack(0, 0.9, torch.ones(2), features, sounds, (32, 32))
    assert track.mask(0, 10, 12).shape == (10, 12)
    assert track.mask(0, 10, 12).all()
    assert not track.mask(1, 10, 12).any()


def test_masks_are_cut_to_the_frame_before_they_are_resized() -> None:
    """A frame of 40x60 is padded to 64x64: what lies in the padding is not stretched into the picture."""
    plane = torch.full((1, 16, 16), -1.0)
    plane[:, :5, :7] = 1.0  # the left upper 20x28 pixels of the padded frame
    track = FoundTrack(0, 1.0, torch.ones(1), [plane.half()], np.array([True]), (40, 60))
    mask = track.mask(0, 80, 120)  # twice the frame's size
    assert mask[:38, :54].all() and not mask[42:].any() and not mask[:, 58:].any()


def test_no_frames_no_tracks(model: Avism) -> None:
    assert find_sounding(model, [], None, threshold=0.0) == []


def test_features_and_deafness_work_as_well() -> None:
    frames, _ = clip()
    deaf = tiny_model(audio="none", presence_head=False).eval()
    assert len(find_sounding(deaf, frames, None, threshold=0.0)) == 8
    given = tiny_model(audio="features", presence_head=False).eval()
    features = np.random.default_rng(1).normal(size=(FRAMES, 128)).astype(np.float32)
    tracks = find_sounding(given, frames, features, threshold=0.0)
    assert all(track.sounds.all() for track in tracks)
