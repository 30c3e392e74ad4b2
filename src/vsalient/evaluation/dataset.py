"""`evaluate`: from folders to results, in one call."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from vsalient.datasets.layout import Folder, find_frames, find_tree
from vsalient.datasets.masks import PixelValues, read_points
from vsalient.datasets.presets import CountedFrames, preset_of
from vsalient.errors import DataError, OptionError
from vsalient.evaluation.plan import Extra, GroundTruth, Missing, SequencePlan, plan_prediction, plan_truth
from vsalient.evaluation.run import Options, Scored, SizeMismatch, count_fixations, score_sequences
from vsalient.metrics import DatasetScores, SequenceScores, combine, select_metrics

_LABELS_UP_TO = 20
"""A whole data set of gray maps that never exceeds this most likely holds labels, not saliency."""


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """The scores of one set of predictions.

    Attributes:
        name: of the predictions, the folder's.
        path: where they are.
        dataset: the data set's numbers.
        sequences: each sequence's.
        absent: frames without a prediction, counted as empty maps or left out.
        resized: predictions resized to the ground truth.
        extra: predicted frames without ground truth, passed over.
        extra_sequences: predicted sequences without ground truth, passed over.
        plans: which file was compared with which.
    """

    name: str
    path: Path
    dataset: DatasetScores
    sequences: tuple[SequenceScores, ...]
    absent: int
    resized: int
    extra: int
    extra_sequences: int
    plans: tuple[SequencePlan, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything an evaluation has to tell.

    Attributes:
        truth: the ground truth, its preset and protocol.
        options: how frames were read and scored.
        predictions: one result for each set of predictions.
    """

    truth: GroundTruth
    options: Options
    predictions: tuple[PredictionResult, ...]


class Rules(TypedDict, total=False):
    """How `evaluate` deals with what does not fit, and what values mean; each may be left out.

    Attributes:
        missing: frames without a prediction are an error (the default), count as empty maps, or are left out (and
            counted).
        extra: predictions without ground truth are an error or passed over; None passes them over where the data set
            has ground truth for some frames only.
        size_mismatch: predictions of another size are an error (the default) or resized.
        values: "gray", "labels", or "auto", see docs/evaluate.md.
        void_value: ground-truth value that marks pixels to leave out.
        block: frames of a voxel of Fadp_voxel, 4.
        objects: score every object by itself, paired as in DAVIS 2017's unsupervised track; J and F only.
        maps: those of the predictions that are known to be saliency maps, however dim (a network's own).
    """

    missing: Missing
    extra: Extra | None
    size_mismatch: SizeMismatch
    values: PixelValues
    void_value: int | None
    block: int
    objects: bool
    maps: Iterable[str | Path]


def evaluate(
    predictions: Sequence[str | Path],
    ground_truth: str | Path,
    *,
    dataset: str = "custom",
    protocol: CountedFrames | None = None,
    split: str | None = None,
    metrics: Iterable[str] = ("default",),
    frames: str | Path | None = None,
    fixations: str | Path | None = None,
    jobs: int | None = 1,
    progress: Callable[[str, int, int], None] | None = None,
    **rules: Unpack[Rules],
) -> Evaluation:
    """Score one or more sets of predictions against the ground truth of a data set.

    Args:
        predictions: folder trees, flat folders, folders of gray videos, or single gray videos.
        ground_truth: the same, or a data set's own root folder.
        dataset: a preset, see `vsalient.datasets.presets.PRESETS`.
        protocol: which frames count; None takes the preset's.
        split: a split's name, a file, or names joined by commas; None takes the preset's.
        metrics: names of `vsalient.metrics.CATALOGUE`, groups, "default" or "all".
        frames: the video frames, for predicted videos against sparse ground truth.
        fixations: fixation points; the ground truth then holds fixation density maps.
        jobs: processes, None for as many as the machine and the work allow. More than 1 needs the caller's script to
            guard its main code by `__name__`.
        progress: called with a sequence's name, how many are done, and of how many.
        rules: see `Rules`.

    Raises:
        VsalientError: children of it, one line each, for everything that does not fit.
    """
    missing, objects = rules.get("missing", "error"), rules.get("objects", False)
    if not predictions:
        raise OptionError("no predictions given; name one or more folders or videos before the ground truth")
    truth = plan_truth(Path(ground_truth), preset_of(dataset), split, protocol)
    names = tuple(metrics)
    chosen = select_metrics(("J", "F") if objects and names == ("default",) else names, fixation=fixations is not None)
    if objects and not set(chosen) <= {"J", "F"}:
        raise OptionError("objects are scored by J and F only; leave the other metrics out")
    options = Options(
        chosen,
        missing,
        rules.get("size_mismatch", "error"),
        rules.get("values", "auto"),
        rules.get("void_value"),
        block=rules.get("block", 4),
    )
    known = {Path(path) for path in rules.get("maps", ())}
    frame_tree = None if frames is None else find_frames(Path(frames))
    points = None if fixations is None else find_tree(Path(fixations), "fixation points")
    if points is not None and not all(isinstance(stored, Folder) for stored in truth.tree.values()):
        raise DataError(f"ground truth {truth.root} is a video; fixation maps must be pictures")
    paths = [Path(path) for path in predictions]
    # Every path is looked through before the first frame is scored.
    planned = [
        plan_prediction(path, truth, missing=missing, extra=rules.get("extra"), frames=frame_tree, points=points)
        for path in paths
    ]
    results = []
    with tempfile.TemporaryDirectory(prefix="vsalient-") as folder:
        for path, name, (plans, strange) in zip(paths, _names(paths), planned, strict=True):
            how = replace(options, negatives=_shuffle(plans, options, Path(folder)))
            if objects:
                outcomes = _score_objects(plans, how, progress)
            else:
                outcomes = score_sequences(plans, how, jobs=jobs or _jobs_for(plans), progress=progress)
            if options.values == "auto" and path not in known:
                _refuse_labels(path, outcomes)
            results.append(_summarise(path, name, plans, strange, outcomes))
    return Evaluation(truth, options, tuple(results))


def _score_objects(
    plans: Sequence[SequencePlan], options: Options, progress: Callable[[str, int, int], None] | None
) -> list[Scored]:
    from vsalient.evaluation.objects import score_objects

    outcomes: list[Scored] = []
    for done, plan in enumerate(plans, 1):
        outcomes += score_objects(plan, options)
        if progress is not None:
            progress(plan.name, done, len(plans))
    return outcomes


def _jobs_for(plans: Sequence[SequencePlan]) -> int:
    """Return a sensible number of processes: all cores, unless the work is too little to start any."""
    frames = sum(len(plan.items) for plan in plans)
    return max(1, min(os.cpu_count() or 1, len(plans), frames // 200))


def _shuffle(plans: Sequence[SequencePlan], options: Options, folder: Path) -> Path | None:
    """Count all sequences' fixations at the first one's size; each worker takes its own sequence's out again."""
    if "sAUC" not in options.metrics:
        return None
    if len(plans) < 2:
        raise DataError("sAUC takes its negatives from other sequences, and there is only one; leave it out")
    height, width = read_points(plans[0].items[0].points[0]).shape
    first = (height, width)
    path = folder / "fixations.npy"
    if not path.exists():
        np.save(path, sum(count_fixations(plan, first) for plan in plans))
    return path


def _summarise(
    path: Path,
    name: str,
    plans: tuple[SequencePlan, ...],
    strange: int,
    outcomes: Sequence[Scored],
) -> PredictionResult:
    kept = [outcome.scores for outcome in outcomes if outcome.scores.frames]
    if not kept:
        raise DataError(f"predictions {path} have no frame left to score; every one was missing and skipped")
    return PredictionResult(
        name=name,
        path=path,
        dataset=combine(kept),
        sequences=tuple(kept),
        absent=sum(outcome.absent for outcome in outcomes),
        resized=sum(outcome.resized for outcome in outcomes),
        extra=sum(outcome.extra for outcome in outcomes),
        extra_sequences=strange,
        plans=plans,
    )


def _refuse_labels(path: Path, outcomes: Sequence[Scored]) -> None:
    highest = max(outcome.highest for outcome in outcomes)
    if 0 < highest <= _LABELS_UP_TO:
        raise DataError(
            f"predictions {path} never exceed {highest} of 255 and look like labels in gray pictures; say what they "
            "are with --values labels or --values gray"
        )


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each set of predictions, with as many parent folders as make them differ."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(len(part) for part in parts) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(paths, 1)]
