"""Generated 1080p films whose alpha is known exactly: an object with a hard, a soft or a hairy rim moves over a scene.

Everything is drawn from a seed with NumPy and OpenCV: textured grounds and objects of several octaves, so that edges
have to be found among other edges. Alpha is drawn four times as large and averaged down, as a lens does it.
"""

from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Rim = Literal["hard", "soft", "hair"]
RIMS: tuple[Rim, ...] = ("hard", "soft", "hair")


def texture(height: int, width: int, rng: np.random.Generator, *, hue: float, light: float) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1]: clouds of four octaves around one colour, with film grain."""
    sums = np.zeros((height, width, 3), np.float32)
    for octave, strength in ((160, 0.5), (48, 0.25), (14, 0.16), (5, 0.09)):
        size = (max(2, width // octave), max(2, height // octave))
        noise = rng.standard_normal((size[1], size[0], 3)).astype(np.float32)
        noise = 0.6 * noise.mean(axis=2, keepdims=True) + 0.4 * noise
        sums += np.float32(strength) * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    tint = np.array([np.cos(hue), np.cos(hue - 2.1), np.cos(hue + 2.1)], np.float32) * np.float32(0.22)
    grain = rng.standard_normal((height, width, 1)).astype(np.float32) * np.float32(0.012)
    return np.clip(light + tint + 0.13 * sums + grain, 0.02, 0.98).astype(np.float32)


def shape(size: int, rim: Rim, rng: np.random.Generator) -> NDArray[np.float32]:
    """(S, S) alpha of a blob with limbs; its rim one pixel wide, about 14 pixels wide, or fringed with strands."""
    fine = 4
    side = size * fine
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 0.27 + sum(
        rng.uniform(0.01, 0.05) / k**0.5 * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(2, 8)
    )
    points = np.stack([0.5 + radius * np.cos(angles), 0.5 + radius * np.sin(angles)], axis=1) * side
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], 255)
    if rim == "hair":
        for _ in range(500):
            number = int(rng.integers(len(points)))
            start, way = points[number], points[number] - side / 2
            way = way / np.hypot(*way)
            bend = np.array([-way[1], way[0]]) * rng.normal(0, 0.35)
            length = rng.uniform(15, 60) * fine * size / 972
            along = np.linspace(-0.2, 1, 24)[:, None]
            strand = start + length * (along * way + along**2 * bend)
            cv2.polylines(canvas, [strand.astype(np.int32)], False, 255, int(rng.integers(3, 8)), cv2.LINE_AA)
    alpha = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    if rim == "soft":
        alpha = cv2.GaussianBlur(alpha, (0, 0), 5.5 * size / 972)
    return np.asarray(alpha, np.float32)


def film(
    rim: Rim, seed: int, *, frames: int = 8, size: tuple[int, int] = (1080, 1920)
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield (picture, alpha, the object's colours): (H, W, 3) uint8 RGB, (H, W) in [0, 1], (H, W, 3) uint8."""
    rng = np.random.default_rng([seed, RIMS.index(rim)])
    height, width = size
    side = round(height * 0.9)
    hue = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.3, 0.7)
    ground = texture(height + 80, width + 160, rng, hue=hue, light=light)
    other = light + 0.25 if light < 0.5 else light - 0.25
    colours = texture(side, side, rng, hue=hue + rng.uniform(1.6, 4.6), light=other)
    alpha = shape(side, rim, rng)
    left, top = rng.uniform(0.15, 0.35) * width, (height - side) / 2
    for number in range(frames):
        move = np.array([[1, 0, left + 9.3 * number], [0, 1, top + 3.1 * np.sin(number)]], np.float32)
        cover = np.clip(cv2.warpAffine(alpha, move, (width, height), flags=cv2.INTER_LINEAR), 0, 1)
        above = cv2.warpAffine(colours, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x = 4 * number
        below = ground[40 : 40 + height, x : x + width]
        mixed = below + cover[..., None] * (above - below)
        yield (mixed * 255 + 0.5).astype(np.uint8), np.asarray(cover, np.float32), (above * 255 + 0.5).astype(np.uint8)
