"""Objects that keep their numbers: parts of masks followed by place, way and colours, through overlaps too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.segment.looks import Colors, ColorShares, bins_of, similarity
from vsalient.segment.regions import Labels, label_with_boxes
from vsalient.types import InstanceMap, MaskArray, Pixels

TRACK_PATIENCE = 12
"""Frames that an object may be out of sight and still get its number back where it was."""
RECALL = 50
"""The same where its colours tell it from others."""
PIECE, GAP = 0.25, 2.0
"""A part smaller than the first share of an object may be a piece of it: a speck up to so many of its sides (roots of
its area) away, the less the larger it is."""
_HALF = 0.5  # a part larger than that may be a piece still, if its colours and place say so, so many sides away
_LIES = 0.4  # an object lies where this share of it, or of what is there, is covered by it
_ESTABLISHED = (3, TRACK_PATIENCE)  # frames after which what touches another is no part of it: large, small
_ALIKE, _SAME = 0.8, 0.85  # similarity of colours of one thing seen twice, and of two parts of one thing
_APART = 25  # frames after which what came up next to an object is not taken for a part of it
_UNSEEN_REACH = 3.0  # sides of an object that it may go unseen
_MOST = 64  # objects out of sight that are remembered

Size = tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Object:
    """What is known of one object.

    Attributes:
        number: its name.
        mask: (h, w) where it was last seen, cut out at `corner`; None when the place no longer says anything.
        corner: its top and left.
        area: pixels that it usually has.
        way: pixels down and to the right that it goes in a frame.
        looks: share of its pixels in each bin of colour; None without pictures.
        seen: frames it has been seen in.
        gone: frames since.
        beside: the object that it came up next to and may be a part of; 0 for none.
    """

    number: int
    mask: MaskArray | None = None
    corner: Size = (0, 0)
    area: float = 0.0
    way: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    looks: ColorShares | None = None
    seen: int = 0
    gone: int = 0
    beside: int = 0

    @property
    def shown(self) -> int:
        """Pixels that it had when it was last seen."""
        return 0 if self.mask is None else int(np.count_nonzero(self.mask))

    @property
    def side(self) -> float:
        """The root of its area."""
        return float(np.sqrt(max(self.area, 1.0)))

    def place(self, frames: int | None = None) -> Size:
        """The corner that is expected after so many frames."""
        ahead = min(self.gone + 1, TRACK_PATIENCE) if frames is None else frames
        top, left = np.round(np.array(self.corner) + ahead * self.way).astype(int)
        return int(top), int(left)


class InstanceTracker:
    """Numbers a mask's connected parts so that an object keeps its number from frame to frame.

    Each object is expected where its way takes it, and takes the part that it covers best there. A part that several
    objects of some age lie in is divided among them, pixel by pixel, by colour and by how far each is; one that is
    hidden altogether goes on unseen. A part that is left is a piece of an object near it, an object that was lost and
    looks the same, or a new one.

    Attributes:
        joined: of the last frame: numbers that turned out to be parts of another object, and its number.
    """

    def __init__(self, *, patience: int = TRACK_PATIENCE) -> None:
        """Take the number of frames that a vanished object is remembered where it was."""
        self.patience = patience
        self.joined: list[tuple[int, int]] = []
        self._objects: dict[int, _Object] = {}
        self._next = 1

    def push(self, mask: MaskArray, pixels: Pixels | None = None) -> InstanceMap:
        """The objects' numbers in the next frame.

        Args:
            mask: (H, W), True where objects are.
            pixels: (H, W, 3) uint8, the frame; without, place alone decides.

        Returns:
            (H, W) int32, 0 where there is none.
        """
        count, parts, areas, boxes = label_with_boxes(mask)
        colors = None if pixels is None else Colors(pixels)
        numbers = np.zeros(count, dtype=np.int32)
        covered = {number: self._covers(known, parts) for number, known in self._objects.items()}
        self.joined = []
        claims = self._claims(covered, areas)
        for number, whole in self.joined:
            self._drop(number, whole)
        divided: dict[int, list[_Object]] = {}
        for part, claimants in claims.items():
            numbers[part] = claimants[0].number
            if len(claimants) > 1:
                divided[part] = claimants
        held = {known.number for claimants in claims.values() for known in claimants}
        fresh = bool((numbers[1:] == 0).any())
        looks = colors.looks(parts, count) if fresh and colors is not None else {}
        for part, number in self._recalled(numbers, areas, boxes, looks, held):
            numbers[part] = number
        gaps: dict[int, Any] = {}
        for part in 1 + np.argsort(-areas[1:], kind="stable"):  # new numbers from the largest part down
            if numbers[part] == 0:
                numbers[part], beside = self._owner(int(part), parts, areas, numbers, covered, looks, gaps)
            if numbers[part] == 0:
                numbers[part] = self._next
                self._objects[self._next] = _Object(self._next, beside=beside)
                self._next += 1
        instances: InstanceMap = numbers[parts]
        for part, claimants in divided.items():
            _divide_part(instances, parts, part, boxes[part], claimants, colors)
        self._remember(instances, numbers, boxes, divided, colors)
        return instances

    def forget(self, *, looks: bool = False) -> None:
        """Another scene begins: what comes is new, and numbers go on.

        Args:
            looks: an object that looks like one of before gets its number, wherever it is.
        """
        if not looks:
            self._objects = {}
        for known in self._objects.values():
            known.mask, known.gone = None, 0

    def _covers(self, known: _Object, parts: Labels) -> dict[int, int]:
        """Pixels of each part that the object covers where it is expected; of where it was, if it is nowhere there."""
        if known.mask is None:
            return {}
        for place in (known.place(), known.corner):
            found = _under(known.mask, place, parts)
            if found or place == known.corner:
                return found
        return {}

    def _claims(self, covered: Mapping[int, Mapping[int, int]], areas: Labels) -> dict[int, list[_Object]]:
        """Part -> the objects that it is, the likeliest first."""
        wishes: dict[int, list[tuple[int, _Object]]] = {}
        for number, under in covered.items():
            known = self._objects[number]
            if under:
                part = max(under, key=lambda part: under[part])
                wishes.setdefault(part, []).append((under[part], known))
        claims = {}
        for part, wish in wishes.items():
            # Who was long out of sight may be behind another, but is not taken for what comes up where it was.
            wish.sort(key=lambda pair: (pair[1].gone > self.patience, -pair[0], pair[1].number))
            names = {known.number for _, known in wish}
            # What came up next to another and joins it was a part of it: half a scooter from behind a post.
            self.joined += [(known.number, known.beside) for _, known in wish if known.beside in names]
            wish = [pair for pair in wish if pair[1].beside not in names]
            if not wish or wish[0][1].gone > self.patience:
                continue
            largest = max(known.area for _, known in wish)
            claims[part] = [
                known
                for place, (pixels, known) in enumerate(wish)
                if place == 0
                or (
                    known.seen >= _ESTABLISHED[known.area < PIECE * largest]
                    and wish[0][1].seen >= _ESTABLISHED[0]
                    and pixels > _LIES * min(known.shown, areas[part])
                )
            ]
        return claims

    def _recalled(
        self, numbers: Labels, areas: Labels, boxes: Labels, looks: Mapping[int, ColorShares], held: set[int]
    ) -> list[Size]:
        """(part, number) of objects out of sight that parts without a number look like, the likest first."""
        lost = [known for known in self._objects.values() if known.number not in held]
        pairs = []
        for part in np.flatnonzero(numbers[1:] == 0) + 1:
            for known in lost:
                if known.looks is None or int(part) not in looks or areas[part] < PIECE * known.area:
                    continue
                top, left, height, width = boxes[part]
                if known.mask is not None:
                    middle = np.array(known.place(0)) + np.array(known.mask.shape) / 2
                    away = float(np.hypot(*(middle - (top + height / 2, left + width / 2))))
                    if away > known.side * min(_UNSEEN_REACH, 1 + 0.25 * known.gone):
                        continue
                same = similarity(known.looks, looks[int(part)])
                if same > _ALIKE:
                    pairs.append((same * min(1.0, float(areas[part]) / known.area) ** 0.25, int(part), known.number))
        found: dict[int, int] = {}
        for _, part, number in sorted(pairs, reverse=True):
            if part not in found and number not in found.values():
                found[part] = number
        return list(found.items())

    def _owner(
        self,
        part: int,
        parts: Labels,
        areas: Labels,
        numbers: Labels,
        covered: Mapping[int, Mapping[int, int]],
        looks: Mapping[int, ColorShares],
        gaps: dict[int, Any],
    ) -> tuple[int, int]:
        """The object of this frame that a new part is a piece of, and the one that it is near to; 0 if there is none.

        Only one that was there before: what comes together is told apart. A hand behind a skirt, a wheel behind a
        pole: what parts from an object for some frames keeps its number; so does a larger piece that looks like the
        rest and does not go far, such as half of somebody behind a post.
        """
        piece = parts == part
        best, nearest, beside, closest = 0, np.inf, 0, 1.0
        known = [k for k in range(1, len(areas)) if numbers[k] in self._objects and self._objects[numbers[k]].seen]
        for other in sorted(known, key=lambda k: -int(areas[k]))[:4]:
            number = int(numbers[other])
            # The smaller, the farther it may be: a speck is no object, half a person is one.
            allowed = GAP * (1 - float(areas[part]) / (PIECE * float(areas[other])))
            inside = covered.get(number, {}).get(part, 0) > 0.5 * areas[part]
            if inside and part in looks and other in looks and similarity(looks[part], looks[other]) > _SAME:
                allowed = max(allowed, _HALF)
            if other not in gaps:
                gaps[other] = cv2.distanceTransform((parts != other).astype(np.uint8), cv2.DIST_L2, 3)
            gap = float(gaps[other][piece].min()) / float(np.sqrt(areas[other]))
            if gap < min(allowed, nearest):
                best, nearest = number, gap
            if gap < closest:
                beside, closest = number, gap
        return best, beside

    def _remember(
        self,
        instances: InstanceMap,
        numbers: Labels,
        boxes: Labels,
        divided: Mapping[int, Sequence[_Object]],
        colors: Colors | None,
    ) -> None:
        mixed = {known.number for claimants in divided.values() for known in claimants}
        places: dict[int, list[int]] = {}
        for part in range(1, len(numbers)):
            for number in [known.number for known in divided.get(part, ())] or [int(numbers[part])]:
                places.setdefault(number, []).append(part)
        looks = {} if colors is None else colors.looks(instances, self._next)
        for number, known in self._objects.items():
            cut = None if number not in places else _mask_of(instances, number, boxes[places[number]])
            if cut is None:
                known.gone += 1
                continue
            mask, corner = cut
            area = float(np.count_nonzero(mask))
            if number not in mixed:  # what is hidden in part tells little of size, way and colours
                if known.mask is not None and known.gone == 0:
                    middle = np.array(corner) + np.array(mask.shape) / 2
                    moved = middle - (np.array(known.corner) + np.array(known.mask.shape) / 2)
                    known.way = 0.5 * known.way + 0.5 * moved if known.seen > 1 else moved
                known.area = area
                if number in looks:
                    known.looks = looks[number] if known.looks is None else 0.9 * known.looks + 0.1 * looks[number]
            known.mask, known.corner = mask, corner
            known.seen, known.gone = known.seen + 1, 0
            if known.beside and (known.seen > _APART or self._away(known) > known.side):
                known.beside = 0  # it goes its own way
        self._passed_on()
        gone = sorted((known.gone, known.number) for known in self._objects.values() if known.gone)
        over = {number for _, number in gone[_MOST:]}
        self._objects = {
            number: known
            for number, known in self._objects.items()
            if number not in over and known.gone <= self._patience(known)
        }

    def _drop(self, number: int, whole: int) -> None:
        """Forget a number that belongs to another object."""
        del self._objects[number]
        for known in self._objects.values():
            if known.beside == number:
                known.beside = whole if known.number != whole else 0

    def _passed_on(self) -> None:
        """Give the number of what went out of sight to what came up next to it, which is the rest of it.

        Somebody passes behind a post: a part comes up on its other side, then the first part is gone.
        """
        for known in sorted(self._objects.values(), key=lambda known: -known.area):
            whole = self._objects.get(known.beside)
            if whole is not None and whole.gone and not known.gone:
                self.joined.append((known.number, whole.number))
                self._drop(known.number, whole.number)
                known.number, known.beside, known.seen = whole.number, whole.beside, known.seen + whole.seen
                known.looks = known.looks if whole.looks is None else whole.looks
                self._objects[known.number] = known

    def _away(self, known: _Object) -> float:
        """Pixels between the boxes of an object and of the one that it came up next to."""
        other = self._objects.get(known.beside)
        if other is None or other.mask is None or known.mask is None:
            return np.inf
        if other.gone or other.shown < PIECE * known.area:  # what is left of it tells little of where it is
            return 0.0
        starts = np.maximum(known.corner, other.corner)
        ends = np.minimum(np.add(known.corner, known.mask.shape), np.add(other.corner, other.mask.shape))
        return float(np.hypot(*np.maximum(starts - ends, 0)))

    def _patience(self, known: _Object) -> float:
        """Frames that an object may be out of sight; without end where only looks are left of it."""
        if known.looks is None:
            return self.patience
        return np.inf if known.mask is None else RECALL


def _shared_window(shape: Size, place: Size, frame: Size) -> tuple[slice, slice, slice, slice]:
    """Rows and columns of a frame under a cut-out at `place`, and of the cut-out there."""
    top, left = max(place[0], 0), max(place[1], 0)
    bottom, right = max(top, min(place[0] + shape[0], frame[0])), max(left, min(place[1] + shape[1], frame[1]))
    return (
        slice(top, bottom),
        slice(left, right),
        slice(top - place[0], bottom - place[0]),
        slice(left - place[1], right - place[1]),
    )


def _under(mask: MaskArray, place: Size, parts: Labels) -> dict[int, int]:
    rows, columns, mine, own = _shared_window(mask.shape, place, parts.shape)
    counts = np.bincount(parts[rows, columns][mask[mine, own]])
    return {int(part): int(counts[part]) for part in np.flatnonzero(counts) if part}


def _mask_of(instances: InstanceMap, number: int, boxes: Labels) -> tuple[MaskArray, Size] | None:
    """An object's mask within its parts' boxes, and its corner; None if nothing of it is to be seen."""
    top, left = boxes[:, 0].min(), boxes[:, 1].min()
    bottom, right = (boxes[:, 0] + boxes[:, 2]).max(), (boxes[:, 1] + boxes[:, 3]).max()
    mask = instances[top:bottom, left:right] == number
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return inner, (int(top + rows[0]), int(left + columns[0]))


def _divide_part(
    instances: InstanceMap,
    parts: Labels,
    part: int,
    box: Labels,
    claimants: Sequence[_Object],
    colors: Colors | None,
) -> None:
    """Divide a part among objects: each pixel goes to the one that is nearest and has its colour most."""
    top, left, height, width = (int(value) for value in box)
    window = (slice(top, top + height), slice(left, left + width))
    bins = None if colors is None else bins_of(colors.pixels[window])
    kernel = 2 * max(1, round(min(known.side for known in claimants) / 16)) + 1
    costs = []
    for known in claimants:
        assert known.mask is not None
        outside = np.ones((height, width), np.uint8)
        rows, columns, mine, own = _shared_window(
            known.mask.shape,
            (known.place()[0] - top, known.place()[1] - left),
            (height, width),
        )
        outside[rows, columns] -= known.mask[mine, own]
        cost = np.full((height, width), 9.0, np.float32)
        if not outside.all():
            cost = np.minimum(cv2.distanceTransform(outside, cv2.DIST_L2, 3) / np.float32(0.2 * known.side), 9)
        if bins is not None and known.looks is not None:
            cost = cost + cv2.blur(-np.log(known.looks[bins] + np.float32(1e-4)), (kernel, kernel))
        costs.append(cost)
    inside = parts[window] == part
    order = np.array([known.number for known in claimants], np.int32)
    chosen = order[np.argmin(np.stack(costs), axis=0)]
    pixels = [np.count_nonzero(inside & (chosen == number)) for number in order]
    for known, count in zip(claimants, pixels, strict=True):
        if count < 0.02 * known.area:  # a few pixels are no object but noise
            chosen[chosen == known.number] = order[np.argmax(pixels)]
    instances[window][inside] = chosen[inside]
