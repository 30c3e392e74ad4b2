"""Small data sets on disk: moving discs, predictions that are a little off."""

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (48, 64)
DAVIS_PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * (3 * 252) + [224, 224, 192]


def disc(frame: int, shift: int = 0, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A white disc that wanders."""
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, (20 + frame % 20 + shift, 22 + shift), 11, 255, -1)
    return mask


def soft(frame: int, shift: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A blurred, noisy disc."""
    noise = np.random.default_rng(frame + 100 * shift).integers(0, 40, size).astype(np.uint8)
    return cv2.add(cv2.GaussianBlur(disc(frame, shift, size), (5, 5), 0), noise)


def write(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_labels(path: Path, labels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels, "P")
    image.putpalette(DAVIS_PALETTE)
    image.save(path)
    return path


def make_set(root: Path, sequences: dict[str, Iterable[int]], *, shifts: dict[str, int] | None = None) -> None:
    """Write root/gt/SEQUENCE/00000.png and root/NAME/SEQUENCE/00000.png for each (NAME, shift)."""
    for sequence, frames in sequences.items():
        for frame in frames:
            write(root / "gt" / sequence / f"{frame:05d}.png", disc(frame))
            for name, shift in (shifts or {"pred": 2}).items():
                write(root / name / sequence / f"{frame:05d}.png", soft(frame, shift))


def write_gray_video(path: Path, pictures: Iterable[NDArray[np.uint8]]) -> Path:
    """A lossless gray video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = None
        for pixels in pictures:
            if stream is None:
                stream = out.add_stream("ffv1", rate=25)
                stream.height, stream.width = pixels.shape
                stream.pix_fmt = "gray"
                stream.codec_context.color_range = 2
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        assert stream is not None
        out.mux(stream.encode(None))
    return path
