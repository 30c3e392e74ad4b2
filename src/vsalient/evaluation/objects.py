"""Several objects a sequence, each scored by itself: DAVIS 2017's unsupervised track.

Nobody tells a network which object is which, so every predicted object is compared with every one of the ground truth
over all frames, and the pairing with the largest sum of mean J and F counts (Caelles et al.: The 2019 DAVIS Challenge
on VOS, section 3, and its evaluation code). At most 20 objects may be predicted; one of the ground truth that gets no
partner scores against an empty mask. The numbers are means over all objects of all sequences.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.masks import VOID_LABEL
from vsalient.datasets.pictures import decode_picture, read_file
from vsalient.errors import DataError
from vsalient.evaluation.assignment import best_pairs
from vsalient.evaluation.plan import SequencePlan
from vsalient.evaluation.run import Options, Scored
from vsalient.metrics import FrameScores, boundary_f, jaccard
from vsalient.metrics.scores import SequenceAccumulator

MOST_PROPOSALS = 20


def score_objects(plan: SequencePlan, options: Options) -> list[Scored]:
    """Score a sequence's objects: one outcome for each object of the ground truth, named `SEQUENCE/LABEL`.

    Ground truth and predictions are label maps (palette, or gray with few values); the objects are 1 to the largest
    label of the first frame. In the ground truth 255 is void.

    Raises:
        InputError, DataError: files that cannot be read or are no label maps, other sizes, more than 20 objects.
    """
    truths, predictions, names = [], [], []
    absent = 0
    for item in plan.items:
        if isinstance(item.truth, int) or isinstance(item.prediction, int):
            raise DataError(f"sequence {plan.name} is a video; objects are scored from pictures with labels")
        if item.prediction is None:
            absent += 1
            if options.missing == "skip":
                continue
        truth = _labels(item.truth[0])
        predicted = np.zeros_like(truth) if item.prediction is None else _labels(item.prediction)
        if predicted.shape != truth.shape:
            raise DataError(f"{item.prediction} and {item.truth[0]} differ in size; write masks of the frame's size")
        truths.append(truth)
        predictions.append(predicted)
        names.append(item.frame)
    if not truths:
        return []
    voids = [truth == VOID_LABEL for truth in truths]
    first = np.where(voids[0], 0, truths[0])
    wanted = range(1, int(first.max()) + 1)
    given = range(1, max(int(labels.max()) for labels in predictions) + 1)
    if len(given) > MOST_PROPOSALS:
        raise DataError(f"sequence {plan.name} has {len(given)} predicted objects; DAVIS 2017 takes {MOST_PROPOSALS}")
    # (predicted, wanted, frames); an empty mask stands at the end for those without a partner.
    scores = np.zeros((2, len(given) + len(wanted), len(wanted), len(truths)))
    for frame, (truth, labels, void) in enumerate(zip(truths, predictions, voids, strict=True)):
        masks = [labels == label for label in given] + [np.zeros(labels.shape, np.bool_)]
        for column, label in enumerate(wanted):
            mask = (truth == label) & ~void
            pairs = [(jaccard(m, mask, void), boundary_f(m, mask, void)) for m in masks]
            for row in range(scores.shape[1]):
                scores[:, row, column, frame] = pairs[min(row, len(given))]
    chosen = best_pairs(scores.mean(axis=(0, 3)))
    outcomes = []
    for column, label in enumerate(wanted):
        accumulator = SequenceAccumulator(f"{plan.name}/{label}" if plan.name else str(label), options.metrics)
        for frame, name in enumerate(names):
            j, f = scores[:, chosen[column], column, frame]
            accumulator.add(name, FrameScores(values={"J": float(j), "F": float(f)}))
        # What happened to frames is told once a sequence, not once an object.
        told = (absent, plan.extra) if column == 0 else (0, 0)
        outcomes.append(Scored(accumulator.finish(), told[0], 0, told[1], highest=255))
    return outcomes


def _labels(path: Path) -> NDArray[np.uint8]:
    picture = decode_picture(read_file(path), path)
    if picture.colour or picture.lossy or picture.pixels.dtype != np.uint8:
        raise DataError(f"{path} is no label map; write objects as palette or gray labels (1, 2, ...) without loss")
    return np.asarray(picture.pixels, np.uint8)
