"""Graph-based superpixels of a flow field at several scales, and what can be said of a superpixel.

Superpixels are Felzenszwalb and Huttenlocher's (IJCV 2004; SCNN's [47], STAN's [10]), from scikit-image.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import MissingDependencyError
from vsalient.priors.flow import Flow

Superpixeled = NDArray[np.int64]
"""(H, W) superpixel numbers 0 … R − 1."""

LEVELS: tuple[tuple[float, int], ...] = ((40.0, 24), (100.0, 48), (250.0, 96))
"""(scale, smallest size in pixels) of each segmentation, fine to coarse; M = 3 of them (SCNN section III-B)."""


def flow_superpixels(
    flow: Flow, *, levels: Sequence[tuple[float, int]] = LEVELS, unit: float = 1.0
) -> list[Superpixeled]:
    """Segment a flow field once a level: neighbouring pixels that move alike belong together.

    Args:
        flow: (H, W, 2).
        levels: (scale, smallest size) each; a larger scale prefers larger superpixels.
        unit: the motion, in pixels, below which differences are taken for noise.

    Returns:
        One label map a level.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import felzenszwalb  # a third of a second that other priors need not wait for
    except ImportError:
        raise MissingDependencyError(
            "superpixels need scikit-image, which is missing from this installation: pip install scikit-image"
        ) from None
    # Felzenszwalb's scale is meant for values in [0, 1]; a still scene must not be blown up to that range.
    reach = max(float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 98)), 4 * unit)
    image = np.clip(flow / reach, -2, 2).astype(np.float64)
    return [
        np.asarray(felzenszwalb(image, scale=scale, sigma=0.8, min_size=smallest, channel_axis=-1), np.int64)
        for scale, smallest in levels
    ]


def region_means(labels: Superpixeled, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of maps (C, H, W) over each superpixel: (R, C)."""
    flat = labels.ravel()
    sizes = np.maximum(np.bincount(flat), 1)
    sums = [np.bincount(flat, weights=channel.ravel(), minlength=len(sizes)) for channel in maps]
    return np.asarray(np.stack(sums, axis=1) / sizes[:, None], np.float32)


def region_sizes(labels: Superpixeled) -> NDArray[np.int64]:
    """Pixels of each superpixel: (R,)."""
    return np.bincount(labels.ravel())


def border_shares(labels: Superpixeled) -> NDArray[np.float32]:
    """Share of the frame's outline that each superpixel holds: (R,), summing to 1."""
    outline = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    counts = np.bincount(outline, minlength=int(labels.max()) + 1)
    return np.asarray(counts / counts.sum(), np.float32)


def contacts(labels: Superpixeled) -> NDArray[np.float32]:
    """Length of the common boundary of each two superpixels: (R, R), symmetric, zero on the diagonal."""
    count = int(labels.max()) + 1
    pairs = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    codes = np.concatenate([(a[a != b] * count + b[a != b]) for a, b in pairs])
    matrix = np.bincount(codes, minlength=count * count).reshape(count, count)
    return np.asarray(matrix + matrix.T, np.float32)


def describe_superpixels(labels: Superpixeled, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of each superpixel in three nested contexts: itself, its neighbours, the whole frame.

    The three contexts are those of the multi-scale deep features [32] that SCNN takes; maps may be deep features of
    the frame, or anything else on its grid.

    Args:
        labels: (H, W).
        maps: (C, H, W).

    Returns:
        (R, 3·C).
    """
    own = region_means(labels, maps)
    touching = contacts(labels)
    length = touching.sum(axis=1, keepdims=True)
    around = np.where(length > 0, touching @ own / np.maximum(length, 1), own)
    whole = np.broadcast_to(maps.reshape(len(maps), -1).mean(axis=1), own.shape)
    return np.asarray(np.concatenate([own, around, whole], axis=1), np.float32)
