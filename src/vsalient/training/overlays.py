"""What is burned into films and is no object of theirs: clocks, captions, logos, black borders.

They stand still while the camera moves, so that residual motion marks them; a network must have seen that they are
background. Every function takes the random generator to use.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.training.synthesis import Pair

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_TRIPLEX,
)
LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789    .,:-/!?"))
Rgb = NDArray[np.uint8]


def burn_in(rng: np.random.Generator, frames: NDArray[np.uint8], masks: NDArray[np.uint8]) -> Pair:
    """A clip with one or two overlays, which are background wherever they cover something.

    Args:
        rng: random generator.
        frames: (T, H, W, 3) uint8.
        masks: (T, H, W) uint8.

    Returns:
        New arrays of the same shapes.
    """
    pictures, truths = frames.copy(), masks.copy()
    kinds = rng.choice(4, size=int(rng.integers(1, 3)), replace=False, p=(0.3, 0.25, 0.25, 0.2))
    for kind in sorted(kinds, reverse=True):  # borders lie below text
        if kind == 3:
            _borders(rng, pictures, truths)
        else:
            (_clock, _caption, _logo)[kind](rng, pictures, truths)
    return pictures, truths


def _clock(rng: np.random.Generator, frames: Rgb, masks: Rgb) -> None:
    """A counter that runs, as cameras and test recordings carry it."""
    start, step = int(rng.integers(0, 86_400)), int(rng.integers(0, 3))
    form = int(rng.integers(3))
    texts = []
    for i in range(len(frames)):
        now = start + i * step
        hours, minutes, seconds = now // 3600 % 24, now // 60 % 60, now % 60
        texts.append(
            (
                f"{hours:02d}:{minutes:02d}:{seconds:02d}",
                f"{minutes:02d}:{seconds:02d}.{i * 4 % 100:02d}",
                f"2{now % 1000:03d}-{1 + now % 12:02d}-{1 + now % 28:02d} {hours:02d}:{minutes:02d}",
            )[form]
        )
    _write_sheet(rng, frames, masks, [[text] for text in texts], height=rng.uniform(0.03, 0.07), corner=True)


def _caption(rng: np.random.Generator, frames: Rgb, masks: Rgb) -> None:
    """One or two lines of letters at the lower or upper rim, the same in all frames."""
    lines = ["".join(rng.choice(LETTERS, int(rng.integers(6, 28)))) for _ in range(int(rng.integers(1, 3)))]
    _write_sheet(rng, frames, masks, [lines] * len(frames), height=rng.uniform(0.03, 0.08), corner=False)


def _write_sheet(
    rng: np.random.Generator, frames: Rgb, masks: Rgb, texts: list[list[str]], *, height: float, corner: bool
) -> None:
    rows, columns = masks.shape[1:]
    font = FONTS[int(rng.integers(len(FONTS)))]
    thickness = 1 if height * rows < 14 or rng.random() < 0.5 else 2
    scale = cv2.getFontScaleFromHeight(font, max(6, round(height * rows)), thickness)
    line = round(height * rows * 1.6)
    width = max(cv2.getTextSize(text, font, scale, thickness)[0][0] for lines in texts for text in lines)
    margin = round(rng.uniform(0.01, 0.06) * columns)
    free = columns - width - margin
    left = max(0, (margin if rng.random() < 0.5 else free) if corner else (columns - width) // 2)
    block = line * len(texts[0])
    top = margin if rng.random() < (0.5 if corner else 0.2) else rows - block - margin
    colour = _ink(rng)
    outlined, plate = rng.random() < 0.4, rng.random() < 0.25
    shade = tuple(int(c) for c in rng.integers(0, 256, 3))
    for frame, mask, lines in zip(frames, masks, texts, strict=True):
        drawn = np.zeros(mask.shape, np.uint8)
        if plate:
            box = (max(0, left - 4), max(0, top - 2)), (min(columns, left + width + 4), min(rows, top + block + 4))
            cv2.rectangle(frame, *box, shade, cv2.FILLED)
            cv2.rectangle(drawn, *box, 255, cv2.FILLED)
        for number, text in enumerate(lines):
            place = (left, top + line * number + round(line * 0.75))
            if outlined:
                cv2.putText(frame, text, place, font, scale, (0, 0, 0), thickness + 2, cv2.LINE_AA)
            cv2.putText(frame, text, place, font, scale, colour, thickness, cv2.LINE_AA)
            cv2.putText(drawn, text, place, font, scale, 255, thickness + 2 * outlined, cv2.LINE_AA)
        mask[drawn > 40] = 0


def _logo(rng: np.random.Generator, frames: Rgb, masks: Rgb) -> None:
    """A plain shape in a corner, as stations have it, sometimes see-through."""
    rows, columns = masks.shape[1:]
    size = max(6, round(rng.uniform(0.05, 0.14) * rows))
    margin = round(rng.uniform(0.02, 0.06) * columns)
    left = margin if rng.random() < 0.5 else columns - margin - size
    top = margin if rng.random() < 0.7 else rows - margin - size
    shape = np.zeros((rows, columns), np.uint8)
    middle = (left + size // 2, top + size // 2)
    form = int(rng.integers(4))
    if form == 0:
        cv2.circle(shape, middle, size // 2, 255, -1 if rng.random() < 0.5 else max(2, size // 6), cv2.LINE_AA)
    elif form == 1:
        cv2.rectangle(shape, (left, top), (left + size, top + size), 255, -1 if rng.random() < 0.5 else 2)
    elif form == 2:
        corners = np.array(middle) + rng.uniform(-0.5, 0.5, (int(rng.integers(3, 7)), 2)) * size
        cv2.fillPoly(shape, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    else:
        letters = "".join(rng.choice(LETTERS[:52], 2))
        scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_DUPLEX, size, 2)
        cv2.putText(shape, letters, (left, top + size), cv2.FONT_HERSHEY_DUPLEX, scale, 255, 2, cv2.LINE_AA)
    strength = np.float32(rng.uniform(0.5, 1.0))
    alpha = shape.astype(np.float32)[..., None] / np.float32(255) * strength
    ink = np.array(_ink(rng), np.float32)
    blended: NDArray[Any] = frames + (ink - frames) * alpha
    frames[:] = blended.astype(np.uint8)
    masks[:, shape > 127] = 0


def _borders(rng: np.random.Generator, frames: Rgb, masks: Rgb) -> None:
    """Bars above and below, or left and right, as of a film with another shape."""
    axis = 1 if rng.random() < 0.6 else 2
    bar = max(2, round(rng.uniform(0.04, 0.2) * frames.shape[axis]))
    shade = 0 if rng.random() < 0.8 else int(rng.integers(0, 40))
    for part in (slice(0, bar), slice(-bar, None)):
        place = (slice(None), part) if axis == 1 else (slice(None), slice(None), part)
        frames[place] = shade
        masks[place] = 0


def _ink(rng: np.random.Generator) -> tuple[int, int, int]:
    if rng.random() < 0.6:
        return (255, 255, 255)
    red, green, blue = (int(c) for c in rng.integers(0, 256, 3))
    return red, green, blue
