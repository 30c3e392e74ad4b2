"""What the metrics cost a frame, and what the references cost, on one core.

    python benchmarks/metrics.py [--frames 20] [--size 854x480]

The references are PySODMetrics (`pip install pysodmetrics`) and the code of davis2017-evaluation as trackeval carries
it (`pip install trackeval`); without them only our own column is printed. Both sides get the same decoded arrays, and
their numbers are compared as well.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient import metrics

Frame = tuple[NDArray[np.uint8], NDArray[np.bool_]]
FAST = frozenset(("MAE", "Fmax", "Fadp_musigma", "maxF", "meanF", "adpF", "S", "E", "J", "F"))


def make_frames(count: int, width: int, height: int) -> list[Frame]:
    """Return soft maps that are a little off their masks: two moving ellipses, blurred, with noise."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(count):
        truth = np.zeros((height, width), np.uint8)
        centre = (width // 3 + 5 * number, height // 2)
        cv2.ellipse(truth, centre, (width // 7, height // 5), 3 * number, 0, 360, 255, -1)
        cv2.ellipse(truth, (centre[0] + width // 6, height // 3), (width // 20, height // 6), 40, 0, 360, 255, -1)
        saliency = cv2.GaussianBlur(np.roll(truth, (6, -4), (0, 1)), (33, 33), 0)
        saliency = cv2.add(saliency, rng.integers(0, 20, truth.shape, dtype=np.uint8))
        frames.append((saliency, truth > 128))
    return frames


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def reference_calls() -> dict[str, Callable[[NDArray[np.uint8], NDArray[np.bool_]], Any]]:
    """Return metric -> reference implementation, for what is installed."""
    calls: dict[str, Callable[[NDArray[np.uint8], NDArray[np.bool_]], Any]] = {}
    try:
        import py_sod_metrics as sod
    except ImportError:
        print("PySODMetrics is not installed: no column for it\n")
    else:

        def step(kind: Any, attribute: str) -> Callable[[NDArray[np.uint8], NDArray[np.bool_]], Any]:
            def call(saliency: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Any:
                measure = kind()
                measure.step(saliency, truth.view(np.uint8) * np.uint8(255))
                return getattr(measure, attribute)[0]

            return call

        calls |= {
            "MAE": step(sod.MAE, "maes"),
            "F curves": step(sod.Fmeasure, "changeable_fms"),
            "S": step(sod.Smeasure, "sms"),
            "E curves": step(sod.Emeasure, "changeable_ems"),
            "wF": step(sod.WeightedFmeasure, "weighted_fms"),
        }
    try:
        from pycocotools import mask as mask_utils
        from trackeval.metrics.j_and_f import JAndF
    except ImportError:
        print("trackeval is not installed: no column for it\n")
    else:

        def encode(mask: NDArray[np.bool_]) -> Any:
            return mask_utils.encode(np.asfortranarray(mask.view(np.uint8)))

        def jaccard(saliency: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Any:
            mask = saliency >= 128
            return np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)

        def boundary(saliency: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Any:
            return JAndF._compute_f([[encode(truth)]], [[encode(saliency >= 128)]], 0, 0, 0.008)[0]

        calls |= {"J": jaccard, "boundary F": boundary}
    return calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", default="854x480")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    frames = make_frames(options.frames, width, height)
    references = reference_calls()
    ours: dict[str, tuple[frozenset[str], Callable[[metrics.FrameScores], Any]]] = {
        # The reference normalises before its MAE; these maps span 0..255, so the numbers agree.
        "MAE": (frozenset(("MAE",)), lambda s: s.values["MAE"]),
        "F curves": (frozenset(("maxF", "adpF")), lambda s: s.curves["sod_f"][::-1]),
        "S": (frozenset(("S",)), lambda s: s.values["S"]),
        "E curves": (frozenset(("E",)), lambda s: s.curves["e"][::-1]),
        "J": (frozenset(("J",)), lambda s: s.values["J"]),
        "boundary F": (frozenset(("F",)), lambda s: s.values["F"]),
        "wF": (frozenset(("wF",)), lambda s: s.values["wF"]),
    }

    def score(wanted: frozenset[str]) -> list[metrics.FrameScores]:
        return [metrics.score_frame(saliency, truth, metrics=wanted) for saliency, truth in frames]

    print(f"{width}x{height}, {len(frames)} frames, one core, ms a frame\n")
    print(f"{'':28}{'vsalient':>10}{'reference':>11}{'ratio':>8}{'largest difference':>21}")
    total = 0.0
    for name, (wanted, pick) in ours.items():
        mine = milliseconds(lambda wanted=wanted: score(wanted), 3) / len(frames)
        call = references.get(name)
        if call is None:
            print(f"{name + ' alone':28}{mine:10.2f}")
            continue
        theirs = milliseconds(lambda call=call: [call(*frame) for frame in frames], 1) / len(frames)
        pairs = zip(score(wanted), (call(*frame) for frame in frames), strict=True)
        worst = max(float(np.max(np.abs(pick(scores) - value))) for scores, value in pairs)
        print(f"{name + ' alone':28}{mine:10.2f}{theirs:11.2f}{theirs / mine:7.1f}x{worst:21.1e}")
        total += theirs if name != "wF" else 0.0
    fast = milliseconds(lambda: score(FAST), 5) / len(frames)
    print(f"\n{'all but wF, in one pass':28}{fast:10.2f}", end="")
    print(f"{total:11.2f}{total / fast:7.1f}x   (goal: at most 2.5 ms at 854x480)" if total else "")


if __name__ == "__main__":
    main()
