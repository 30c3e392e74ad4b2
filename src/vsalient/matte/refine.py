"""A soft map on the reduced grid → alpha at the frame's own size, its edge where the picture has one."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.matte.edges import Values, box, color_line
from vsalient.matte.grid import Band, Grid
from vsalient.types import Pixels, SaliencyArray

REACH = 12
"""Cells beyond the map's edge that are looked at at most: strands of hair stick out as far."""
SURE_REACH, DOUBT = 3, 4
CLEAR, CLEAR_RAMP = 0.065, 0.03
"""Noise, of ground and inside together, at which colours are no longer taken at their word, and how softly."""
PULL: dict[bool, float] = {True: 0.8, False: 0.4}
"""How strongly the map then holds against them: for sharp edges, where a speck is ugly, and for soft ones."""
UNSURE = 2
"""Cells on both sides of the map's edge that never count as known."""
RADIUS = 14
"""Cells of the neighbourhood in which colours are compared."""
CLEAN = 0.1
"""Alpha by colour that is nearer to 0 or 1 than this is noise, whatever the texture."""
NOISE, LEAST_APART = 2.5, 0.3
"""How many times the noise of a texture is cut off, and what has to be left between for colours to count."""
TRUST, TRUST_AWAY, TRUST_RAMP = 0.6, 0.01, 0.25
"""Explained variance from which colours count, more for each cell away from the map's edge, and count in full."""
EDGE_WIDTH = 2.0
"""Pixels of an edge made sharp."""


def refine(
    grid: Grid, pixels: Pixels, small: Pixels, saliency: SaliencyArray, probability: SaliencyArray, *, sharp: bool
) -> NDArray[np.uint8]:
    """Alpha (H, W), 0 to 255.

    Args:
        grid: of the frame's size.
        pixels: (H, W, 3) the frame.
        small: (h, w, 3) the frame on the grid.
        saliency: (h, w) the map on the grid, stretched so that 0 and 1 are certain.
        probability: (h, w) the map before that: how sure it is.
        sharp: make edges two pixels wide where colours do not tell; else they are as wide as the map has them.
    """
    rows, columns = grid.shape
    inside = (saliency >= 0.5).astype(np.uint8)
    between = ((saliency > 0) & (saliency < 1)).astype(np.uint8)
    away = _from_edge(inside)
    doubtful = ((probability > 0.03) & (probability < 0.97)).astype(np.uint8)
    unsure = (away <= UNSURE).astype(np.uint8) | _dilate_cells(between, 1)
    reach = (away <= SURE_REACH).astype(np.uint8) | _dilate_cells(doubtful, DOUBT) & (away <= REACH).astype(np.uint8)
    alpha = inside.astype(np.float32)
    # All that follows looks at this part alone, and costs as much as it is large.
    top, bottom, left, right = _bounds(reach, 2 * REACH)
    if top >= bottom:
        return np.full((grid.height, grid.width), 255 if inside[0, 0] else 0, np.uint8)
    view = (slice(top, bottom), slice(left, right))
    line, trust, sure = _fit_line(small[view], alpha[view], unsure[view] == 0, away[view])
    pull = (2 * PULL[sharp] * (1 - sure) * (probability[view] - 0.5)).astype(np.float32)
    trust = np.clip((trust - (TRUST + TRUST_AWAY * away[view])) * np.float32(1 / TRUST_RAMP), 0, 1)
    # Colours lose their say towards the ends of what is looked at: no seam there.
    trust = (trust * np.clip(2 * box(reach[view].astype(np.float32), 2) - 1, 0, 1)).astype(np.float32)
    # Which cells need a look at each pixel: those whose own mean colours, or a neighbour's, do not settle them.
    coarse = _by_color(line, small[view].reshape(-1, 3)).reshape(trust.shape)
    settled = saliency[view] + trust * (np.clip(coarse + pull, 0, 1) - saliency[view])
    low, high = cv2.erode(settled, _square(1)), cv2.dilate(settled, _square(1))
    edge = np.zeros((rows, columns), np.bool_)
    edge[view] = (high > 0.02) & (low < 0.98)
    alpha[view] = settled >= 0.5
    result = _blocks(grid, alpha)
    band = Band(grid, edge)
    if len(band):
        full = np.zeros((rows, columns, 4), np.float32)
        full[view] = line
        about = np.zeros((rows, columns, 4), np.float32)
        about[view] = np.dstack([saliency[view], trust, _steepness(saliency[view]) / np.float32(grid.step), pull])
        guess, certain, steep, toward = band.sample(about).T
        if sharp:
            # Divided by its own slope a ramp of any width becomes one of `EDGE_WIDTH` pixels, in the same place.
            guess = np.clip((guess - 0.5) / np.maximum(steep * np.float32(EDGE_WIDTH), 0.02) + 0.5, 0, 1)
        seen = np.clip(_by_color(band.sample(full), band.take(pixels)) + toward, 0, 1)
        mixed = guess + certain * (seen - guess)
        band.put(result, (mixed * np.float32(255) + np.float32(0.5)).astype(np.uint8))
    return result


def _fit_line(small: Pixels, alpha: Values, known: NDArray[np.bool_], away: Values) -> tuple[Values, Values, Values]:
    """`color_line` on half the grid, where it costs a quarter and is as smooth; results on the grid itself."""
    rows, columns = known.shape
    half = (max(1, columns // 2), max(1, rows // 2))
    guide = cv2.resize(small, half, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    share = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    target = np.asarray(cv2.resize(alpha, half, interpolation=cv2.INTER_AREA), np.float32)
    # A cell that is partly unsure would teach the colours of the edge itself.
    certain = share > 0.99
    line, trust = color_line(guide, target, certain, radius=RADIUS // 2)
    line = box(line, 1)
    far = cv2.resize(away, half, interpolation=cv2.INTER_AREA) > REACH
    line, apart, sure = _without_noise(line, guide, certain & (target > 0.5), far & (target < 0.5))
    trust = trust * apart
    line = np.asarray(cv2.resize(line, (columns, rows)), np.float32)
    about = np.asarray(cv2.resize(np.dstack([trust, sure]), (columns, rows)), np.float32)
    return line, about[..., 0], about[..., 1]


def _without_noise(
    line: Values, guide: Values, inside: NDArray[np.bool_], ground: NDArray[np.bool_]
) -> tuple[Values, Values, Values]:
    """Stretch alpha by colour so that what it says of sure ground comes to 0, and of the sure inside to 1.

    Texture makes it say a little of the object on the ground and the other way round. How much, the cells nearby show
    that are sure: so many times their root mean square is cut off both ends. Where that leaves little between, the
    colours are too much alike. Ground counts from beyond the reach on: nearer, what looks like the object may be it.

    Returns:
        The coefficients, stretched; in [0, 1] how far what is left lets the two be told apart; and in [0, 1] how far
        colours can be taken at their word, against the map.
    """
    value = np.clip(np.einsum("hwc,hwc->hw", line[..., :3], guide) + line[..., 3], 0, 1)
    noise = []
    for side, error, radius in ((ground, value, REACH), (inside, 1 - value, RADIUS // 2)):
        weight = side.astype(np.float32)
        squares = np.maximum(box(weight * np.square(error), radius), 0)
        noise.append(np.sqrt(squares / np.maximum(box(weight, radius), np.float32(1e-3))))
    ends = [np.clip(NOISE * values, CLEAN, 0.6) for values in noise]
    sure = np.clip((CLEAR - (noise[0] + noise[1])) * np.float32(1 / CLEAR_RAMP), 0, 1)
    rest = 1 - ends[0] - ends[1]
    apart = np.clip((rest - np.float32(LEAST_APART)) * np.float32(1 / LEAST_APART), 0, 1)
    scale = (1 / np.maximum(rest, np.float32(0.1)))[..., None]
    stretched = line * scale
    stretched[..., 3] -= ends[0] * scale[..., 0]
    return np.asarray(stretched, np.float32), np.asarray(apart, np.float32), np.asarray(sure, np.float32)


def _by_color(line: Values, colors: NDArray[np.uint8]) -> Values:
    """(…, 4) coefficients and (N, 3) colours → (N,) alpha in [0, 1]."""
    flat = line.reshape(-1, 4)
    scaled = colors.astype(np.float32)
    scaled *= np.float32(1 / 255)
    value = np.einsum("nc,nc->n", flat[:, :3], scaled) + flat[:, 3]
    return np.asarray(np.clip(value, 0, 1), np.float32)


def _steepness(saliency: Values) -> Values:
    """The largest slope of the map nearby, in units a cell."""
    across = cv2.Sobel(saliency, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(saliency, cv2.CV_32F, 0, 1, scale=1 / 8)
    return box(np.asarray(cv2.dilate(cv2.magnitude(across, down), _square(2)), np.float32), 2)


def _from_edge(inside: NDArray[np.uint8]) -> Values:
    """Each cell's distance to the nearest on the other side of the edge; far where there is none."""
    apart = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3) + cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    return np.asarray(apart, np.float32)


def _dilate_cells(part: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(part, _square(cells)), np.uint8)


def _square(cells: int) -> NDArray[np.uint8]:
    return np.ones((2 * cells + 1, 2 * cells + 1), np.uint8)


def _bounds(part: NDArray[np.uint8], margin: int) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of what is not 0, with a margin, within the grid; all 0 where nothing is."""
    left, top, width, height = cv2.boundingRect(part)
    if width == 0:
        return 0, 0, 0, 0
    rows, columns = part.shape
    return (
        max(0, top - margin),
        min(rows, top + height + margin),
        max(0, left - margin),
        min(columns, left + width + margin),
    )


def _blocks(grid: Grid, alpha: Values) -> NDArray[np.uint8]:
    """(h, w) of 0 and 1 → (H, W) of 0 and 255, each cell a block."""
    rows, columns = grid.shape
    levels = (alpha > 0).astype(np.uint8) * np.uint8(255)
    size = (columns * grid.step, rows * grid.step)
    return np.ascontiguousarray(cv2.resize(levels, size, interpolation=cv2.INTER_NEAREST)[: grid.height, : grid.width])
