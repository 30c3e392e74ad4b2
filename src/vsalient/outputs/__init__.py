"""From a result to a file: the kinds of output by name, checked, opened and written whole or not at all."""

from vsalient.outputs.kinds import KINDS, Color, Kind, Looks, MaskStyle, find_kind
from vsalient.outputs.sink import Opening, Output, check_output, open_output, opened

__all__ = [
    "KINDS",
    "Color",
    "Kind",
    "Looks",
    "MaskStyle",
    "Opening",
    "Output",
    "check_output",
    "find_kind",
    "open_output",
    "opened",
]
