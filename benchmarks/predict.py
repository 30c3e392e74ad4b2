"""`vsalient predict` end to end: frames a second, seconds to the first map, peak memory, start-up of the help.

    python benchmarks/predict.py                               a generated 854x480 clip
    python benchmarks/predict.py --clip my.mp4 --model 3dc-seg -- --overlap 7 --write overlay

Every figure comes from fresh processes, so that loading counts; what stands after `--` goes to `vsalient predict`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from footage import write_footage

FIRST_MAP = (
    "import sys, time, vsalient\n"
    "maps = vsalient.predict(sys.argv[1], model=sys.argv[2])\n"
    "next(maps); print(time.time() - float(sys.argv[3])); maps.close()"
)


def measured(command: list[str]) -> tuple[str, float, float]:
    """Run a command: its stdout, wall seconds, peak resident memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return output, seconds, usage.ru_maxrss / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, help="a video; default: one is generated")
    parser.add_argument("--size", default="854x480", help="width x height of the generated clip")
    parser.add_argument("--frames", type=int, default=150, help="frames of the generated clip")
    parser.add_argument("--model", default="3dc-lite")
    parser.add_argument("rest", nargs="*", help="further options of vsalient predict")
    options = parser.parse_args()
    vsalient = [sys.executable, "-m", "vsalient"]
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip
        if clip is None:
            width, height = map(int, options.size.split("x"))
            clip = write_footage(Path(folder) / "clip.mp4", options.frames, width, height)
        help_seconds = min(measured([*vsalient, "--help"])[1] for _ in range(5))
        command = [*vsalient, "predict", str(clip), "-o", folder, "-m", options.model, "--overwrite", "--json"]
        output, wall, peak = measured([*command, *options.rest])
        summary = json.loads(output)
        first = measured([sys.executable, "-c", FIRST_MAP, str(clip), options.model, str(time.time())])[0]
    video = summary["inputs"][0]
    print(f"model              {summary['model']}: {summary['engine']}")
    print(f"procedure          {summary['procedure']}")
    print(f"frames             {video['frames']} in {video['seconds']:.2f} s, the whole process {wall:.2f} s")
    print(f"end to end         {video['frames_per_second']:.1f} frames/s (decode, model and encode together)")
    for stage, seconds in video["stage_seconds"].items():
        print(f"  {stage:16} busy {seconds:.2f} s, {1000 * seconds / video['frames']:.1f} ms a frame")
    print(f"bottleneck         {video['bottleneck']}")
    print(f"first map          {float(first):.2f} s after the process started")
    print(f"vsalient --help    {help_seconds:.2f} s")
    print(f"peak memory        {peak:.0f} MiB")


if __name__ == "__main__":
    main()
