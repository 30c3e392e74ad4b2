"""The erase list: what a person takes out of weak labels after looking at them (STAN, section 3.3)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vsalient.errors import DataError
from vsalient.types import MaskArray

_BOX = re.compile(r"(\d+),(\d+),(\d+),(\d+)")
_RANGE = re.compile(r"(?P<first>[^/]+)\.\.(?P<last>[^/]+)")


@dataclass
class Erasure:
    """One line of the list.

    Attributes:
        line: as it stands there, for messages.
        sequence: its name, "" in a flat folder.
        first, last: the frames it speaks of, both included; None for the whole sequence.
        box: (x, y, width, height) in pixels that becomes background; None to leave the frame out.
        used: whether it ever applied.
    """

    line: str
    sequence: str
    first: str | None = None
    last: str | None = None
    box: tuple[int, int, int, int] | None = None
    used: bool = False

    def covers(self, sequence: str, frame: str) -> bool:
        """Whether it speaks of this frame; ranges compare the frames' last numbers, else their names."""
        if sequence != self.sequence and sequence.rpartition("/")[2] != self.sequence:
            return False
        if self.first is None or self.last is None:
            return True
        return _key(self.first) <= _key(frame) <= _key(self.last) if self.first != self.last else frame == self.first


class EraseList:
    """Sequences and frames to leave out, and boxes to make background.

    One entry a line; `#` begins a comment, and spaces part the box from the name:

        bear                        the whole sequence
        bus/00012                   one frame
        bus/00012..00020            frames, both ends included
        camel/00003 40,60,200,80    background in x,y,width,height of this frame (or range, or sequence)

    In a flat folder a line begins with `/`: `/00012`.

    Raises:
        DataError: a line that reads otherwise.
    """

    def __init__(self, lines: Iterable[str] = (), *, origin: str = "the erase list") -> None:
        self.origin = origin
        self.entries: list[Erasure] = []
        for number, text in enumerate(lines, 1):
            line = text.partition("#")[0].strip()
            if line:
                self.entries.append(self._parse(line, number))

    def leaves_out(self, sequence: str, frame: str) -> bool:
        """Whether no label of this frame is wanted."""
        covering = [entry for entry in self.entries if entry.covers(sequence, frame)]
        for entry in covering:
            entry.used = True
        return any(entry.box is None for entry in covering)

    def clean(self, sequence: str, frame: str, mask: MaskArray) -> MaskArray:
        """The (H, W) mask with this frame's boxes made background; the mask itself where there are none."""
        boxes = [entry.box for entry in self.entries if entry.box is not None and entry.covers(sequence, frame)]
        cleaned = mask.copy() if boxes else mask
        for x, y, width, height in boxes:
            cleaned[y : y + height, x : x + width] = False
        return cleaned

    def require_used(self) -> None:
        """Complain of a line that applied to nothing: most likely a name misspelt.

        Raises:
            DataError: names the line.
        """
        idle = [entry.line for entry in self.entries if not entry.used]
        if idle:
            raise DataError(f"{self.origin}: '{idle[0]}' fits no frame of the sources; correct or remove it")

    def _parse(self, line: str, number: int) -> Erasure:
        name, _, rest = line.partition(" ")
        box = None
        if rest.strip():
            match = _BOX.fullmatch(rest.strip().replace(" ", ""))
            if match is None:
                raise DataError(f"{self.origin}, line {number}: '{rest.strip()}' is no box; write x,y,width,height")
            x, y, width, height = map(int, match.groups())
            if width < 1 or height < 1:
                raise DataError(f"{self.origin}, line {number}: the box {width}×{height} is empty")
            box = (x, y, width, height)
        if "/" not in name:
            return Erasure(line, name, box=box)
        sequence, _, frames = name.rpartition("/")
        found = _RANGE.fullmatch(frames)
        first, last = (found["first"], found["last"]) if found else (frames, frames)
        if not frames or _key(first) > _key(last):
            raise DataError(f"{self.origin}, line {number}: '{name}' names no frames; write sequence/first..last")
        return Erasure(line, sequence, first, last, box)


def _key(frame: str) -> tuple[int, str]:
    digits = re.findall(r"\d+", frame)
    return (int(digits[-1]), "") if digits else (0, frame)
