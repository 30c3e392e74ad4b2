"""Milliseconds a frame of each step from map to mask at 854×480 on one core.

Run: python benchmarks/segment.py [--frames 12] [--data davis16-train-00.tar]. Without data the frames are synthetic.
"""

import argparse
import io
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vsalient.segment import rle
from vsalient.segment.boundary import BoundarySnap
from vsalient.segment.cleanup import TemporalMedian, fill_holes, keep_largest, remove_specks
from vsalient.segment.crf import DenseCrf
from vsalient.segment.measure import measure
from vsalient.segment.objects import InstanceTracker
from vsalient.segment.thresholds import parse_threshold
from vsalient.types import Pixels, SaliencyArray

SIZE = (854, 480)
Item = tuple[Pixels, SaliencyArray]
LIMITS = {"thresholds": 2.0, "boundary": 250.0, "crf": 60.0}


def soft(mask: np.ndarray, rng: np.random.Generator) -> SaliencyArray:
    """A map as a network might give it: blurred edges, uneven inside, faint noise outside."""
    noise = cv2.GaussianBlur(rng.standard_normal(mask.shape).astype(np.float32), (0, 0), 20)
    logit = (cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 9) - 0.5) * 8 + noise / noise.std() * 0.8
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def synthetic(frames: int) -> list[Item]:
    """A textured ellipse that moves over a textured ground."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    ground = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    items = []
    for index in range(frames):
        mask = np.zeros((height, width), np.uint8)
        cv2.ellipse(mask, (300 + 6 * index, 240), (150, 110), 20, 0, 360, 1, -1)
        pixels = np.where(mask[..., None] > 0, ground[::-1] // 2 + 90, ground).astype(np.int16)
        pixels += rng.normal(0, 5, pixels.shape).astype(np.int16)
        items.append((pixels.clip(0, 255).astype(np.uint8), soft(mask, rng)))
    return items


def real(archive: Path, frames: int) -> list[Item]:
    """Frames of many sequences, enlarged, with softened ground truth in place of maps."""
    rng = np.random.default_rng(0)
    items = []
    with tarfile.open(archive) as tar:
        names = [name for name in tar.getnames() if re.search(r"/000(05|25)\.webp$", name)]
        for name in names[:: max(1, len(names) // frames)][:frames]:
            pixels = np.asarray(Image.open(io.BytesIO(tar.extractfile(name).read())).convert("RGB"))
            truth = np.asarray(Image.open(io.BytesIO(tar.extractfile(name[:-4] + "png").read())).convert("L")) > 127
            large = cv2.resize(truth.astype(np.uint8), SIZE, interpolation=cv2.INTER_NEAREST)
            items.append((cv2.resize(pixels, SIZE, interpolation=cv2.INTER_CUBIC), soft(large, rng)))
    return items


def steps() -> dict[str, Callable[[int, Pixels, SaliencyArray], object]]:
    """Name -> what is timed, given a frame's index, pixels and map."""
    found: dict[str, Callable[[int, Pixels, SaliencyArray], object]] = {}
    thresholds = {text: parse_threshold(text) for text in ("adaptive", "otsu", "fixed:0.5", "hysteresis:0.3,0.7")}
    thresholds["adaptive, clip of 4"] = parse_threshold("adaptive", scope="clip", clip_length=4)
    for text, threshold in thresholds.items():
        found[f"threshold {text}"] = lambda i, p, s, t=threshold: t.push(i, s)
    snap, crf, median, tracker = BoundarySnap(), DenseCrf(), TemporalMedian(5), InstanceTracker()
    found["refine boundary"] = lambda i, p, s: snap(p, s >= 0.5)
    found["refine crf"] = lambda i, p, s: crf(p, s)
    found["min area"] = lambda i, p, s: remove_specks(s >= 0.5, 200)
    found["fill holes"] = lambda i, p, s: fill_holes(s >= 0.5)
    found["largest 1"] = lambda i, p, s: keep_largest(s >= 0.5, 1)
    found["median of 5"] = lambda i, p, s: median.push(i, s >= 0.5)
    found["instances"] = lambda i, p, s: tracker.push(s >= 0.5, p)
    found["measures"] = lambda i, p, s: measure(s >= 0.5, s)
    found["COCO run lengths"] = lambda i, p, s: rle.encode(s >= 0.5)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    items = real(options.data, options.frames) if options.data else synthetic(options.frames)
    print(f"{len(items)} {'real' if options.data else 'synthetic'} frames of {SIZE[0]}x{SIZE[1]}, one thread")
    print(f"{'step':34}{'median ms':>10}{'worst ms':>10}{'limit':>8}")
    for name, step in steps().items():
        step(-1, *items[0])  # imports and tables
        times = []
        for index, (pixels, saliency) in enumerate(items):
            start = time.process_time()
            step(index, pixels, saliency)
            times.append(1e3 * (time.process_time() - start))
        key = "thresholds" if name.startswith("threshold") else name.removeprefix("refine ")
        limit = f"{LIMITS[key]:.0f}" if key in LIMITS else ""
        print(f"{name:34}{np.median(times):10.2f}{max(times):10.2f}{limit:>8}")


if __name__ == "__main__":
    main()
