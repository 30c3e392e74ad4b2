"""A look at what a recipe will feed the network: one row a clip, objects tinted in every second frame."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vsalient.training.data import ClipStream


def contact_sheet(stream: ClipStream, rows: int = 8, *, cell_width: int = 224, cells: int = 8) -> Image.Image:
    """The first `rows` clips of a stream, up to `cells` frames of each, as one RGB picture."""
    lines: list[NDArray[np.uint8]] = []
    for number in range(rows):
        frames, masks = stream.clip(number)
        shown = np.linspace(0, len(frames) - 1, min(cells, len(frames))).round().astype(int)
        line = [_cell(frames[i], masks[i], cell_width, tint=slot % 2 == 1) for slot, i in enumerate(shown)]
        if len(line) == 1:
            line.append(_cell(frames[0], masks[0], cell_width, tint=True))
        lines.append(np.concatenate(line, axis=1))
    return Image.fromarray(np.concatenate(lines, axis=0))


def _cell(frame: NDArray[np.uint8], mask: NDArray[np.uint8], width: int, *, tint: bool) -> NDArray[np.uint8]:
    picture = frame
    if tint:
        red = (frame // 2 + np.array([127, 0, 0], np.uint8)).astype(np.uint8)
        picture = np.where((mask > 127)[..., None], red, frame)
    height = max(1, round(frame.shape[0] * width / frame.shape[1]))
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
