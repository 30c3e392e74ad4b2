"""Names: what ends a picture's and a video's name, natural order, and which names mean one frame."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm", ".gif"}
)
"""Endings of maps, masks and of the frames of data sets."""
VIDEOS = frozenset(
    f".{name}"
    for names in (
        "mp4 m4v mov qt 3gp 3g2 mkv webm avi divx wmv asf flv f4v mpg mpeg mpe vob ts m2ts mts mxf dv ogv ogm",
        "rm rmvb nut y4m ivf h264 264 hevc h265 265 mjpg mjpeg gif apng",
    )
    for name in names.split()
)
"""Endings of files that a folder or a glob contributes as videos; a file named by itself may be called anything."""

Key = tuple[tuple[int, int, str], ...]

_ENDING = re.compile(
    r"[_-](gt|groundtruth|masks?|sal|saliency|preds?|predictions?|maps?|annotations?|labels?)$", re.IGNORECASE
)


def natural(text: str) -> Key:
    """Sort key in which frame 2 comes before frame 10; ties between 02 and 2 go by the text."""
    # `isdecimal`: "²" is a digit too, and no number.
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part)


def bare(name: str) -> str:
    """A name without an ending such as `_gt`, `_mask` or `_saliency`."""
    return _ENDING.sub("", name)


def last_number(name: str) -> str | None:
    """The last number in a name, without leading zeros."""
    digits = re.findall(r"[0-9]+", name)
    return str(int(digits[-1])) if digits else None


def match_frames(truth: Sequence[str], prediction: Sequence[str]) -> dict[str, str]:
    """Return ground truth frame -> prediction frame.

    Names are compared as they are, then without endings like `_gt` or `_mask`, then by their last number, and the
    comparison under which most agree decides, the earlier one of equals: of 0, 1, … 10 and 00, 01, … 10 only the last
    is the same text.
    """
    comparisons: tuple[Callable[[str], str | None], ...] = (lambda name: name, bare, last_number)
    best: dict[str, str] = {}
    for key in comparisons:
        found: dict[str, str] = {}
        for name in prediction:
            value = key(name)
            if value is not None:
                # Two frames of one key would be a guess.
                found[value] = "" if value in found else name
        pairs = {name: found.get(key(name) or "", "") for name in truth}
        pairs = {name: other for name, other in pairs.items() if other}
        if len(pairs) > len(best) and len(set(pairs.values())) == len(pairs):
            best = pairs
    return best


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """Return the 0-based position in the video that each ground-truth frame's name stands for.

    Consecutive numbers start wherever they like. With gaps (every 20th frame) the count must show whether it starts
    at 0 or 1: the first number is one of them. None where names do not tell.
    """
    values = [last_number(name) for name in names]
    numbers = [int(value) for value in values if value is not None]
    if len(numbers) != len(names) or any(b <= a for a, b in pairwise(numbers)):
        return None
    if numbers[-1] - numbers[0] == len(numbers) - 1 or numbers[0] in (0, 1):
        return [number - numbers[0] for number in numbers]
    return None


def few(names: Sequence[str], most: int = 4) -> str:
    """Return the first few names, and how many more there are, for one-line errors."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
