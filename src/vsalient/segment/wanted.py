"""The object wanted: which of the objects found in a film are kept, in the words of a user."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vsalient.errors import OptionError

Spot = str | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class WantedPoint:
    """A pixel of a frame: the object there is wanted.

    Attributes:
        x, y: pixels from the left and the top.
        time: seconds of the film; None for its first frame.
    """

    x: float
    y: float
    time: float | None = None

    def __str__(self) -> str:
        return f"{self.x:g},{self.y:g}" + ("" if self.time is None else f"@{self.time:g}")


@dataclass(frozen=True, slots=True)
class IgnoredBox:
    """A part of the frame: what comes up in it is not wanted. Pixels; right and bottom are outside."""

    left: float
    top: float
    right: float
    bottom: float

    def __str__(self) -> str:
        return f"{self.left:g},{self.top:g},{self.right:g},{self.bottom:g}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the objects that are found.

    Attributes:
        keep: points on the objects that are kept, and no others are; without any, all but the ignored ones.
        ignore: an object is left out if most of it lies in one of these boxes in the frame in which it is first seen.
    """

    keep: tuple[WantedPoint, ...] = ()
    ignore: tuple[IgnoredBox, ...] = ()

    @classmethod
    def parse(cls, keep: "Iterable[Spot]" = (), ignore: "Iterable[Spot]" = ()) -> "Wanted | None":
        """Read what was given; None for nothing.

        Args:
            keep: "X,Y" or "X,Y@TIME" each, or (x, y) or (x, y, seconds); TIME is seconds, mm:ss or hh:mm:ss.
            ignore: "LEFT,TOP,RIGHT,BOTTOM" each, or four numbers.

        Raises:
            OptionError: one makes no sense.
        """
        made = cls(tuple(_wanted_point(text) for text in keep), tuple(_ignored_box(text) for text in ignore))
        return made if made.keep or made.ignore else None

    def check_size(self, width: int, height: int) -> None:
        """Refuse what lies outside of frames of this size.

        Raises:
            OptionError: it does.
        """
        for point in self.keep:
            if not (0 <= point.x < width and 0 <= point.y < height):
                raise OptionError(f"--keep {point} is outside of the frame, which is {width}x{height}")
        for box in self.ignore:
            if box.left >= width or box.top >= height:
                raise OptionError(f"--ignore {box} is outside of the frame, which is {width}x{height}")


def _coordinates(text: "Spot", count: tuple[int, ...]) -> tuple[float, ...]:
    parts: Iterable[str | float] = text.split(",") if isinstance(text, str) else text
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    return numbers if len(numbers) in count and all(math.isfinite(number) for number in numbers) else ()


def _wanted_point(text: "Spot") -> WantedPoint:
    place, _, time = text.partition("@") if isinstance(text, str) else (text, "", "")
    numbers = _coordinates(place, (2, 3) if isinstance(text, tuple) else (2,))
    when = numbers[2] if len(numbers) == 3 else None
    if isinstance(text, str) and "@" in text:
        when = _clock_seconds(time)
    if not numbers or min(numbers) < 0 or (when is not None and not when >= 0):
        raise OptionError(f"--keep '{text}' is no point: give X,Y in pixels, or X,Y@TIME, such as 640,360@2.5")
    return WantedPoint(numbers[0], numbers[1], when)


def _clock_seconds(text: str) -> float:
    parts = _coordinates(text.replace(":", ","), (1, 2, 3))
    if not parts or min(parts) < 0 or any(part >= 60 for part in parts[1:]):
        return -1.0
    return sum(part * 60.0**place for place, part in enumerate(reversed(parts)))


def _ignored_box(text: "Spot") -> IgnoredBox:
    numbers = _coordinates(text, (4,))
    if not numbers or min(numbers) < 0 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise OptionError(f"--ignore '{text}' is no box: give LEFT,TOP,RIGHT,BOTTOM in pixels, such as 0,0,200,80")
    return IgnoredBox(*numbers)
