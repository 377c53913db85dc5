"""Videos made from a seed, on which the published evaluation (OpenNLPLab/AVSBench, commit f7414af) was run.

Binary: `mask_iou` and `Eval_Fmeasure` of avs_scripts/avs_ms3/utils/utility.py, one video at a time. Semantic:
`calc_color_miou_fscore` of avs_scripts/avss/utils/compute_color_metrics.py on videos of 10 frames, summed and
averaged as avs_scripts/avss/test.py does. What they printed is tests/data/avsbench/published.json.
"""

import numpy as np
from numpy.typing import NDArray

BINARY_CASES = (
    "noise",
    "blobs",
    "sure",
    "some empty",
    "all empty",
    "nothing predicted",
    "all predicted",
    "full",
)
SEMANTIC_VIDEOS = 6


def binary_case(name: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits and truth of a video, [5, 40, 48] each."""
    draw = np.random.default_rng(BINARY_CASES.index(name))
    shape = (5, 40, 48)
    logits = draw.normal(0, 2, shape)
    rows, columns = np.mgrid[:40, :48]
    places = draw.uniform(10, 30, (5, 2))
    distance = np.hypot(rows - places[:, :1, None], columns - places[:, 1:, None])
    truth = distance < 9
    if name != "noise":
        logits = logits / 2 + (8 - np.roll(distance, 4, 2)) / 2
    if name == "sure":
        logits = np.sign(logits) * 200  # sigmoid is 0 or 1
    if name == "some empty":
        truth[[0, 3]] = False
    if name == "all empty":
        truth[:] = False
    if name == "nothing predicted":
        logits = np.full(shape, -200.0)
    if name == "all predicted":
        logits = np.full(shape, 200.0)
    if name == "full":
        truth[:] = True
    return logits.astype(np.float32), truth


def semantic_case(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Predicted and true classes of a video, [T, 24, 32] each; T is 5 or 10, and 10 for number 1.

    Number 1 is of 5 frames, but something was predicted for the 5 with which it is lengthened, too.
    """
    draw = np.random.default_rng(100 + number)
    frames = 10 if number % 2 else 5
    truth = np.zeros((frames, 24, 32), np.uint8)
    predicted = np.zeros((frames, 24, 32), np.uint8)
    for k in range(frames if number != 1 else 5):
        for _ in range(draw.integers(0, 4)):
            top, left, label = draw.integers(0, 16), draw.integers(0, 20), draw.integers(1, 71)
            truth[k, top : top + 8, left : left + 12] = label
            guess = label if draw.random() < 0.7 else draw.integers(1, 71)
            predicted[k, top + 2 : top + 9, left + 1 : left + 12] = guess
    if number == 1:
        predicted[7, :6, :6] = 70
    if number == 2:
        predicted[:] = 0
    return predicted, truth
