"""What is drawn over pictures, pixel by pixel where it matters."""

import av
import numpy as np
import pytest

from components.core.records import masks
from components.core.reports.overlay import (
    BACKGROUND,
    Lane,
    OverlayTrack,
    Panel,
    category_colour,
    draw_masks,
    draw_timeline,
    render_overlay,
    track_colours,
)

RED = (255, 0, 0)


def test_colours_are_stable_and_differ_between_tracks():
    colours = track_colours([4, 4, 9, 4])
    assert colours[0] == category_colour(4)
    assert colours[2] == category_colour(9)
    assert len(set(colours)) == 4
    assert colours == track_colours([4, 4, 9, 4])


def test_masks_tint_what_they_cover():
    picture = np.full((100, 120, 3), 100, dtype=np.uint8)
    mask = np.zeros((100, 120), dtype=bool)
    mask[40:80, 30:90] = True
    drawn = draw_masks(picture, [mask, np.zeros_like(mask)], ["", "nothing"], [RED, RED])
    assert (picture == 100).all()  # the input stays as it is
    assert (drawn[10:30] == 100).all()
    inside = drawn[60, 60]
    assert inside[0] > 150 > 100 > inside[1]
    assert drawn[40, 60, 0] > 220 > 60 > drawn[40, 60, 1]  # the outline
    labelled = draw_masks(picture, [mask], ["violin"], [RED])
    assert (labelled[20:38, 30:90] != 100).any()


@pytest.mark.parametrize("size", [(1, 1), (4, 300), (300, 4)])
def test_any_size_of_picture(size):
    picture = np.zeros((*size, 3), dtype=np.uint8)
    assert draw_masks(picture, [np.ones(size, dtype=bool)], ["a long label"], [RED]).shape == picture.shape


@pytest.mark.parametrize(("width", "seconds"), [(640, 3600), (12, 3), (120, 40)])
def test_timeline_of_a_long_clip_and_of_a_narrow_one(width, seconds):
    on = [k % 2 == 0 for k in range(seconds)]
    for solid in (True, False):
        bar = draw_timeline(width, [Lane("violin", RED, on, solid)], now_s=1.0)
        assert bar.shape[1] == width
        assert (bar == RED).all(2).any()


def test_timeline_fills_the_seconds_that_sound():
    lanes = [Lane("violin", RED, [False, True, True, False])]
    bar = draw_timeline(400, lanes)
    row = bar[3 + 8]  # the lane's middle
    red = np.flatnonzero((row == RED).all(1))
    left, right = 90, 400 - 16
    quarter = (right - left) / 4
    assert abs(red[0] - (left + quarter)) <= 2
    assert abs(red[-1] - (left + 3 * quarter)) <= 2
    outlined = draw_timeline(400, [Lane("violin", RED, [False, True, True, False], solid=False)])
    assert ((outlined[11] == BACKGROUND).all(1)[red[5:-5]]).all()
    playing = draw_timeline(400, lanes, now_s=1.0)
    moved = np.flatnonzero((playing[5] != bar[5]).any(1))
    assert abs(moved.mean() - (left + quarter)) <= 2
    assert draw_timeline(300, []).shape[1] == 300


def test_film_shows_each_mask_during_its_second(tmp_path):
    height, width = 60, 80
    full = masks.encode(np.ones((height * 2, width * 2), dtype=bool))  # masks of another size than pictures
    track = OverlayTrack("", RED, [None, full])
    pictures = [np.full((height, width, 3), 90, dtype=np.uint8)] * 8
    sound = np.sin(np.arange(32_000) / 10).astype(np.float32) / 2
    path = tmp_path / "film.mp4"
    render_overlay(
        path,
        pictures,
        picture_rate_hz=4,
        panels=[Panel("truth", [track]), Panel("prediction", [])],
        lanes=[Lane("violin", RED, track.sounding())],
        audio=sound,
        panel_height_px=60,
    )
    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 8
    left, right = [[picture[26 + 30, x] for picture in shown] for x in (40, 120)]
    assert all(pixel[0] < 120 for pixel in left[:4])
    assert all(pixel[0] > pixel[1] + 40 for pixel in left[4:])
    assert all(pixel[0] < 120 for pixel in right)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == 16_000
    assert track.sounding() == [False, True]


def test_a_label_stands_at_the_largest_piece() -> None:
    mask = np.zeros((200, 600), bool)
    mask[150:152, 5:7] = mask[100:180, 500:560] = True
    drawn = draw_masks(np.zeros((200, 600, 3), np.uint8), [mask], ["dog"], [RED])
    assert drawn[85:95, 500:560].any() and not drawn[:140, :450].any()


def test_labels_of_objects_at_the_bottom_stay_in_the_picture() -> None:
    mask = np.zeros((200, 600), bool)
    mask[185:199, 200:400] = True
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    drawn = draw_masks(np.zeros((200, 600, 3), np.uint8), [mask] * 4, ["dog", "cow", "cat", "owl"], colours)
    above = drawn[:183]
    backs = [int((above == colour).all(2).sum()) for colour in colours]
    assert min(backs) > 200
