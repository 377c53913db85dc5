import numpy as np
import pytest

from components.train.examples.batch import TrainingClip
from components.train.examples.pasting import paste


def clip(name: str, colour: int, label: int, square: tuple[slice, slice], loud: float) -> TrainingClip:
    """Two frames of one colour, 60x80, with one object: a square, in the second frame only."""
    masks = np.zeros((1, 2, 60, 80), bool)
    masks[(0, 1, *square)] = True
    return TrainingClip(
        name,
        np.full((2, 60, 80, 3), colour, np.uint8),
        np.full((2, 16000), loud, np.float32),
        np.array([label]),
        masks,
    )


CORNER, WHOLE = (slice(0, 6), slice(0, 6)), (slice(None), slice(None))


@pytest.mark.parametrize("seed", range(5))
def test_pasted_objects_lie_before_the_others_and_are_heard(seed: int) -> None:
    onto, other = clip("a", 10, 3, WHOLE, 0.25), clip("b", 200, 5, CORNER, 0.5)

    made = paste(onto, other, np.random.default_rng(seed))

    assert made.labels.tolist() == [3, 5]
    own, pasted = made.masks
    assert not made.masks[:, 0].any()  # both objects are silent in the first frame
    assert 3 * 3 <= pasted[1].sum() <= 6 * 6  # half the size at the least
    assert (own[1] == ~pasted[1]).all()
    assert (made.frames[1][pasted[1]] == 200).all()
    assert (made.frames[1][~pasted[1]] == 10).all()
    assert (made.frames[0] == 10).all()
    assert np.allclose(made.sound, 0.75)
    assert made.name == "a with objects of b"


def test_what_is_covered_in_every_frame_is_no_object_any_more() -> None:
    onto, other = clip("a", 10, 3, CORNER, 0.25), clip("b", 200, 5, WHOLE, 0.5)
    made = [paste(onto, other, np.random.default_rng(seed)) for seed in range(40)]

    covered = [one for one in made if one.labels.tolist() == [5]]
    seen = [one for one in made if one.labels.tolist() == [3, 5]]
    assert len(covered) + len(seen) == len(made)
    assert covered and seen
    assert all(one.masks.any((1, 2, 3)).all() for one in made)


def test_clips_of_other_sizes_keep_their_proportions() -> None:
    onto, other = clip("a", 10, 3, CORNER, 0.25), clip("b", 200, 5, WHOLE, 0.5)
    tall = TrainingClip(
        "tall",
        np.full((2, 90, 30, 3), 200, np.uint8),
        other.sound,
        other.labels,
        np.ones((1, 2, 90, 30), bool),
    )

    pasted = paste(onto, tall, np.random.default_rng(0)).masks[-1, 1]

    rows, columns = pasted.any(1).sum(), pasted.any(0).sum()
    assert 30 <= rows <= 60
    assert rows / columns == pytest.approx(3, abs=0.2)
    assert pasted.sum() == rows * columns


def test_sound_stays_within_full_scale() -> None:
    loud = clip("a", 10, 3, CORNER, 0.8)
    assert np.allclose(paste(loud, loud, np.random.default_rng(0)).sound, 1)
