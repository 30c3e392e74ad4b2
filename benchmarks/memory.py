"""Peak memory does not grow with a video's length: the same 720p footage at two lengths, each in a fresh process.

    python benchmarks/memory.py                                10 s and 3 min
    python benchmarks/memory.py --seconds 5 20 -- --resolution area:128x224

Prints both peaks and their ratio; the exit code is 1 when they differ by more than 5 %.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from footage import write_footage
from predict import measured

RATE = 25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs=2, default=(10, 180), metavar=("SHORT", "LONG"))
    parser.add_argument("--size", default="1280x720", help="width x height")
    parser.add_argument("--model", default="3dc-lite")
    parser.add_argument("rest", nargs="*", help="further options of vsalient predict")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    short, long = options.seconds
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (short, long):
            clip = Path(folder) / f"{seconds}s.mp4"
            write_footage(clip, short * RATE, width, height, repeat=max(1, round(seconds / short)))
            command = [sys.executable, "-m", "vsalient", "predict", str(clip), "-o", folder, "-m", options.model, "-q"]
            _, wall, peak = measured([*command, *options.rest])
            print(f"{seconds:5} s of {options.size}: peak {peak:.0f} MiB, {wall:.0f} s of work", flush=True)
            peaks.append(peak)
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f}")
    return int(ratio > 1.05)


if __name__ == "__main__":
    sys.exit(main())
