"""Draw an instant of a scene, and say for every pixel which object is seen there."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from components.sample.kit import Image, Kit, Picture
from components.sample.scene_parts import Scene, SceneObject, View

OPAQUE = 128  # an object is seen where its alpha is at least one half

cv2.setNumThreads(0)  # many processes render at once, each on its own core


def render_frame(
    kit: Kit, scene: Scene, time_s: float, width: int, height: int
) -> tuple[Image, npt.NDArray[np.uint8]]:
    """Picture and object map at time_s.

    Returns:
        [height, width, 3] RGB uint8, and [height, width] uint8: 0 where the background is seen, i + 1 where
        scene.objects[i] is (the front-most with alpha of at least one half).
    """
    frame = _background(kit.backgrounds[scene.view.background], scene.view, time_s, width, height)
    seen = np.zeros((height, width), np.uint8)
    for i, thing in enumerate(scene.objects):
        _draw(frame, seen, kit.sprites[thing.category][thing.sprite], thing, time_s, i + 1)
    return frame, seen


def _background(picture: Picture, view: View, time_s: float, width: int, height: int) -> Image:
    largest = min(picture.width, picture.height * width / height)
    part = largest * min(1.0, view.share.at(time_s))  # width of the part shown, in pixels of the photograph
    scale = part / width
    left = (picture.width - part) * min(1.0, max(0.0, view.x.at(time_s)))
    top = (picture.height - part * height / width) * min(1.0, max(0.0, view.y.at(time_s)))
    level, shrink = _level(picture, 1 / scale)
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    if view.flipped:
        matrix[0] = -scale, 0, left + part
    frame = cv2.warpAffine(
        level,
        _on_pixel_centres(matrix / np.array([[shrink[0]], [shrink[1]]])),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cv2.LUT(frame, _tint_table(view.tint)))


def _draw(
    frame: Image, seen: npt.NDArray[np.uint8], sprite: Picture, thing: SceneObject, time_s: float, index: int
) -> None:
    """Blend one cut-out into frame, in place, touching only its own region."""
    height, width = seen.shape
    scale = thing.size.at(time_s) * height / math.sqrt(sprite.width * sprite.height)
    level, shrink = _level(sprite, scale)
    angle = math.radians(thing.angle_deg(time_s))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    mirror = -1.0 if thing.flipped else 1.0
    linear = np.array([[mirror * cosine, -sine], [mirror * sine, cosine]])
    half_x = (abs(cosine) * sprite.width + abs(sine) * sprite.height) / 2
    half_y = (abs(sine) * sprite.width + abs(cosine) * sprite.height) / 2
    x, y = thing.x.at(time_s) * width, thing.y.at(time_s) * height
    left, right = max(0, math.floor(x - half_x) - 1), min(width, math.ceil(x + half_x) + 1)
    top, bottom = max(0, math.floor(y - half_y) - 1), min(height, math.ceil(y + half_y) + 1)
    if right <= left or bottom <= top:
        return
    offset = np.array([x - left, y - top]) - linear @ np.array([sprite.width / 2, sprite.height / 2])
    matrix = np.column_stack([linear * np.array(shrink), offset])
    drawn = cv2.warpAffine(
        level, _on_pixel_centres(matrix), (right - left, bottom - top), flags=cv2.INTER_LINEAR
    )
    alpha = drawn[..., 3]
    region = frame[top:bottom, left:right]
    behind = cv2.multiply(region, cv2.merge([255 - alpha] * 3), scale=1 / 255)
    region[...] = cv2.add(behind, cv2.LUT(drawn[..., :3], _tint_table(thing.tint)))
    seen[top:bottom, left:right][alpha >= OPAQUE] = index


def _level(picture: Picture, scale: float) -> tuple[Image, tuple[float, float]]:
    """The smallest copy that is still enlarged at most a little, and its pixels' size in the original's."""
    steps = min(max(0, math.floor(math.log2(1.2 / scale))), len(picture.levels) - 1)
    level = picture.levels[steps]
    return level, (picture.width / level.shape[1], picture.height / level.shape[0])


def _on_pixel_centres(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From coordinates in which pixel 0 spans [0, 1) to OpenCV's, in which its centre is 0."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return shifted


def _tint_table(tint: tuple[float, float, float]) -> Image:
    """[1, 256, 3] lookup table."""
    values = np.arange(256)[:, None] * np.array(tint) + 0.5
    return np.asarray(np.clip(values, 0, 255).astype(np.uint8)[None])
