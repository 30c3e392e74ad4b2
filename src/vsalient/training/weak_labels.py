"""Weak labels: saliency maps of several sources fused into masks to train on (SCNN, section III-C, Algorithm 1).

Eq. 7 adds the maps up with one weight a source; Eq. 8 learns the weights on frames that have ground truth; Otsu's
threshold makes masks of the sum. Where the paper leaves a choice:

- Eq. 8 has no constraints, yet is called a quadratic programme: weights are not negative and sum to one here, so that
  the fused map stays a probability. Its norm is the Euclidean one.
- Every labelled frame counts alike, whatever its size: the norm is taken of each frame's mean squared error.
- The initial weights w0 are not given: they are equal where there is no ground truth to learn from.
- Maps are taken as they are, without stretching each to its own minimum and maximum.
- Where a frame has ground truth, that is its label.
- Algorithm 1 adds the network's own map in every round: the new network's takes the place of the last round's.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import DataError, OptionError, OutputError
from vsalient.segment.thresholds import OtsuThreshold
from vsalient.training.erasing import EraseList
from vsalient.training.simplex import solve_simplex
from vsalient.types import MaskArray, SaliencyArray


@dataclass(frozen=True)
class MapSource:
    """Saliency maps, or ground truth, by sequence and frame.

    Attributes:
        name: for messages and tables.
        frames: sequence -> its frames' names, in order.
        read: (sequence, frame) -> (H, W) float32 in [0, 1].
    """

    name: str
    frames: Mapping[str, Sequence[str]]
    read: Callable[[str, str], SaliencyArray]


@dataclass(frozen=True)
class Fusion:
    """How sources are added up, and how well that fits.

    Attributes:
        sources: names, in order.
        weights: one a source, not negative, summing to one (w of Eq. 7).
        frames: labelled frames the weights were learnt on; 0 where they were given.
        alone: mean squared error of each source's map against the ground truth; empty where weights were given.
        fused: that of the fused map, None where weights were given.
    """

    sources: tuple[str, ...]
    weights: tuple[float, ...]
    frames: int = 0
    alone: tuple[float, ...] = ()
    fused: float | None = None


@dataclass(frozen=True)
class Written:
    """What became of the frames.

    Attributes:
        weak: masks made of fused maps.
        manual: masks taken from the ground truth.
        erased: frames left out because the erase list says so.
        empty: weak masks without any object, left out too.
    """

    weak: int
    manual: int
    erased: int
    empty: int


def learn_weights(sources: Sequence[MapSource], truth: MapSource) -> Fusion:
    """Solve Eq. 8 on the frames that have ground truth and a map of every source.

    Raises:
        DataError: no such frame.
        OptionError: too many sources.
    """
    count = len(sources)
    gram, target, power, frames = np.zeros((count, count)), np.zeros(count), 0.0, 0
    for sequence, frame in _labelled(sources, truth):
        labels = truth.read(sequence, frame)
        maps = _stack(sources, sequence, frame, labels.shape).reshape(count, -1).astype(np.float64)
        flat = labels.astype(np.float64).ravel()
        gram += maps @ maps.T / flat.size
        target += maps @ flat / flat.size
        power += float(flat @ flat) / flat.size
        frames += 1
    if not frames:
        raise DataError(
            f"no frame of {truth.name} has a map in {', '.join(s.name for s in sources)}; "
            "give maps of the labelled frames too, or weights with --weights"
        )
    gram, target, power = gram / frames, target / frames, power / frames
    weights = solve_simplex(gram, target)
    alone = np.diag(gram) - 2 * target + power
    fused = float(weights @ gram @ weights - 2 * target @ weights) + power
    return Fusion(
        tuple(s.name for s in sources),
        tuple(map(float, weights)),
        frames,
        tuple(float(max(0.0, x)) for x in alone),
        max(0.0, fused),
    )


def given_weights(sources: Sequence[MapSource], weights: Sequence[float] | None = None) -> Fusion:
    """Weights that need no ground truth: those given, scaled to sum to one, or equal ones.

    Raises:
        OptionError: another number of weights than of sources, negative ones, or none above 0.
    """
    values = [1.0] * len(sources) if weights is None else list(weights)
    if len(values) != len(sources):
        raise OptionError(f"{len(values)} weights for {len(sources)} sources; give one a source, in their order")
    if any(not np.isfinite(w) or w < 0 for w in values) or sum(values) <= 0:
        raise OptionError(
            f"weights {', '.join(f'{w:g}' for w in values)}: none may be negative and one must be above 0"
        )
    return Fusion(tuple(s.name for s in sources), tuple(w / sum(values) for w in values))


def fuse_maps(maps: Sequence[SaliencyArray], weights: Sequence[float]) -> SaliencyArray:
    """Eq. 7: the weighted sum of (H, W) maps in [0, 1]; all are brought to the first one's size, bilinearly."""
    total = np.zeros(maps[0].shape, np.float32)
    for weight, saliency in zip(weights, maps, strict=True):
        total += np.float32(weight) * _resized(saliency, total.shape)
    return np.clip(total, 0, 1)


def weak_label(fused: SaliencyArray) -> MaskArray:
    """The weak label of one fused (H, W) map: its pixels above Otsu's threshold."""
    return OtsuThreshold().binarise(fused)


def write_labels(
    sources: Sequence[MapSource],
    fusion: Fusion,
    folder: Path,
    *,
    truth: MapSource | None = None,
    erase: EraseList | None = None,
    report: Callable[[str, str], None] | None = None,
) -> Written:
    """Write `folder/SEQUENCE/FRAME.png` (0 and 255) for every frame of the first source.

    Args:
        sources: all must have every frame of the first one.
        fusion: their weights.
        folder: made if it is not there.
        truth: manual labels, written in place of weak ones where there are any.
        erase: what to leave out.
        report: told of every frame that is done.

    Raises:
        DataError: a source lacks a frame, or a line of the erase list fits none.
        OutputError: the folder cannot be written.
    """
    erase = erase or EraseList()
    _require_frames(sources)
    manual = {(sequence, frame) for sequence, frames in truth.frames.items() for frame in frames} if truth else set()
    counts = {"weak": 0, "manual": 0, "erased": 0, "empty": 0}
    for sequence, frames in sources[0].frames.items():
        for frame in frames:
            if erase.leaves_out(sequence, frame):
                counts["erased"] += 1
                continue
            kind = "weak"
            if truth is not None and (sequence, frame) in manual:
                kind, mask = "manual", truth.read(sequence, frame) >= 0.5
            else:
                mask = weak_label(fuse_maps([s.read(sequence, frame) for s in sources], fusion.weights))
                mask = erase.clean(sequence, frame, mask)
                if not mask.any():
                    counts["empty"] += 1
                    continue
            _write_mask(mask, folder / sequence / f"{frame}.png")
            counts[kind] += 1
            if report is not None:
                report(sequence, frame)
    erase.require_used()
    return Written(**counts)


def write_fusion(fusion: Fusion, path: Path) -> None:
    """Keep the weights as JSON, for the record and for `--weights FILE` of another run."""
    table = {
        "sources": list(fusion.sources),
        "weights": list(fusion.weights),
        "labelled_frames": fusion.frames,
        "squared_error_alone": list(fusion.alone),
        "squared_error_fused": fusion.fused,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; give another --out") from error


def _labelled(sources: Sequence[MapSource], truth: MapSource) -> Iterator[tuple[str, str]]:
    for sequence, frames in truth.frames.items():
        known = [set(source.frames.get(sequence, ())) for source in sources]
        for frame in frames:
            if all(frame in names for names in known):
                yield sequence, frame


def _require_frames(sources: Sequence[MapSource]) -> None:
    first = sources[0]
    for source in sources[1:]:
        for sequence, frames in first.frames.items():
            there = set(source.frames.get(sequence, ()))
            missing = [frame for frame in frames if frame not in there]
            if missing:
                where = f"sequence {sequence}" if sequence else "the folder"
                raise DataError(
                    f"{source.name} lacks {len(missing)} of the {len(frames)} frames that {first.name} has in {where} "
                    f"({', '.join(missing[:3])}); write maps of the same frames from every source"
                )


def _stack(sources: Sequence[MapSource], sequence: str, frame: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.stack([_resized(source.read(sequence, frame), shape) for source in sources])


def _resized(saliency: SaliencyArray, shape: tuple[int, ...]) -> SaliencyArray:
    if saliency.shape == shape:
        return saliency
    return np.asarray(cv2.resize(saliency, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _write_mask(mask: MaskArray, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * np.uint8(255))[1].tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; give another --out") from error
