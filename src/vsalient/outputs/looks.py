"""How outputs look: what may be chosen, whichever kinds are written."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vsalient.matte.options import MatteOptions

Color = tuple[int, int, int]
"""Red, green, blue, 0-255."""
MaskStyle = Literal["gray", "palette"]
GREEN: Color = (0, 177, 64)
"""The usual chroma-key green."""
TINT: Color = (255, 45, 85)
"""The overlay's colour: rare in nature, so it reads on grass, water, skin and asphalt."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose of an encoding; None for the usual.

    Attributes:
        codec: one of `vsalient.outputs.encodings.CODECS`.
        quality: the encoder's constant quality, 0 is best; 18 to 28 is usual.
        preset: the encoder's own name of how hard it works.
        bits: 8, or 10 for overlay, contours, alpha and fill of films, which then keep the film's colours and tags.
    """

    codec: str | None = None
    quality: float | None = None
    preset: str | None = None
    bits: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How outputs look; each kind reads what concerns it.

    Attributes:
        audio: carry the sound into videos that have it.
        mask_style: how folders of masks are stored: 0 and 255 in gray, or DAVIS's palette with 0 and 1, or with the
            numbers of the objects where there are any.
        tint: colour of the overlay and of contours.
        background: colour behind the foreground.
        behind: a picture, film, colour or "blur:25" behind the foreground, as `parse_background` reads it; None for
            the colour.
        matte: how alpha is made in alpha, foreground, cutout, matte and fill; None for the usual.
        encoding: codec, quality and preset that were chosen; None for the usual.
    """

    audio: bool = True
    mask_style: MaskStyle = "gray"
    tint: Color = TINT
    background: Color = GREEN
    behind: str | None = None
    matte: "MatteOptions | None" = None
    encoding: Choice | None = None

    @property
    def deep(self) -> bool:
        """Whether 10 bits were asked for."""
        return self.encoding is not None and self.encoding.bits == 10
