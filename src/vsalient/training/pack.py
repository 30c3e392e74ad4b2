"""Data sets as tar shards of a size that travels: only what training needs, at the size that it needs."""

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import DataError
from vsalient.files import StagedFile
from vsalient.training.sources import PairSource

BLOCK = 512  # of a tar; each file begins a new one and is told of in one


@dataclass(frozen=True)
class Packed:
    """A shard that was written: its file, what it holds, its bytes."""

    path: Path
    stills: int
    videos: int
    frames: int
    size: int


def pack(
    source: PairSource,
    out: Path,
    name: str,
    *,
    longest: int = 512,
    quality: int = 90,
    limit: int = 55 * 2**20,
    report: Callable[[int], None] = lambda _: None,
) -> list[Packed]:
    """Write a source as `NAME-00.tar`, `NAME-01.tar`, …, each a data source of its own.

    Stills are dealt out evenly, so that any part is a fair sample; a video stays whole. The order within and between
    parts depends on nothing but the source.

    Args:
        source: what to pack.
        out: folder of the shards.
        name: how their names begin.
        longest: pictures are reduced to this longest side; smaller ones stay as they are.
        quality: of WebP; masks are PNG, which loses nothing.
        limit: largest size of a shard in bytes.
        report: is told the number of pairs written so far.

    Raises:
        DataError: a pair cannot be read, or one video alone is larger than `limit`.
        OutputError: the place cannot be written to.
    """
    members, done = [], 0
    for sequence, label in enumerate(source.names):
        files = []
        for index in range(source.length(sequence)):
            image, mask = source.read(sequence, index)
            # A slash makes a sequence of what stands before it.
            key = label.replace("/", "_") if source.length(sequence) == 1 else f"{label}/{index:05d}"
            soft = ".soft" if source.is_soft(sequence, index) else ""
            files.append((f"{key}.webp", _webp(_reduced(image, longest), quality)))
            if source.is_labelled(sequence, index):
                files.append((f"{key}{soft}.png", _png(_reduced(mask, longest, mask=not soft))))
            done += 1
            report(done)
        members.append((files, sum(BLOCK + -(-len(data) // BLOCK) * BLOCK for _, data in files)))
    room = limit - 20 * BLOCK  # a tar ends with empty blocks, up to 20
    too_large = next((files[0][0] for files, size in members if size > room), None)
    if too_large:
        raise DataError(
            f"{source.origin}: {too_large} belongs to a video that is larger than a part; use a larger size"
        )
    parts: list[list[list[tuple[str, bytes]]]] = [[] for _ in range(-(-sum(s for _, s in members) // room))]
    filled = [0] * len(parts)
    for files, size in sorted(members, key=lambda member: -member[1]):
        place = min(range(len(parts)), key=lambda p: filled[p])
        if filled[place] + size > room:
            parts.append([])
            filled.append(0)
            place = len(parts) - 1
        parts[place].append(files)
        filled[place] += size
    return [_write(out / f"{name}-{number:02d}.tar", part) for number, part in enumerate(parts)]


def _write(path: Path, sequences: Sequence[list[tuple[str, bytes]]]) -> Packed:
    staged = StagedFile(path)
    try:
        with tarfile.open(staged.place, "w") as tar:
            for files in sorted(sequences, key=lambda files: files[0][0]):
                for name, data in files:
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        staged.commit()
    finally:
        staged.discard()
    videos = sum(len(files) > 2 for files in sequences)
    frames = sum(name.endswith(".webp") for files in sequences if len(files) > 2 for name, _ in files)
    return Packed(path, len(sequences) - videos, videos, frames, path.stat().st_size)


def _reduced(picture: NDArray[np.uint8], longest: int, *, mask: bool = False) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.where(small > 127, np.uint8(255), np.uint8(0)) if mask else small


def _webp(picture: NDArray[np.uint8], quality: int) -> bytes:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def _png(mask: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", mask)[1].tobytes()
