"""_MapStream without the objects that are not wanted, as a stream."""

import dataclasses
import logging
import math
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import InputError, OutputError
from vsalient.segment.looks import pictured
from vsalient.segment.objects import InstanceTracker
from vsalient.segment.regions import label_with_areas, select
from vsalient.segment.thresholds import parse_frame_threshold
from vsalient.segment.wanted import IgnoredBox, Wanted, WantedPoint
from vsalient.types import Frame, InstanceMap, SaliencyArray

log = logging.getLogger(__name__)
_GRID_LONGEST = 480
"""About the longest side of the grid that objects are followed on."""
_SPECK = 0.0003
"""Share of the frame that is no object."""
_MISS = 0.02
"""Share of the frame's diagonal by which a point may miss its object."""

_MapStream = Generator[tuple[Frame, SaliencyArray], None, None]


def without_unwanted(
    maps: _MapStream, wanted: "Wanted | None", busy: Callable[[], AbstractContextManager[None]] = nullcontext
) -> _MapStream:
    """Take everything but the wanted objects out of maps.

    Objects are followed over the film, through overlaps, and found again after cuts and absences by their colours.
    As long as a point's time is still to come, frames and maps wait in a temporary file, so that the object is kept
    from the first frame on; memory stays that of a few frames.

    Args:
        maps: frames with (H, W) float32 in [0, 1]; closed at the end.
        wanted: which objects; None leaves the maps as they are.
        busy: what the work is done within, to be timed.

    Yields:
        The same frames, their maps 0 where an object lies that is not wanted, and otherwise as they were.

    Raises:
        OptionError: a point or box is outside of the frame.
        InputError: no point has an object.
        OutputError: the temporary file does not fit on the disk.
    """
    return maps if wanted is None else _cut_maps(maps, wanted, busy)


def _cut_maps(maps: _MapStream, wanted: "Wanted", busy: Callable[[], AbstractContextManager[None]]) -> _MapStream:
    chooser, held = _Chooser(wanted), _HeldFrames()
    with closing(maps), closing(held):
        for frame, saliency in maps:
            with busy():
                objects = chooser.push(frame, saliency)
                if chooser.waiting:
                    held.put(frame, saliency, objects)
                    continue
            for before, values, there in held.take():
                yield before, chooser.cut(values, there)
            with busy():
                left = chooser.cut(saliency, objects)
            yield frame, left
        chooser.end()
        for before, values, there in held.take():
            yield before, chooser.cut(values, there)


@dataclass(slots=True)
class _Chooser:
    """Follows a film's objects, and knows which of them are wanted."""

    wanted: Wanted
    waiting: bool = False
    _tracker: InstanceTracker = field(default_factory=InstanceTracker)
    _kept: set[int] = field(default_factory=set)
    _ignored: set[int] = field(default_factory=set)
    _highest: int = 0
    _scene: int | None = None
    _open: list[WantedPoint] = field(default_factory=list)
    _boxes: set[IgnoredBox] = field(default_factory=set)
    _there: set[int] = field(default_factory=set)
    _since: float | None = None

    def push(self, frame: Frame, saliency: SaliencyArray) -> InstanceMap:
        """The next frame's objects: (h, w) each pixel's own or nearest one on a coarser grid, -1 far from them."""
        if self._scene is None:
            self.wanted.check_size(saliency.shape[1], saliency.shape[0])
            self._open = sorted(self.wanted.keep, key=lambda point: point.time or 0.0)
        elif frame.scene != self._scene:
            self._tracker.forget(looks=True)
            self._missed()
            self._since = frame.time
        first, self._scene = self._scene is None, frame.scene
        step = _cell_side(saliency.shape)
        small = np.ascontiguousarray(saliency[step // 2 :: step, step // 2 :: step])
        # Where nothing is sure the threshold of the frame's own values still finds what stands out most.
        mask = (small >= 0.5) | (parse_frame_threshold("adaptive").binarise(small) & (small >= 0.25))
        _, parts, areas = label_with_areas(mask)
        large = areas >= max(4, _SPECK * mask.size)
        large[0] = False
        seen = pictured(frame, saliency)
        pixels = None if seen is None else np.ascontiguousarray(seen[step // 2 :: step, step // 2 :: step])
        objects = self._tracker.push(select(large, parts), pixels)
        for part, whole in self._tracker.joined:
            for names in (self._kept, self._ignored):
                if part in names or whole in names:
                    names |= {part, whole}
        self._ignore(objects, step)
        self._there.update(np.unique(objects[objects > 0]).tolist())
        while (
            self._open and (first or self._open[0].time is not None) and frame.time + 1e-4 >= (self._open[0].time or 0)
        ):
            self._keep(self._open.pop(0), objects, step, frame)
        self.waiting = bool(self._open)
        if self.wanted.keep and not self._open and not self._kept:
            raise InputError("no object was found at any point of --keep: nothing would be left")
        specks = (parts > 0) & (objects == 0)
        nearest, away = _nearest(objects)
        far = _MISS * float(np.hypot(*objects.shape))
        if (specks & (away > far)).any():
            objects[specks & (away > far)] = -1
            nearest, away = _nearest(objects)
        nearest[away > 2 * far] = -1
        return nearest

    def cut(self, saliency: SaliencyArray, nearest: InstanceMap) -> SaliencyArray:
        """The map without what is not wanted."""
        if self.wanted.keep:
            good = np.isin(nearest, list(self._kept))
        else:
            good = ~np.isin(nearest, list(self._ignored))
        if good.all():
            return saliency
        height, width = saliency.shape
        step = _cell_side(saliency.shape)
        weight = cv2.resize(
            good.astype(np.float32),
            (good.shape[1] * step, good.shape[0] * step),
            interpolation=cv2.INTER_LINEAR if step > 1 else cv2.INTER_NEAREST,
        )
        weight = cv2.copyMakeBorder(
            weight, 0, max(0, height - weight.shape[0]), 0, max(0, width - weight.shape[1]), cv2.BORDER_REPLICATE
        )
        left: SaliencyArray = saliency * weight[:height, :width]
        return left

    def end(self) -> None:
        """The film is over: say what was asked for and never came.

        Raises:
            InputError: nothing was kept.
        """
        self._missed()
        for point in self._open:
            log.warning("--keep %s: the film ends before that", point)
        for box in self.wanted.ignore:
            if box not in self._boxes:
                log.warning("--ignore %s: no object came up there", box)
        if self.wanted.keep and not self._kept:
            raise InputError("no object was found at any point of --keep: nothing would be left")

    def _missed(self) -> None:
        """Say of a scene after a cut that nothing of it was kept."""
        if self._since is not None and self.wanted.keep and not self._there & self._kept:
            log.warning("--keep: nothing like it was found after the cut at %.2f s; give a point there", self._since)
        self._there = set()

    def _ignore(self, objects: InstanceMap, step: int) -> None:
        highest = max(self._highest, int(objects.max()))
        for number in range(self._highest + 1, highest + 1) if self.wanted.ignore else ():
            mask = objects == number
            area = np.count_nonzero(mask)
            for box in self.wanted.ignore:
                rows = slice(math.ceil(box.top / step), math.ceil(box.bottom / step))
                inside = np.count_nonzero(mask[rows, math.ceil(box.left / step) : math.ceil(box.right / step)])
                if area and inside > 0.5 * area:
                    self._ignored.add(number)
                    self._boxes.add(box)
        self._highest = highest

    def _keep(self, point: WantedPoint, objects: InstanceMap, step: int, frame: Frame) -> None:
        here = np.array((point.y, point.x)) / step
        places = np.argwhere(objects > 0)
        if len(places) == 0:
            log.warning("--keep %s: no object was found in the frame at %.2f s", point, frame.time)
            return
        away = np.hypot(*(places + 0.5 - here).T)
        row, column = places[np.argmin(away)]
        if away.min() > max(1.0, _MISS * float(np.hypot(*objects.shape))):
            log.warning(
                "--keep %s: there is no object at %.2f s; the nearest is at %d,%d",
                *(point, frame.time, (column + 0.5) * step, (row + 0.5) * step),
            )
            return
        self._kept.add(int(objects[row, column]))
        self._ignored.discard(int(objects[row, column]))


def _cell_side(shape: tuple[int, ...]) -> int:
    return max(1, round(max(shape) / _GRID_LONGEST))


def _nearest(objects: InstanceMap) -> tuple[InstanceMap, NDArray[np.float32]]:
    """Each pixel's nearest object, 0 everywhere where there is none, and how many pixels away it is."""
    outside = (objects == 0).astype(np.uint8)
    if outside.all() or not outside.any():
        return objects.copy(), np.where(outside, np.float32(np.inf), np.float32(0))
    away, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(labels.max()) + 1, np.int32)
    inside = objects != 0
    table[labels[inside]] = objects[inside]
    return table[labels], np.asarray(away, np.float32)


class _HeldFrames:
    """Frames and maps that wait on the disk; maps to 16 bits."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._kept: list[tuple[Frame, list[tuple[int, int]]]] = []

    def put(self, frame: Frame, saliency: SaliencyArray, objects: InstanceMap) -> None:
        """Set one aside.

        Raises:
            OutputError: the disk is full.
        """
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="vsalient-")  # noqa: SIM115 - closed by whoever holds the frames
        levels = np.rint(saliency * np.float32(65535)).astype(np.uint16)
        places = []
        deep = () if frame.deep is None else (frame.deep,)
        for picture in (
            frame.pixels,
            levels,
            objects.astype("<i4").view(np.uint8).reshape(objects.shape[0], -1),
            *deep,
        ):
            packed = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
            places.append((self._file.tell(), len(packed)))
            try:
                self._file.write(packed.data)
                self._file.flush()
            except OSError as error:
                place = tempfile.gettempdir()
                raise OutputError(
                    f"the frames before --keep's last time do not fit into {place}: {error.strerror}"
                ) from None
        self._kept.append((dataclasses.replace(frame, pixels=np.empty((0, 0, 3), np.uint8), deep=None), places))

    def take(self) -> Iterator[tuple[Frame, SaliencyArray, InstanceMap]]:
        """Give them back, in order."""
        waiting, self._kept = self._kept, []
        for frame, places in waiting:
            pixels, levels, objects, *deep = (self._read(*place) for place in places)
            saliency: SaliencyArray = levels.astype(np.float32) * np.float32(1 / 65535)
            yield (
                dataclasses.replace(frame, pixels=pixels, deep=deep[0] if deep else None),
                saliency,
                objects.view("<i4").astype(np.int32),
            )
        self.close()

    def close(self) -> None:
        """Forget what waits."""
        if self._file is not None:
            self._file.close()
        self._file, self._kept = None, []

    def _read(self, start: int, size: int) -> Any:
        assert self._file is not None
        self._file.seek(start)
        return np.asarray(cv2.imdecode(np.frombuffer(self._file.read(size), np.uint8), cv2.IMREAD_UNCHANGED))
