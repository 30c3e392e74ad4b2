"""Stage times of flow, motion prior and dense CRF at 854×480, laid out as SCNN's Table II.

Run: python benchmarks/priors.py [--frames 12] [--threads 1]. Synthetic frames: camera motion and one moving square.
"""

import argparse
import time
from fractions import Fraction

import cv2
import numpy as np

from vsalient.priors import prior_stream
from vsalient.segment.crf import DenseCrf
from vsalient.types import Frame

PAPER = {"flow": 36.720, "prior": 0.823, "crf": 0.283}
PAPER_FAST = {"flow": 0.739, "prior": 0.823, "crf": 0.283}
NAMES = {"flow": "Optical flow computation", "prior": "Temporal prior generation", "crf": "Saliency refinement"}


def scene(frames: int, height: int = 480, width: int = 854) -> list[Frame]:
    """A textured background that pans, and a square that moves against it."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (height // 4 + 60, width // 4 + 60, 3), np.uint8)
    ground = cv2.GaussianBlur(cv2.resize(noise, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    square = cv2.resize(generator.integers(0, 255, (30, 30, 3), np.uint8), (150, 150))
    made = []
    for t in range(frames):
        pixels = ground[2 * t : 2 * t + height, 3 * t : 3 * t + width].copy()
        pixels[150:300, 200 + 6 * t : 350 + 6 * t] = square
        made.append(Frame(pixels, t, t, Fraction(1, 25)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    stream, crf = prior_stream(("motion",)), DenseCrf()
    frames = scene(options.frames + 1)
    stream.push(frames[0])
    stream.push(frames[1])  # the first pair pays for imports
    stream.seconds = dict.fromkeys(stream.seconds, 0.0)
    stream.frames, refined, begun = 0, 0.0, time.process_time()
    for frame in frames[2:]:
        ((index, priors),) = stream.push(frame)
        start = time.perf_counter()
        crf(frames[index].pixels, priors["motion"])
        refined += time.perf_counter() - start
    seconds = {stage: total / stream.frames for stage, total in stream.seconds.items()}
    seconds["crf"] = refined / stream.frames
    residual = prior_stream(("residual", "residual_speed"))
    for frame in frames:
        residual.push(frame)
    light = {stage: total / residual.frames for stage, total in residual.seconds.items()}
    whole, cpu = sum(seconds.values()), (time.process_time() - begun) / stream.frames
    print(f"854x480, {stream.frames} frames, {options.threads} thread(s); SCNN's columns from its Table II")
    print(f"{'Component':28}{'Time (s)':>10}{'Ratio (%)':>11}{'SCNN (s)':>11}{'SCNNf (s)':>11}")
    for stage, name in NAMES.items():
        ratio = 100 * seconds[stage] / whole
        print(f"{name:28}{seconds[stage]:10.3f}{ratio:11.1f}{PAPER[stage]:11.3f}{PAPER_FAST[stage]:11.3f}")
    print(f"{'Total':28}{whole:10.3f}{100:11.1f}{sum(PAPER.values()):11.3f}{sum(PAPER_FAST.values()):11.3f}")
    print(f"Residual maps (3dc-lite): flow {light['flow']:.4f} s, maps {light['prior']:.4f} s")
    print(f"CPU seconds a frame: {cpu:.3f} (below the total where other work shares the cores)")


if __name__ == "__main__":
    main()
