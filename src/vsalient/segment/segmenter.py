"""Saliency maps to finished masks as a stream: refine, threshold, snap, clean up, number the objects."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import ceil

from vsalient.errors import InputError, OptionError
from vsalient.segment.binarise import IndexedMask, Threshold
from vsalient.segment.cleanup import (
    TemporalMedian,
    fill_holes,
    keep_largest,
    remove_specks,
)
from vsalient.segment.looks import pictured
from vsalient.segment.maxf import MaxFThreshold
from vsalient.segment.objects import InstanceTracker
from vsalient.types import Binarise, Frame, MaskArray, Pixels, Result, SaliencyArray, halve

MapRefiner = Callable[[Pixels, SaliencyArray], SaliencyArray]
"""(H, W, 3) pixels and a map to a better map: `vsalient.segment.crf.DenseCrf`."""
MaskRefiner = Callable[[Pixels, MaskArray], MaskArray]
"""(H, W, 3) pixels and a mask to a better mask: `vsalient.segment.boundary.BoundarySnap`."""
Again = Callable[[], AbstractContextManager[Iterable[Frame]]]
"""Opens the same frames from the beginning."""


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What is done to masks after the threshold, in the order of the fields; the defaults do nothing.

    Attributes:
        median: frames of the temporal median, odd.
        min_area: smaller parts are removed; pixels, or a share of the frame when below 1.
        fill: fill holes.
        largest: keep only so many parts, None for all.
    """

    median: int = 1
    min_area: float = 0
    fill: bool = False
    largest: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            OptionError: one makes no sense.
        """
        TemporalMedian(self.median)
        if not self.min_area >= 0:
            raise OptionError(f"A smallest area of {self.min_area:g} is not possible; give pixels, or 0 for none.")
        if self.largest is not None and self.largest < 1:
            raise OptionError(f"Keeping the {self.largest} largest objects is not possible; give 1 or more.")

    def apply(self, mask: MaskArray) -> MaskArray:
        """Return the mask after the steps that need no other frame."""
        least = self.min_area if self.min_area >= 1 else self.min_area * mask.size
        if least > 1:
            mask = remove_specks(mask, ceil(least))
        if self.fill:
            mask = fill_holes(mask)
        if self.largest is not None:
            mask = keep_largest(mask, self.largest)
        return mask


@dataclass(frozen=True, slots=True)
class Unsegmented:
    """Leaves maps as they are: what stands in a segmenter's place where nothing is segmented.

    Attributes:
        binarise: makes a result's mask, once somebody asks for it.
    """

    binarise: Binarise = halve

    def begin(self, sequence: str | None = None, again: Again | None = None) -> "Unsegmented":
        """As `Segmenting.begin`."""
        return self

    def push(self, frame: Frame, saliency: SaliencyArray) -> list[Result]:
        """As `Segmenter.push`."""
        return [Result(frame, saliency, binarise=self.binarise)]

    def finish(self) -> Iterator[Result]:
        """As `Segmenter.finish`."""
        return iter(())


@dataclass(frozen=True, slots=True, eq=False)
class Segmenting:
    """How maps become masks: the settings that every sequence is begun with.

    Attributes:
        threshold: from map to mask.
        refine_map: applied before the threshold.
        refine_mask: applied after it.
        cleanup: applied to the refined mask.
        instances: number the objects.
    """

    threshold: Threshold
    refine_map: MapRefiner | None = None
    refine_mask: MaskRefiner | None = None
    cleanup: Cleanup = field(default_factory=Cleanup)
    instances: bool = False

    def begin(self, sequence: str | None = None, again: Again | None = None) -> "Segmenter":
        """A segmenter for the sequence of this name.

        Raises:
            OptionError: the threshold is max-F and `again` is missing.
        """
        return Segmenter(
            self.threshold.fresh(sequence),
            refine_map=self.refine_map,
            refine_mask=self.refine_mask,
            cleanup=self.cleanup,
            instances=self.instances,
            again=again,
        )


class Segmenter:
    """Turns the frames and maps of one sequence into results with masks, in order.

    Frames are held only while a step waits for later ones: up to 16 frames for hysteresis, half a window for the
    temporal median, a clip for the clip scope. The max-F threshold waits for the sequence's end; then the frames are
    read `again`, and the maps come from its file on disk.
    """

    def __init__(
        self,
        threshold: Threshold,
        *,
        refine_map: MapRefiner | None = None,
        refine_mask: MaskRefiner | None = None,
        cleanup: Cleanup | None = None,
        instances: bool = False,
        again: Again | None = None,
    ) -> None:
        """Take the steps.

        Args:
            threshold: unused so far; see `Threshold.fresh`.
            refine_map: applied before the threshold.
            refine_mask: applied after it.
            cleanup: applied to the refined mask.
            instances: number the objects.
            again: opens the frames anew; needed by the max-F threshold only.

        Raises:
            OptionError: the threshold is max-F and `again` is missing.
        """
        if isinstance(threshold, MaxFThreshold) and again is None:
            raise OptionError("The max-f threshold reads the frames twice; it needs a file or folder, not a stream.")
        self._threshold = threshold
        self._refine_map = refine_map
        self._refine_mask = refine_mask
        self._cleanup = cleanup or Cleanup()
        self._median = TemporalMedian(self._cleanup.median)
        self._tracker = InstanceTracker() if instances else None
        self._again = again
        self._held: dict[int, tuple[Frame, SaliencyArray]] = {}
        self._scene: int | None = None

    def push(self, frame: Frame, saliency: SaliencyArray) -> list[Result]:
        """Take a frame and its map (H, W); return the results that are now certain.

        Nothing of what looks over time reaches across a cut: there it begins anew. Objects get new numbers.

        Raises:
            InputError: the map has another size than the frame.
        """
        if frame.pixels.shape[:2] != saliency.shape:
            height, width = frame.pixels.shape[:2]
            raise InputError(
                f"Frame {frame.index} is {width}x{height} but its map is {saliency.shape[1]}x{saliency.shape[0]}; "
                "give maps of the frames' size."
            )
        earlier: list[Result] = []
        if self._scene is not None and frame.scene != self._scene and not isinstance(self._threshold, MaxFThreshold):
            earlier = list(self.finish())
            self._threshold = self._threshold.fresh()
            self._median = TemporalMedian(self._cleanup.median)
            if self._tracker is not None:
                self._tracker.forget()
        self._scene = frame.scene
        if self._refine_map is not None:
            saliency = self._refine_map(frame.pixels, saliency)
        if not isinstance(self._threshold, MaxFThreshold):
            self._held[frame.index] = (frame, saliency)
        return [*earlier, *self._follow(self._threshold.push(frame.index, saliency))]

    def finish(self) -> Iterator[Result]:
        """Yield the results that were held back; the sequence is then over.

        Raises:
            DataError: the ground truth of max-F does not fit the sequence.
        """
        masks = self._threshold.finish()
        if isinstance(self._threshold, MaxFThreshold):
            yield from self._replay(self._threshold, masks)
        else:
            yield from self._follow(masks)
        for index, mask in self._median.finish():
            yield self._segment(index, mask)

    def _replay(self, threshold: MaxFThreshold, masks: Iterable[IndexedMask]) -> Iterator[Result]:
        assert self._again is not None
        with self._again() as frames:
            for frame, (index, mask) in zip(frames, masks, strict=False):
                self._held[index] = (frame, threshold.saliency(index))
                yield from self._follow([(index, mask)])

    def _follow(self, masks: Iterable[IndexedMask]) -> Iterator[Result]:
        for index, mask in masks:
            if self._refine_mask is not None:
                mask = self._refine_mask(self._held[index][0].pixels, mask)
            for ready, smooth in self._median.push(index, mask):
                yield self._segment(ready, smooth)

    def _segment(self, index: int, mask: MaskArray) -> Result:
        frame, saliency = self._held.pop(index)
        mask = self._cleanup.apply(mask)
        return Result(
            frame, saliency, mask, self._tracker.push(mask, pictured(frame, saliency)) if self._tracker else None
        )
