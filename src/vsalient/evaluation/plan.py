"""Decide, before anything is decoded, which frames are compared with which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vsalient.datasets.layout import Folder, Stored, Tree, Video, find_partner, find_tree, select_sequences
from vsalient.datasets.names import few, frame_numbers, match_frames, natural
from vsalient.datasets.presets import CountedFrames, Preset, split_names
from vsalient.errors import DataError, InputError
from vsalient.evaluation.pictures import count_frames

Missing = Literal["error", "zero", "skip"]
Extra = Literal["error", "ignore"]


@dataclass(frozen=True, slots=True)
class Item:
    """One frame to compare.

    Attributes:
        frame: its name in the ground truth.
        truth: files of the ground truth, or its position in a video.
        prediction: file, position in a video, or None where there is none.
        points: files of the fixation points, in fixation mode.
    """

    frame: str
    truth: tuple[Path, ...] | int
    prediction: Path | int | None
    points: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """The frames of one sequence.

    Attributes:
        name: of the sequence.
        truth, prediction: where they are stored; None for a prediction that is not there at all.
        items: the frames that count, in order.
        missing: how many of them have no prediction.
        extra: predicted frames without ground truth.
        whole: every frame of a predicted video should have ground truth.
        after: frames of the ground truth behind the last that counts, which a predicted video may have too.
        dropped: frames of the ground truth that do not count.
    """

    name: str
    truth: Stored
    prediction: Stored | None
    items: tuple[Item, ...]
    missing: int = 0
    extra: int = 0
    whole: bool = False
    after: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The sequences of a data set to be evaluated on.

    Attributes:
        root: the path given.
        preset: of the data set.
        tree: its sequences, after the split.
        restricted: a split chose the sequences, so others among the predictions are no mistake.
        frames: sequence -> frame names, after the protocol.
        protocol: which frames count.
        videos: sequence -> number of frames, for ground truth stored as videos.
    """

    root: Path
    preset: Preset
    tree: Tree
    restricted: bool
    frames: dict[str, tuple[str, ...]]
    protocol: CountedFrames
    videos: dict[str, int]


def plan_truth(root: Path, preset: Preset, split: str | None, protocol: CountedFrames | None) -> GroundTruth:
    """Find the ground truth and apply split and protocol.

    Raises:
        InputError, DataError: nothing there, a sequence of the split is missing, or the protocol leaves no frame.
    """
    found = find_tree(root, "ground truth", preset, split)
    names = split_names(preset, split)
    tree = select_sequences(found, names, root)
    chosen = protocol or preset.protocol
    videos = {name: count_frames(stored.path) for name, stored in tree.items() if isinstance(stored, Video)}
    frames: dict[str, tuple[str, ...]] = {}
    for name, stored in tree.items():
        every = tuple(stored.frames) if isinstance(stored, Folder) else tuple(str(n) for n in range(videos[name]))
        frames[name] = every[1:-1] if chosen == "davis16" else every
        if not frames[name]:
            raise DataError(
                f"sequence {name or root} has {len(every)} frames, and protocol {chosen} drops the first and the "
                "last; use --count all-frames"
            )
    return GroundTruth(root, preset, tree, names is not None, frames, chosen, videos)


def plan_prediction(
    root: Path,
    truth: GroundTruth,
    *,
    missing: Missing,
    extra: Extra | None = None,
    frames: Tree | None = None,
    points: Tree | None = None,
) -> tuple[tuple[SequencePlan, ...], int]:
    """Pair a set of predictions with the ground truth.

    Args:
        root: the predictions' folder or video.
        truth: from `plan_truth`.
        missing: what to do about frames without a prediction.
        extra: what to do about predictions without ground truth; None ignores them where the data set is sparse.
        frames: the pictures that predicted videos were made from, to know which position is which frame.
        points: fixation points in the ground truth's layout, in fixation mode.

    Returns:
        A plan for each sequence of the ground truth, and how many predicted sequences have none.

    Raises:
        InputError, DataError: nothing in common, or missing or extra frames that are not allowed.
    """
    predictions = find_tree(root, "predictions")
    allowed: Extra = extra or ("ignore" if truth.preset.sparse else "error")
    plans = [
        _plan_sequence(name, truth, find_partner(name, truth.tree, predictions), allowed, frames, points)
        for name in truth.tree
    ]
    if not any(plan.missing < len(plan.items) for plan in plans):
        raise DataError(
            f"predictions {root} and ground truth {truth.root} have no frame in common (predicted: "
            f"{_sequences(predictions)}; ground truth: {_sequences(truth.tree)}); give matching folders"
        )
    if missing == "error":
        _refuse_missing(root, plans)
    if allowed == "error":
        _refuse_extra(root, plans, predictions, truth)
    return tuple(plans), len(_extra_sequences(plans, predictions, truth))


def _plan_sequence(
    name: str,
    truth: GroundTruth,
    prediction: Stored | None,
    extra: Extra,
    frames: Tree | None,
    points: Tree | None,
) -> SequencePlan:
    stored = truth.tree[name]
    counted = truth.frames[name]
    # Names of the whole ground truth decide the pairing, so that dropping frames cannot change it.
    every = tuple(stored.frames) if isinstance(stored, Folder) else tuple(str(n) for n in range(truth.videos[name]))
    whole = extra == "error"
    partners: dict[str, Path | int] = {}
    unused = 0
    if isinstance(prediction, Folder):
        names = _pair_names(stored, every, tuple(prediction.frames))
        partners = {frame: prediction.frames[other][0] for frame, other in names.items()}
        unused = len(prediction.frames) - len(names)
    elif isinstance(prediction, Video):
        positions = _positions(name, stored, every, frames, truth, prediction)
        partners = dict(positions)
        whole = whole and list(positions.values()) == list(range(len(every)))
    where = _points_of(name, truth, points)
    items = tuple(
        Item(
            frame,
            stored.frames[frame] if isinstance(stored, Folder) else int(frame),
            partners.get(frame),
            where.get(frame, ()),
        )
        for frame in counted
    )
    gaps = sum(item.prediction is None for item in items)
    after = len(every) - 1 - every.index(counted[-1])
    return SequencePlan(name, stored, prediction, items, gaps, unused, whole, after, len(every) - len(counted))


def _pair_names(stored: Stored, every: tuple[str, ...], predicted: tuple[str, ...]) -> dict[str, str]:
    if isinstance(stored, Video):
        # A video has no names: its frames are the pictures in order.
        return dict(zip(every, sorted(predicted, key=natural), strict=False))
    return match_frames(every, predicted)


def _positions(
    name: str, stored: Stored, every: tuple[str, ...], frames: Tree | None, truth: GroundTruth, video: Video
) -> dict[str, int]:
    """Return which frame of a predicted video belongs to which frame of the ground truth."""
    if isinstance(stored, Video):
        return {frame: int(frame) for frame in every}
    pictures = find_partner(name, truth.tree, frames) if frames is not None else None
    if isinstance(pictures, Folder):
        order = {frame: position for position, frame in enumerate(pictures.frames)}
        return {frame: order[other] for frame, other in match_frames(every, tuple(order)).items()}
    numbers = frame_numbers(every)
    if numbers is None:
        raise DataError(
            f"the ground truth's names in {stored.path} do not tell which frames of {video.path} they are; "
            "give the frames' folder with --frames, or predictions as pictures"
        )
    return dict(zip(every, numbers, strict=True))


def _points_of(name: str, truth: GroundTruth, points: Tree | None) -> dict[str, tuple[Path, ...]]:
    if points is None:
        return {}
    stored = find_partner(name, truth.tree, points)
    if not isinstance(stored, Folder):
        raise InputError(f"sequence {name} has no folder of fixation points; give one picture a frame")
    names = match_frames(truth.frames[name], tuple(stored.frames))
    absent = [frame for frame in truth.frames[name] if frame not in names]
    if absent:
        raise DataError(f"sequence {name} lacks fixation points of {len(absent)} frames: {few(absent)}")
    return {frame: stored.frames[other] for frame, other in names.items()}


def _sequences(tree: Tree) -> str:
    return few([name or "frames without a sequence's folder" for name in tree])


def _extra_sequences(plans: Sequence[SequencePlan], predictions: Tree, truth: GroundTruth) -> list[str]:
    """Return the predicted sequences without ground truth; where a split chose the sequences they are no mistake."""
    used = {id(plan.prediction) for plan in plans}
    return [] if truth.restricted else [name for name, stored in predictions.items() if id(stored) not in used]


def _refuse_missing(root: Path, plans: Sequence[SequencePlan]) -> None:
    short = [plan for plan in plans if plan.missing]
    if not short:
        return
    frames = sum(plan.missing for plan in short)
    first = short[0]
    names = few([item.frame for item in first.items if item.prediction is None], 3)
    where = f"sequence {first.name}" if first.name else "the sequence"
    if first.prediction is None:
        what = f"no prediction at all for {few([plan.name for plan in short if plan.prediction is None])}"
    else:
        what = f"{where} lacks {names}"
    raise DataError(
        f"predictions {root} lack {frames} of {sum(len(plan.items) for plan in plans)} frames ({what}); add them, "
        "or count them as empty maps with --missing zero, or leave them out with --missing skip"
    )


def _refuse_extra(root: Path, plans: Sequence[SequencePlan], predictions: Tree, truth: GroundTruth) -> None:
    long = [plan for plan in plans if plan.extra]
    if long:
        raise DataError(
            f"predictions {root} have {sum(plan.extra for plan in long)} frames without ground truth (sequence "
            f"{few([plan.name or root.name for plan in long])}); give the whole ground truth, or pass them over with "
            "--extra ignore"
        )
    strange = _extra_sequences(plans, predictions, truth)
    if strange:
        raise DataError(
            f"predictions {root} have {len(strange)} sequences without ground truth: {few(strange)}; name the ones "
            "to evaluate with --split, or pass the others over with --extra ignore"
        )
