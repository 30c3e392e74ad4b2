"""Training the superpixel classifier of SCNN's and STAN's temporal prior (SCNN section III-B, Eq. 6)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import DataError
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import DisFlow, FlowEstimator
from vsalient.priors.motion import MotionPrior
from vsalient.priors.superpixels import region_means, region_sizes
from vsalient.training.sources import PairSource, split_stills


@dataclass(frozen=True, slots=True)
class Superpixels:
    """Superpixels of many frames.

    Attributes:
        features: (R, D), see `MotionPrior.superpixels`.
        targets: (R,) share of each that lies on an object.
        weights: (R,) its share of its frame, so that every frame and every segmentation counts alike.
        frames: how many frames they are of.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    frames: int


def collect(
    sources: Sequence[PairSource],
    frames: int,
    *,
    flow: FlowEstimator | None = None,
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> Superpixels:
    """Draw frames of videos, each with its successor for the flow, and segment them.

    Sequences take turns, so that long ones do not count more; frames within are drawn at random.

    Args:
        sources: where videos come from; stills have no motion and are left out.
        frames: how many to draw; fewer where there are no more.
        flow: measures motion; None takes `DisFlow()`.
        seed: of the draw.
        report: is told how many frames are done.

    Raises:
        DataError: no video, or no object in any frame drawn.
    """
    rng = np.random.default_rng(seed)
    videos = [split_stills(source)[1] for source in sources]
    turns = [
        (video, sequence, list(rng.permutation(video.length(sequence) - 1)))
        for video in videos
        for sequence in range(len(video.names))
    ]
    if not turns:
        raise DataError("the data holds stills only: superpixels of optical flow need videos")
    flow, prior = flow or DisFlow(), MotionPrior()
    features, targets, weights, done = [], [], [], 0
    while done < frames and any(left for *_, left in turns):
        for video, sequence, left in turns:
            if not left or done == frames:
                continue
            index = int(left.pop())
            pixels, mask = video.read(sequence, index)
            for labels, described in prior.superpixels(pixels, flow(pixels, video.read(sequence, index + 1)[0])):
                small = cv2.resize(mask, labels.shape[::-1], interpolation=cv2.INTER_AREA)
                features.append(described)
                targets.append(region_means(labels, (small[None] / 255).astype(np.float32))[:, 0])
                weights.append((region_sizes(labels) / labels.size).astype(np.float32))
            done += 1
            report(done)
    found = Superpixels(np.concatenate(features), np.concatenate(targets), np.concatenate(weights), done)
    if not found.targets.any():
        raise DataError(f"none of the {done} frames drawn shows an object: there is nothing to learn from")
    return found


def superpixel_entropy(classifier: SuperpixelClassifier, superpixels: Superpixels) -> float:
    """Mean binary cross-entropy of a classifier, each superpixel by its size."""
    p = np.clip(classifier(superpixels.features).astype(np.float64), 1e-7, 1 - 1e-7)
    losses = -(superpixels.targets * np.log(p) + (1 - superpixels.targets) * np.log(1 - p))
    return float(np.average(losses, weights=superpixels.weights))
