"""A real SAM 2 video model of transformers, with random weights: is it asked the right things?"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.core.video.frame_prompt import FramePrompt
from components.core.video.sam import SamTracker
from components.tools.preannotate.drafts import DraftTrack, refined
from tests.support.tiny_sam import write_sam

HEIGHT, WIDTH, FRAMES = 90, 160, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def tracker(folder: Path) -> SamTracker:
    return SamTracker.load(folder, "cpu")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(FRAMES)]


def test_a_prompt_gives_the_mask_that_the_model_gives_by_itself(
    folder: Path, tracker: SamTracker, frames: list[np.ndarray]
) -> None:
    import torch
    from transformers import Sam2VideoModel, Sam2VideoProcessor

    masks = tracker.follow(frames, [{2: FramePrompt((10, 10, 90, 60), [(40, 30, True), (5, 5, False)])}])[0]
    model, processor = Sam2VideoModel.from_pretrained(folder), Sam2VideoProcessor.from_pretrained(folder)
    session = processor.init_video_session(video=np.stack(frames))
    processor.add_inputs_to_inference_session(
        session, 2, 1, input_boxes=[[[10, 10, 90, 60]]], input_points=[[[[40, 30], [5, 5]]]],
        input_labels=[[[1, 0]]],
    )  # fmt: skip
    with torch.inference_mode():
        logits = model.eval()(session, frame_idx=2).pred_masks
    expected = processor.post_process_masks([logits], original_sizes=[[HEIGHT, WIDTH]])[0][0, 0].numpy()
    assert masks[2] is not None and masks[2].shape == (HEIGHT, WIDTH) and 0 < masks[2].mean() < 1
    assert np.array_equal(masks[2], expected)
    assert len(masks) == FRAMES


def test_objects_do_not_disturb_each_other(tracker: SamTracker, frames: list[np.ndarray]) -> None:
    one, two = {0: FramePrompt((10, 10, 60, 60))}, {4: FramePrompt(points=[(80, 40, True)])}
    together = tracker.follow(frames, [one, two])
    apart = [tracker.follow(frames, [prompts])[0] for prompts in (one, two)]
    for a, b in zip(together, apart, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None and y is None) or np.array_equal(x, y)


def test_refining_keeps_the_seconds_of_sound() -> None:
    def corner(x: int) -> Any:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[10:40, x : x + 30] = True
        return encode(mask)

    asked: list[dict[int, FramePrompt]] = []

    def follow(frames: Any, prompts: Any) -> Any:
        asked.extend(prompts)
        return [[np.ones((HEIGHT, WIDTH), bool)] * 4 + [None] for _ in prompts]

    draft = DraftTrack("dog", [corner(0), corner(5), corner(10), None, corner(50)], 0.9)
    found = refined([draft], [], follow)[0]
    assert {k: prompt.box for k, prompt in asked[0].items()} == {1: (5, 10, 35, 40), 4: (50, 10, 80, 40)}
    assert [mask is None for mask in found.segmentations] == [False, False, False, True, False]
    assert decode(found.segmentations[0], HEIGHT, WIDTH).all() and found.score == 0.9
    assert found.segmentations[4] == draft.segmentations[4]  # lost by the follower: the draft's stays


def test_other_folders_are_refused_with_a_reason(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"no config\.json"):
        SamTracker.load(tmp_path)
    shutil.copytree(folder, tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").unlink()
    with pytest.raises(AvisError, match="cannot be loaded"):
        SamTracker.load(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(AvisError, match=r"type 'bert'.*sam2_video"):
        SamTracker.load(tmp_path / "a")
