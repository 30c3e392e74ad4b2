"""What a matte is to be like: one record, checked before any work, and the texts that the command line takes."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from vsalient.errors import OptionError

MatteStyle = Literal["soft", "sharp", "raw"]
"""How edges are made: "soft" keeps the map's own softness where colours do not tell, "sharp" makes such edges about
two pixels wide, "raw" leaves the probability as it is."""
MATTE_STYLES: tuple[MatteStyle, ...] = get_args(MatteStyle)
DEFAULT_STYLE: MatteStyle = "sharp"

_LEVELS: dict[MatteStyle, tuple[float, float]] = {"soft": (0.2, 0.8), "sharp": (0.3, 0.7), "raw": (0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class MatteOptions:
    """How alpha is made of a saliency map.

    Attributes:
        style: see `MatteStyle`.
        levels: probabilities that become 0 and 1, what is between is stretched; None for the style's own.
        holes: see-through parts inside the object smaller than this share of the frame are filled; 0 for none.
        specks: parts of the object smaller than this share of the frame are removed; 0 for none.
        choke: pixels that the edge moves inwards, negative for outwards.
        feather: pixels over which the edge fades besides, the standard deviation of a Gaussian.
        steady: how much of the frame before is mixed in where its picture fits, along the optical flow, 0 to below 1.
        invert: cut the object away and keep the ground.
        decontaminate: estimate the object's own colours at its edge, so that no line of the old ground shows.

    Raises:
        OptionError: a value makes no sense.
    """

    style: MatteStyle = DEFAULT_STYLE
    levels: tuple[float, float] | None = None
    holes: float = 0.0005
    specks: float = 0.0005
    choke: float = 0.0
    feather: float = 0.0
    steady: float = 0.5
    invert: bool = False
    decontaminate: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if self.style not in tuple(MATTE_STYLES):
            raise OptionError(f"matte '{self.style}' is unknown: choose {', '.join(MATTE_STYLES)}")
        low, high = self.low_high
        if not (0 <= low < high <= 1):
            raise OptionError(f"levels {low:g},{high:g} are out of order: give two numbers, 0 <= LOW < HIGH <= 1")
        for name, value in (("holes", self.holes), ("specks", self.specks)):
            if not 0 <= value < 1:
                raise OptionError(f"{name} of {value:g} is no share of the frame: give 0 to below 1")
        if not abs(self.choke) <= 100:
            raise OptionError(f"a choke of {self.choke:g} pixels is not possible: give -100 to 100")
        if not 0 <= self.feather <= 100:
            raise OptionError(f"a feather of {self.feather:g} pixels is not possible: give 0 to 100")
        if not 0 <= self.steady < 1:
            raise OptionError(f"steadiness {self.steady:g} is not possible: give 0 to below 1")

    @property
    def low_high(self) -> tuple[float, float]:
        """The levels in use."""
        return _LEVELS[self.style] if self.levels is None else self.levels


def parse_levels(text: str) -> tuple[float, float]:
    """Read "0.3,0.7".

    Raises:
        OptionError: not two numbers in order, from 0 to 1.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not 0 <= low < high <= 1:
        raise OptionError(
            f"--levels '{text}' is not possible: give LOW,HIGH with 0 <= LOW < HIGH <= 1, such as 0.3,0.7"
        )
    return low, high
