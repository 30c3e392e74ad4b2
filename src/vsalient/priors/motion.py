"""The temporal prior Pt of SCNN (section III-B, Eq. 6) and STAN: which superpixels of the flow field are salient.

No weights of the paper's superpixel classifier were published. With a trained `SuperpixelClassifier` the prior is the
paper's; without one it is our own, untrained measure: how far a superpixel moves against the camera's motion, less the
more of the frame's outline it holds. Both are averaged over three segmentations (Eq. 6).
"""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.priors.camera import camera_flow
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import Flow, resize_flow
from vsalient.priors.superpixels import (
    LEVELS,
    Superpixeled,
    border_shares,
    describe_superpixels,
    flow_superpixels,
    region_means,
)
from vsalient.types import Pixels, SaliencyArray

SUPERPIXEL_SIDE = 214
"""Longest side of the grid on which superpixels are computed: a quarter of 854 pixels."""


class DeepFeatures(Protocol):
    """Deep features of a frame, for the classifier; `vsalient.models.scnn.FrameFeatures` gives a VGG's."""

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB → (C, h, w) float32, any C, h and w."""
        ...


class MotionPrior:
    """Turns a frame and its flow into the temporal prior.

    Args:
        classifier: trained superpixel classifier; None takes the untrained measure.
        features: the deep features that the classifier was trained on; None leaves it colour, place and motion.
        longest: longest side of the grid that superpixels live on.
        levels: segmentations to take, numbers of `superpixels.LEVELS` from fine to coarse; all when empty.
    """

    def __init__(
        self,
        *,
        classifier: SuperpixelClassifier | None = None,
        features: DeepFeatures | None = None,
        longest: int = SUPERPIXEL_SIDE,
        levels: Sequence[int] = (),
    ) -> None:
        self.classifier = classifier
        self.features = features
        self.longest = longest
        self.levels = tuple(LEVELS[i] for i in levels) or LEVELS

    def __call__(self, pixels: Pixels, flow: Flow) -> SaliencyArray:
        """A frame (H, W, 3) uint8 and its flow (H, W, 2) → the prior (H, W) float32 in [0, 1].

        Raises:
            MissingDependencyError: scikit-image is not installed.
        """
        height, width = flow.shape[:2]
        small, own, unit = self._reduce(flow)
        prior = np.zeros(small.shape[:2], np.float32)
        segmentations = flow_superpixels(small, levels=self.levels, unit=unit)
        maps = self._maps(pixels, small, own, unit) if self.classifier is not None else None
        for labels in segmentations:
            if self.classifier is not None and maps is not None:
                values = self.classifier(describe_superpixels(labels, maps))
            else:
                values = own_motion(labels, own, unit)
            # Coarse segmentations see whole objects, fine ones their outline: the mean has both.
            prior += values[labels] / len(segmentations)
        return np.clip(cv2.resize(prior, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)

    def superpixels(self, pixels: Pixels, flow: Flow) -> list[tuple[Superpixeled, NDArray[np.float32]]]:
        """What the classifier is trained on: each segmentation's labels (h, w) and features (R, D)."""
        small, own, unit = self._reduce(flow)
        maps = self._maps(pixels, small, own, unit)
        return [
            (labels, describe_superpixels(labels, maps))
            for labels in flow_superpixels(small, levels=self.levels, unit=unit)
        ]

    def _reduce(self, flow: Flow) -> tuple[Flow, Flow, float]:
        """Flow on the small grid, the part of it that is not the camera's, and half a 480p pixel on that grid."""
        height, width = flow.shape[:2]
        scale = min(1.0, self.longest / max(height, width))
        small = resize_flow(flow, (max(8, round(height * scale)), max(8, round(width * scale))))
        # 1700 is twice the longer side at 480p: thresholds mean the same whatever the video's own size.
        return small, small - camera_flow(small), max(small.shape[:2]) / 1700

    def _maps(self, pixels: Pixels, small: Flow, own: Flow, unit: float) -> NDArray[np.float32]:
        """Colour, edges, place and motion of the small grid's pixels, and deep features where given: (C, h, w)."""
        height, width = small.shape[:2]
        reduced = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(reduced, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        across, down = columns / width - 0.5, rows / height - 0.5
        speed, total = np.hypot(own[..., 0], own[..., 1]), np.hypot(small[..., 0], small[..., 1])
        # Speeds have no largest value: these bring them into [0, 1), half at a few units.
        shift = own / (8 * unit + speed[..., None])
        maps = [
            *lab.transpose(2, 0, 1),
            across,
            down,
            np.abs(across),
            np.abs(down),
            *shift.transpose(2, 0, 1),
            speed / (speed + 4 * unit),
            total / (total + 4 * unit),
            np.log1p(speed / unit),
            np.abs(cv2.Laplacian(lab[..., 0], cv2.CV_32F)),
        ]
        stacked = np.stack(maps).astype(np.float32)
        if self.features is None:
            return stacked
        deep = [cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in self.features(pixels)]
        return np.concatenate([stacked, np.stack(deep)])


def own_motion(labels: Superpixeled, own: Flow, unit: float) -> NDArray[np.float32]:
    """The untrained measure: a superpixel's motion against the camera, in [0, 1].

    m⁴ / (m⁴ + τ⁴) for a mean residual speed m, where τ is 0.7 times the speed that 3 % of the frame exceed, and
    at least two units. What the camera's model misses is in most videos slower than the object, but not slow, so
    that the fastest part must set the scale. A superpixel that holds much of the frame's outline is background,
    and is lowered.

    Args:
        labels: (h, w).
        own: (h, w, 2), flow less the camera's.
        unit: half a 480p pixel on this grid.

    Returns:
        (R,) float32.
    """
    speed = np.hypot(own[..., 0], own[..., 1])
    fast = max(2 * unit, 0.7 * float(np.percentile(speed, 97)))
    means = region_means(labels, speed[None])[:, 0]
    contrast = means**4 / (means**4 + fast**4)
    return np.asarray(contrast * np.exp(-4 * border_shares(labels)), np.float32)


def flow_strength(flow: Flow) -> SaliencyArray:
    """Grey flow (ablation FG of SCNN's section IV-D): speed v as v / (v + 1 % of the longer side), (H, W) in [0, 1)."""
    speed = np.hypot(flow[..., 0], flow[..., 1])
    return np.asarray(speed / (speed + 0.01 * max(flow.shape[:2])), np.float32)
