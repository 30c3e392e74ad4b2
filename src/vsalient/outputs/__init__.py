"""From a result to a file: the kinds of output by name, checked, opened and written whole or not at all."""

from vsalient.outputs.kinds import KINDS, Kind, find_kind
from vsalient.outputs.looks import Color, Looks, MaskStyle
from vsalient.outputs.output import Opening, Output
from vsalient.outputs.sink import check_output, open_output, opened

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
