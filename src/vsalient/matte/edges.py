"""Where exactly an object ends: its edge is found in the frame's own colours, at the frame's own resolution."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.types import MaskArray, SaliencyArray

Values = NDArray[np.float32]


def box(values: Values, radius: int) -> Values:
    """The mean over a square of 2 × radius + 1, borders mirrored."""
    side = 2 * radius + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)


def color_line(
    guide: Values, target: SaliencyArray, known: MaskArray, *, radius: int, epsilon: float = 1e-3
) -> tuple[Values, Values]:
    """For every neighbourhood, alpha as a linear function of colour, fitted where alpha is known.

    The model of the guided filter (He, Sun and Tang, TPAMI 2013, eqs. 3 to 5 with a colour guide) and of closed-form
    matting (Levin et al., CVPR 2006): at an edge every colour lies on the line between the object's and the ground's.
    Other than there, pixels of unknown alpha have no vote: the map's edge may be off by some pixels, and would blur
    the answer. All means are box filters on a reduced grid, which is the fast guided filter (He and Sun, 2015).

    Args:
        guide: (h, w, 3) colours in [0, 1].
        target: (h, w) alpha, of which only `known` counts.
        known: (h, w), where alpha is certain.
        radius: of the neighbourhood.
        epsilon: variance of colour below which a difference says nothing.

    Returns:
        (h, w, 4): alpha = r × red + g × green + b × blue + constant; and (h, w) in [0, 1], the share of alpha's
        variance in the neighbourhood that colour explains: 0 where one side only is known, or colours are alike.
    """
    weight = known.astype(np.float32)
    red, green, blue = cv2.split(guide)
    inside = target * weight
    stacked = [weight, inside]
    stacked += [channel * weight for channel in (red, green, blue)]
    stacked += [channel * inside for channel in (red, green, blue)]
    weighted = stacked[2:5]
    stacked += [
        weighted[0] * red, weighted[0] * green, weighted[0] * blue,
        weighted[1] * green, weighted[1] * blue, weighted[2] * blue,
    ]  # fmt: skip
    sums = [box(values, radius) for values in stacked]
    over = 1.0 / np.maximum(sums[0], np.float32(1e-4))
    mean = sums[1] * over
    r, g, b = (value * over for value in sums[2:5])
    toward = [value * over - channel * mean for value, channel in zip(sums[5:8], (r, g, b), strict=True)]
    rr, rg, rb, gg, gb, bb = (value * over for value in sums[8:14])
    few = np.float32(epsilon)
    rr, gg, bb = rr - r * r + few, gg - g * g + few, bb - b * b + few
    rg, rb, gb = rg - r * g, rb - r * b, gb - g * b
    # The inverse of a symmetric 3 × 3 matrix by its cofactors.
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1.0 / np.maximum(rr * c00 + rg * c01 + rb * c02, np.float32(1e-12))
    x = (c00 * toward[0] + c01 * toward[1] + c02 * toward[2]) * scale
    y = (c01 * toward[0] + c11 * toward[1] + c12 * toward[2]) * scale
    z = (c02 * toward[0] + c12 * toward[1] + c22 * toward[2]) * scale
    constant = mean - x * r - y * g - z * b
    explained = x * toward[0] + y * toward[1] + z * toward[2]
    trust = np.clip(explained / np.maximum(mean * (1 - mean), np.float32(0.02)), 0, 1)
    return np.dstack([x, y, z, constant]), np.asarray(trust, np.float32)
