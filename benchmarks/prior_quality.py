"""What residual motion is worth by itself, and what it costs: AUC and best J against true masks, CPU ms on one thread.

    python benchmarks/prior_quality.py FOLDER     a folder of sequences, each of pairs 00000.webp (or .jpg), 00000.png

Seven places a sequence, evenly spread, each with the four frames before it. J is the mean over frames at the one
threshold that is best for all of them; times are process time, the reduction to grey included.
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vsalient.priors import CarriedMean, DisFlow, residual_motion

HELD_OUT = ["bus", "dance-jump", "elephant", "hockey", "lucia", "motorbike", "rollerblade", "surf", "swing", "train"]
FLOWS = {"medium, 428 px": ("medium", 428), "light, 428 px": ("light", 428), "light, 336 px": ("light", 336)}
PLACES, BEFORE = 7, 4
THRESHOLDS = np.linspace(0.02, 0.98, 49)


@dataclass
class Tally:
    """Scores of one kind of map."""

    overlaps: list[NDArray[np.float64]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)

    def add(self, values: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Count one frame's map (h, w) against its mask (H, W)."""
        values = cv2.resize(values, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        inside, outside = (np.sort(values[part]) for part in (mask, ~mask))
        hits, misses = (len(v) - np.searchsorted(v, THRESHOLDS, "right") for v in (inside, outside))
        self.overlaps.append(hits / np.maximum(len(inside) + misses, 1))
        if len(inside) and len(outside):
            self.areas.append(float(np.searchsorted(outside, inside).mean() / len(outside)))

    def __str__(self) -> str:
        return f"J {np.mean(self.overlaps, axis=0).max():.3f}  AUC {np.mean(self.areas):.3f}"


def windows(folder: Path) -> list[list[Path]]:
    """The pictures of every window: those before the place, the place itself, and the one after it."""
    found = []
    for sequence in sorted(p for p in folder.rglob("*") if p.is_dir() and p.name in HELD_OUT):
        pictures = sorted(p for p in sequence.iterdir() if p.suffix in (".webp", ".jpg"))
        for place in np.linspace(BEFORE, len(pictures) - 2, PLACES).astype(int):
            found.append(pictures[place - BEFORE : place + 2])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=0, help="bring the pictures to this width first, as 854")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    flows = {name: DisFlow(preset, longest=longest) for name, (preset, longest) in FLOWS.items()}
    momentary, carried = ({name: Tally() for name in FLOWS} for _ in range(2))
    spent = {name: np.zeros(2) for name in FLOWS}
    count = 0
    for paths in windows(options.folder):
        pixels = [np.asarray(Image.open(p).convert("RGB")) for p in paths]
        if options.width:
            size = options.width, round(pixels[0].shape[0] * options.width / pixels[0].shape[1])
            pixels = [cv2.resize(p, size, interpolation=cv2.INTER_CUBIC) for p in pixels]
        mask = np.asarray(Image.open(paths[BEFORE].with_suffix(".png")).convert("L")) > 127
        for name, flow in flows.items():
            mean, ahead, second = CarriedMean(), None, flow.grey(pixels[0])
            for number in range(len(paths) - 1):
                times = [time.process_time()]
                first, second = second, flow.grey(pixels[number + 1])
                field_ = flow.between(first, second)
                times.append(time.process_time())
                found = residual_motion(field_)
                average = mean.push(found.relative, None if ahead is None else -ahead)
                ahead = found.flow
                times.append(time.process_time())
                spent[name] += np.diff(times)
            momentary[name].add(found.relative, mask)
            carried[name].add(average, mask)
        count += len(paths) - 1
    print(f"{len(momentary[next(iter(FLOWS))].overlaps)} frames")
    for name in FLOWS:
        flow_ms, map_ms = 1000 * spent[name] / count
        print(f"{name:16} flow {flow_ms:5.1f} ms, maps {map_ms:4.1f} ms", end="   ")
        print(f"of a moment {momentary[name]}   carried {carried[name]}")


if __name__ == "__main__":
    main()
