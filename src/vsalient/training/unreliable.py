"""Motion maps that say something wrong, so that a network learns to take motion as a hint and not as the truth.

Optical flow finds nothing where nothing moves or all is blurred; where the object fills the frame the camera fit takes
it for the camera and what is left is turned round; parallax moves more than the object.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

PriorMaps = NDArray[np.float32]
WHOLE_FRAME = ("camera_share",)
"""Priors with one value a frame: what they say of the camera's fit stands, and can be weighed against the maps."""


def distort(rng: np.random.Generator, maps: dict[str, PriorMaps]) -> dict[str, PriorMaps]:
    """The same fault in all maps of a clip, but for those with one value a frame, such as the camera's share.

    Zero, turned round (the background moves and the object does not), another place's (mirrored and moved along, as of
    an object that is not there), or mixed with a field that a wrong camera leaves, strongest on one side.

    Args:
        rng: random generator.
        maps: (T, H, W) float32 in [0, 1] by name.

    Returns:
        New maps, as they came in.
    """
    whole = {name: values for name, values in maps.items() if name in WHOLE_FRAME}
    maps = {name: values for name, values in maps.items() if name not in whole}
    if not maps:
        return whole
    return {**_wrong(rng, maps), **whole}


def _wrong(rng: np.random.Generator, maps: dict[str, PriorMaps]) -> dict[str, PriorMaps]:
    fault = int(rng.choice(4, p=(0.35, 0.25, 0.2, 0.2)))
    if fault == 0:
        return {name: np.zeros_like(values) for name, values in maps.items()}
    if fault == 1:
        return {name: _turned(values) for name, values in maps.items()}
    if fault == 2:
        shift = int(rng.integers(1, 1 + max(1, next(iter(maps.values())).shape[2] // 2)))
        return {name: np.ascontiguousarray(np.roll(values[:, :, ::-1], shift, 2)) for name, values in maps.items()}
    strength = np.float32(rng.uniform(0.4, 0.9))
    lattice = rng.uniform(-0.6, 1.2, (2, 3)).clip(0, 1).astype(np.float32)
    mixed = {}
    for name, values in maps.items():
        field = cv2.resize(lattice, (values.shape[2], values.shape[1]), interpolation=cv2.INTER_LINEAR)
        mixed[name] = np.asarray(values + (np.maximum(values, field) - values) * strength, np.float32)
    return mixed


def _turned(values: PriorMaps) -> PriorMaps:
    """Each frame's highest value less its values: what was still is now what moves."""
    return np.asarray(values.max(axis=(1, 2), keepdims=True) - values, np.float32)
