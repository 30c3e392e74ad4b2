"""The best and the worst frames: prediction, ground truth and overlay side by side, as data URIs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.layout import Folder, Tree, Video, find_partner
from vsalient.datasets.masks import read_map, read_truth
from vsalient.datasets.names import match_frames
from vsalient.errors import DataError, InputError
from vsalient.evaluation.dataset import Evaluation, PredictionResult
from vsalient.evaluation.pictures import GrayVideo, resize_map, truth_of_map
from vsalient.evaluation.plan import Item, SequencePlan
from vsalient.metrics.arrays import BINARISE_AT, Map8, Mask
from vsalient.metrics.catalogue import LOWER_IS_BETTER

_WIDTH = 300
_HIT, _FALSE, _MISSED = (46, 160, 90), (214, 64, 52), (48, 110, 220)  # RGB
_RANKED_BY = ("J", "S", "MAE", "CC")


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One frame to show.

    Attributes:
        caption: sequence, frame and score.
        pictures: (label, data URI) from left to right.
    """

    caption: str
    pictures: tuple[tuple[str, str], ...]


def ranking_metric(result: PredictionResult) -> str | None:
    """Return the metric that frames are ranked by: J where it is known."""
    return next((name for name in _RANKED_BY if any(name in s.values for s in result.sequences)), None)


def exhibits(
    evaluation: Evaluation, result: PredictionResult, frames: Tree | None, *, number: int = 3
) -> tuple[list[Exhibit], list[Exhibit]]:
    """Return the best and the worst frames, at most one of each sequence as long as there are enough.

    Args:
        evaluation: the whole.
        result: the predictions to show.
        frames: the video frames to lay the overlay on, or None for the bare masks.
        number: of each.
    """
    metric = ranking_metric(result)
    if metric is None:
        return [], []
    scored = [
        (float(score), sequence.name, frame)
        for sequence in result.sequences
        for frame, score in zip(sequence.frames, sequence.values[metric], strict=True)
        if np.isfinite(score)
    ]
    scored.sort(key=lambda entry: entry[0], reverse=metric not in LOWER_IS_BETTER)
    plans = {plan.name: plan for plan in result.plans}
    best = _spread_out(scored, number)
    worst = _spread_out([entry for entry in reversed(scored) if entry not in best], number)

    def show(chosen: Sequence[tuple[float, str, str]]) -> list[Exhibit]:
        return [
            _exhibit(evaluation, plans[name], frame, f"{metric} = {score:.3f}", frames) for score, name, frame in chosen
        ]

    return show(best), show(worst)


def _spread_out(scored: Sequence[tuple[float, str, str]], number: int) -> list[tuple[float, str, str]]:
    """Take from the front, one a sequence first."""
    seen: set[str] = set()
    first = [entry for entry in scored if not (entry[1] in seen or seen.add(entry[1]))]  # type: ignore[func-returns-value]
    rest = [entry for entry in scored if entry not in first[:number]]
    return [*first[:number], *rest][:number]


def _exhibit(evaluation: Evaluation, plan: SequencePlan, frame: str, score: str, frames: Tree | None) -> Exhibit:
    item = next(item for item in plan.items if item.frame == frame)
    picture = _frame_picture(evaluation, plan, item, frames)
    prediction = _prediction_picture(plan, item, evaluation)
    pictures: list[tuple[str, NDArray[np.uint8]]] = []
    if picture is not None:
        pictures.append(("frame", picture))
    if item.points:
        density = read_map(item.truth[0], "gray") if not isinstance(item.truth, int) else np.zeros((1, 1), np.uint8)
        shown = np.zeros_like(density) if prediction is None else _sized(prediction, density.shape)
        pictures += [("prediction", _rgb(shown)), ("fixation density", _rgb(density))]
    else:
        mask, void = _truth(plan, item, evaluation)
        shown = np.zeros(mask.shape, np.uint8) if prediction is None else _sized(prediction, mask.shape)
        pictures += [
            ("prediction", _rgb(shown)),
            ("ground truth", _rgb(mask.astype(np.uint8) * np.uint8(255))),
            ("overlay", _overlay(shown >= BINARISE_AT, mask, void, picture)),
        ]
    where = f"{plan.name} · {frame}" if plan.name else frame
    return Exhibit(f"{where} · {score}", tuple((label, _data_uri(pixels)) for label, pixels in pictures))


def _prediction_picture(plan: SequencePlan, item: Item, evaluation: Evaluation) -> Map8 | None:
    if isinstance(item.prediction, int) and isinstance(plan.prediction, Video):
        return GrayVideo(plan.prediction.path).get(item.prediction)
    return read_map(item.prediction, evaluation.options.values) if isinstance(item.prediction, Path) else None


def _truth(plan: SequencePlan, item: Item, evaluation: Evaluation) -> tuple[Mask, Mask | None]:
    options = evaluation.options
    if isinstance(item.truth, int):
        pixels = GrayVideo(plan.truth.path).get(item.truth)
        if pixels is None:
            raise DataError(f"ground truth {plan.truth.path} ended before frame {item.truth}")
        truth = truth_of_map(pixels, plan.truth.path, options.values, options.void_value)
    else:
        background = plan.truth.background if isinstance(plan.truth, Folder) else None
        truth = read_truth(item.truth, options.values, options.void_value, background)
    return truth.mask, truth.void


def _frame_picture(
    evaluation: Evaluation, plan: SequencePlan, item: Item, frames: Tree | None
) -> NDArray[np.uint8] | None:
    try:
        stored = find_partner(plan.name, evaluation.truth.tree, frames) if frames else None
    except DataError:  # several folders of frames would fit: the overlay does without
        return None
    if not isinstance(stored, Folder):
        return None
    if isinstance(item.truth, int):
        names = list(stored.frames)
        name = names[item.truth] if item.truth < len(names) else None
    else:
        name = match_frames((item.frame,), tuple(stored.frames)).get(item.frame)
    if name is None:
        return None
    path = stored.frames[name][0]
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return None if pixels is None else np.ascontiguousarray(pixels[..., ::-1].astype(np.uint8, copy=False))


def _overlay(mask: Mask, truth: Mask, void: Mask | None, picture: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Colour what was hit, what was falsely found and what was missed, over the frame or over gray."""
    if picture is None:
        base = np.full((*mask.shape, 3), 236.0)
        strength = 1.0
    else:
        fitted = cv2.resize(picture, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_AREA)
        base = fitted.astype(np.float64)
        strength = 0.6
    for region, colour in ((mask & truth, _HIT), (mask & ~truth, _FALSE), (truth & ~mask, _MISSED)):
        chosen = region if void is None else region & ~void
        base[chosen] = (1 - strength) * base[chosen] + strength * np.array(colour)
    return base.astype(np.uint8)


def _sized(prediction: Map8, shape: tuple[int, ...]) -> Map8:
    return prediction if prediction.shape == shape else resize_map(prediction, (shape[0], shape[1]))


def _rgb(gray: Map8) -> NDArray[np.uint8]:
    return np.repeat(gray[..., None], 3, axis=2)


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape[:2]
    if width > _WIDTH:
        size = (_WIDTH, max(1, round(height * _WIDTH / width)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    ok, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert ok
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
