"""The picture of the README: a frame of the demo clip, its map, its overlay, and the object cut out.

python examples/picture.py docs/picture.jpg
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import vsalient
from vsalient.matte import Matter
from vsalient.outputs.painters import Tint, gray

CLIP = Path(__file__).parent / "demo" / "cup.mp4"
FRAME = 24
WIDTH = 460


def checks(height: int, width: int, side: int = 16) -> np.ndarray:
    """(H, W, 3) uint8: the light and dark squares that stand for transparent."""
    rows, columns = np.mgrid[:height, :width] // side
    return np.where(((rows + columns) % 2)[..., None] == 0, 236, 208).astype(np.uint8).repeat(3, axis=2)


def main(path: Path) -> None:
    """Write the picture."""
    matter = Matter()
    for result in vsalient.predict(CLIP, end=2):
        matte = matter(result.frame.pixels, result.saliency)
        if result.index == FRAME:
            break
    pixels = result.frame.pixels
    cover = matte.alpha[..., None] / np.float32(255)
    cut = (matte.colors * cover + checks(*pixels.shape[:2]) * (1 - cover)).astype(np.uint8)
    parts = [pixels, gray(result)[..., None].repeat(3, axis=2), Tint()(result), cut]
    height = round(pixels.shape[0] * WIDTH / pixels.shape[1])
    small = [cv2.resize(part, (WIDTH, height), interpolation=cv2.INTER_AREA) for part in parts]
    gap = np.full((height, 8, 3), 255, np.uint8)
    row = np.concatenate([piece for part in small for piece in (part, gap)][:-1], axis=1)
    Image.fromarray(row).save(path, quality=88, optimize=True)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
