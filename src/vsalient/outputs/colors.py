"""Colours by name."""

from vsalient.outputs.looks import Color


def parse_color(text: str) -> Color:
    """Read a colour's name or #rrggbb.

    Raises:
        ValueError: it is none.
    """
    from PIL import ImageColor

    color = bytes(ImageColor.getrgb(text)[:3])  # bytes refuse rgb(1000,0,0)
    return color[0], color[1], color[2]
