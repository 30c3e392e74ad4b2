"""Clip probabilities to one saliency map a frame, as a stream."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vsalient.types import Clip, SaliencyArray


class Stitcher:
    """Averages what overlapping clips say of a frame, every slot with equal weight.

    A frame that stands in two slots of one clip (a filled-up tail) counts twice, as in the official 3DC-Seg
    code. Probabilities are averaged, not logits.
    """

    def __init__(self) -> None:
        self._sums: dict[int, tuple[SaliencyArray, int]] = {}

    def __len__(self) -> int:
        """Frames that are held, waiting for later clips."""
        return len(self._sums)

    def add(self, clip: Clip, probabilities: NDArray[np.float32]) -> None:
        """Take in a clip's foreground probabilities: (T, h, w) float32 in [0, 1], T the kept slots."""
        slots = range(len(clip)) if clip.outputs is None else clip.outputs
        assert probabilities.shape[0] == len(slots), (probabilities.shape, clip)
        for probability, slot in zip(probabilities, slots, strict=True):
            index = clip.indices[slot]
            total, count = self._sums.get(index, (None, 0))
            # The first slot's map is copied: a view would keep the whole clip's array alive.
            self._sums[index] = (probability.copy() if total is None else total + probability, count + 1)

    def ready(self, before: int) -> Iterator[tuple[int, SaliencyArray]]:
        """Release the frames below index `before`, in order: (index, (h, w) float32 mean probability)."""
        for index in sorted(index for index in self._sums if index < before):
            total, count = self._sums.pop(index)
            yield index, total / np.float32(count)
