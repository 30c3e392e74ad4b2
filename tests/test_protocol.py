"""`--protocol paper` of 3DC-Seg against the official code's procedure, written down here a second time, plainly."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from vsalient.checkpoints import registry
from vsalient.pipeline import saliency_maps
from vsalient.procedure import plan_procedure
from vsalient.segment.thresholds import parse_frame_threshold
from vsalient.types import Frame


def network(clip: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(T, h, w, 3) → (T, h, w): depends on the pixels, the slot and the neighbouring slots, as a 3D network does."""
    values = clip.astype(np.float32).sum(-1) / 765
    mixed = 0.6 * values + 0.4 * np.roll(values, 1, axis=0)
    slots = np.linspace(0.9, 1.1, len(clip), dtype=np.float32)[:, None, None]
    return np.clip(mixed * slots, 0, 1).astype(np.float32)


class Engine:
    behind = 0

    def reset(self) -> None: ...

    def submit(self, *clip: Any) -> Callable[[], NDArray[np.float32]]:
        maps = self.run(*clip)
        return lambda: maps

    def run(
        self,
        frames: Sequence[torch.Tensor],
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: Mapping[str, Sequence[torch.Tensor]] | None = None,
    ) -> NDArray[np.float32]:
        assert outputs is None and priors is None
        return network(np.stack([frame.permute(1, 2, 0).numpy() for frame in frames]))


def official(
    pictures: list[NDArray[np.uint8]], overlap: int
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
    """Mean probabilities of the padded size, and masks of the pictures' size, by notes on the official code."""
    height, width = pictures[0].shape[:2]
    scale = 480 / min(height, width)
    scaled = tuple(np.around(np.array([height, width]) * scale).astype(int))
    resized = [np.array(Image.fromarray(p).resize(scaled[::-1], Image.Resampling.BILINEAR)) for p in pictures]
    pads = []
    for side in scaled:
        new = side + 32 - side % 32 if side % 32 > 0 else side
        pads.append(((new - side) // 2, (new - side) // 2 + (new - side) % 2))
    padded = [np.pad(picture, (*pads, (0, 0))) for picture in resized]
    slots: dict[int, list[NDArray[np.float32]]] = {}
    for start in range(0, len(pictures), 8 - overlap):
        left = list(range(start, min(len(pictures), start + 8)))
        indices = sorted(left + [start] * (8 - len(left)))
        for index, probability in zip(indices, network(np.stack([padded[i] for i in indices])), strict=True):
            slots.setdefault(index, []).append(probability)
    means = [np.mean(np.stack(slots[index]), axis=0, dtype=np.float64) for index in range(len(pictures))]
    masks = []
    for mean in means:
        (top, _), (before, _) = pads
        cut = (mean >= 0.5)[top : top + scaled[0], before : before + scaled[1]].astype(np.uint8)
        masks.append(np.array(Image.fromarray(cut).resize((width, height), Image.Resampling.NEAREST)) > 0)
    return [mean.astype(np.float32) for mean in means], masks


@pytest.mark.parametrize(
    ("count", "size", "overlap"), [(11, (270, 481), 3), (8, (480, 854), 3), (3, (600, 500), 3), (10, (120, 90), 7)]
)
def test_masks_are_the_official_ones(count: int, size: tuple[int, int], overlap: int) -> None:
    rng = np.random.default_rng(count)
    coarse = rng.integers(0, 256, (count, 9, 12, 3), dtype=np.uint8)
    pictures = [np.array(Image.fromarray(c).resize(size[::-1], Image.Resampling.BICUBIC)) for c in coarse]
    means, masks = official(pictures, overlap)
    procedure = plan_procedure(registry()["3dc-seg"], protocol="paper", overlap=overlap)
    binarise = parse_frame_threshold(procedure.threshold).binarise
    frames = [Frame(pixels, index, index, Fraction(1, 25)) for index, pixels in enumerate(pictures)]
    found = list(saliency_maps(frames, Engine(), procedure))
    assert len(found) == count
    undecided = 0
    for (_, saliency), mean, expected in zip(found, means, masks, strict=True):
        assert 0.05 < expected.mean() < 0.95, "a mask with something in it"
        # Averaging in float32 may turn a pixel that is 0.5 to the last digit.
        differs = binarise(saliency) != expected
        assert np.abs(saliency[differs] - 0.5).max(initial=0) < 1e-6
        undecided += int(differs.sum())
        assert saliency.max() <= mean.max() + 1e-6
    assert undecided <= 2 * count
