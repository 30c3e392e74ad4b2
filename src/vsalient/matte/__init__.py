"""Cut-outs that an editor keeps: a matte, edges at the frame's own resolution, and the object's own colours."""

from vsalient.matte.matter import Matte, Matter
from vsalient.matte.options import DEFAULT_STYLE, MATTE_STYLES, MatteOptions, MatteStyle, parse_levels

__all__ = ["DEFAULT_STYLE", "MATTE_STYLES", "Matte", "MatteOptions", "MatteStyle", "Matter", "parse_levels"]
