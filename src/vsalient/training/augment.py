"""What is done to a clip's looks before a network sees it, as named sets: ours, and the papers' own.

"standard" is a random crop, a slight turn, a mirror image and changes of colour; "rescale-crop" rescales to a fixed
size and takes a random crop of the network's size and a mirror image (dsrfcn3d, section 4.2); "mirror" is a mirror
image of the whole frame; "none" shows it as it is.

Every function takes the random generator to use, and treats all frames of a clip alike.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.training.recipe import Augmentation
from vsalient.training.synthesis import STANDARD_CROP, Matrix, Pair, Path, affine_path, centre, crop_matrix, warp


def place_clip(
    rng: np.random.Generator,
    frames: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    size: tuple[int, int],
    *,
    augment: Augmentation = "standard",
    crop: tuple[float, float] = STANDARD_CROP,
    rescale: tuple[int, int] = (0, 0),
    labelled: NDArray[np.bool_] | None = None,
) -> Pair:
    """The same view of every frame of a real clip, at the network's size.

    Args:
        rng: random generator.
        frames: (T, H, W, 3).
        masks: (T, H, W).
        size: (H, W) wanted.
        augment: the set of changes.
        crop: of "standard", the crop's share of the sides. Below the usual it holds the object's middle four times of
            five, since a small crop elsewhere shows nothing.
        rescale: of "rescale-crop", the size (H, W) before the crop.
        labelled: (T,), which masks are there; all when None.

    Returns:
        (T, h, w, 3) and (T, h, w).
    """
    source = (frames.shape[1], frames.shape[2])
    if augment == "standard":
        focus = None
        if crop != STANDARD_CROP and rng.random() < 0.8:
            known = masks if labelled is None else masks[labelled]
            focus = centre(known[int(rng.integers(len(known)))])
        matrix = crop_matrix(rng, source, size, scale=crop, focus=focus)
        matrix = affine_path(rng, 2, size, Path(0.0, 0.03, 4.0, 0.02))[1] @ matrix
    else:
        matrix = _fixed(rng, source, size, rescale if augment == "rescale-crop" else size)
        if augment != "none" and rng.random() < 0.5:
            matrix = np.array([[-1.0, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    pictures = [warp(f, matrix, size) for f in frames]
    return np.stack(pictures), np.stack([warp(m, matrix, size, mask=True) for m in masks])


def _fixed(
    rng: np.random.Generator, source: tuple[int, int], size: tuple[int, int], rescale: tuple[int, int]
) -> Matrix:
    """Rescale a (height, width) source to `rescale`, then take a random window of `size` out of it."""
    y, x = (rng.uniform(0, whole - part) for whole, part in zip(rescale, size, strict=True))
    across, down = rescale[1] / source[1], rescale[0] / source[0]
    # Pixel centres meet: a pixel's middle lies half a pixel from its corner at either scale.
    return np.array([[across, 0, (across - 1) / 2 - x], [0, down, (down - 1) / 2 - y], [0, 0, 1.0]])


def colour(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same change of brightness, contrast, saturation, tint and (rarely) blur or grey for a whole clip."""
    x: NDArray[Any] = frames.astype(np.float32)
    if rng.random() < 0.8:
        x = (x - 127.5) * rng.uniform(0.7, 1.3) + 127.5 + rng.uniform(-25, 25)
        grey = (x[..., :1] + x[..., 1:2] + x[..., 2:]) / 3  # ten times as fast as a mean over the last axis
        x = grey + (x - grey) * (0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4))
        x = x * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if rng.random() < 0.15:
        sigma = rng.uniform(0.5, 1.5)
        x = np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in x])
    if rng.random() < 0.2:
        x = x + rng.normal(0, rng.uniform(1, 6), x.shape).astype(np.float32)
    return np.clip(x, 0, 255).astype(np.uint8)
