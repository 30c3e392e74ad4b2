"""Small data sets in the layouts that training reads, drawn on the fly: a disk that moves over noise."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)


def pair(position: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One RGB frame and its mask (0 or 255): a bright disk, `position` pixels to the right of the left third."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    inside = (y - height // 2) ** 2 + (x - width // 3 - position) ** 2 < 100
    frame = np.random.default_rng(seed).integers(0, 90, (height, width, 3)).astype(np.uint8)
    frame[inside] = (240, 200, 80)
    return frame, np.where(inside, 255, 0).astype(np.uint8)


def encode(array: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def shard(path: Path, *, stills: int = 3, videos: int = 2, frames: int = 6) -> Path:
    """A tar with `still0.webp`, … and `clip0/00000.webp`, … beside their masks."""
    with tarfile.open(path, "w") as tar:
        entries = [(f"still{i}", pair(3 * i, i)) for i in range(stills)]
        entries += [(f"clip{v}/{i:05d}", pair(2 * i, v)) for v in range(videos) for i in range(frames)]
        for key, (image, mask) in entries:
            for suffix, data in (("webp", encode(image, "WEBP")), ("png", encode(mask, "PNG"))):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def davis(path: Path, *, videos: int = 2, frames: int = 5) -> Path:
    """JPEGImages/480p/SEQ and Annotations/480p/SEQ."""
    for v in range(videos):
        images, masks = path / "JPEGImages/480p" / f"seq{v}", path / "Annotations/480p" / f"seq{v}"
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(frames):
            image, mask = pair(2 * i, v)
            (images / f"{i:05d}.jpg").write_bytes(encode(image, "JPEG"))
            (masks / f"{i:05d}.png").write_bytes(encode(mask, "PNG"))
    return path
