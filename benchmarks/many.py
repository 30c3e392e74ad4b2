"""Many videos under fire: workers that start at random times on one folder, some of them killed; then what came out.

    python benchmarks/many.py                        300 clips, 6 workers, 10 SIGKILLs
    python benchmarks/many.py --jobs                 200 clips of 2 s: --jobs 2 beside one process, taken in turns

Every output must be there once and whole, nothing half-written may be left, and the manifests must be complete.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np

VSALIENT = [sys.executable, "-m", "vsalient"]
SMALL = ["--resolution", "exact:64x96"]


def write_clip(path: Path, frames: int, size: tuple[int, int] = (160, 120)) -> None:
    """A square that moves over noise."""
    ground = np.random.default_rng(0).integers(60, 160, (size[1], size[0], 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            picture = ground.copy()
            left = 2 * number % (size[0] - 40)
            picture[40:80, left : left + 40] = (230, 30, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def clips(folder: Path, count: int, frames: int) -> None:
    """One clip under many names."""
    folder.mkdir()
    write_clip(folder / "00000.mp4", frames)
    for number in range(1, count):
        (folder / f"{number:05}.mp4").hardlink_to(folder / "00000.mp4")


def frames_of(path: Path) -> int:
    """Decoded frames."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def under_fire(place: Path, count: int, workers: int, kills: int, seed: int) -> bool:
    """Start, kill, start again; say what came out."""
    choose = random.Random(seed)
    clips(place / "in", count, 10)
    command = [*VSALIENT, "predict", "in", "-o", "out", "--claim", "--claim-timeout", "20", "-q", *SMALL]
    command += ["--manifest", "run-{pid}.jsonl"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VSALIENT_ENGINE": "torch"}  # nothing to compile at each start
    began = time.monotonic()
    crew: list[subprocess.Popen[bytes]] = []
    codes: Counter[int] = Counter()

    def start() -> None:
        crew.append(subprocess.Popen(command, cwd=place, env=environment))

    def made() -> int:
        return len(list((place / "out").glob("*.mp4")))

    for _ in range(workers):
        start()
        time.sleep(choose.uniform(0, 4))
    for kill in range(kills):
        # Spread over the work: the k-th when about k / (kills + 1) of it is done.
        while made() < count * (kill + 1) / (kills + 2) and any(process.poll() is None for process in crew):
            time.sleep(0.1)
        time.sleep(choose.uniform(0, 1))
        victim = choose.choice([process for process in crew if process.poll() is None])
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        start()
    for process in crew:
        codes[process.wait()] += 1
    seconds = time.monotonic() - began
    merged = subprocess.run(
        [*VSALIENT, "merge", "--json", "--inputs", "in", *sorted(p.name for p in place.glob("run-*.jsonl"))],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    figures = json.loads(merged.stdout)
    names = sorted(path.name for path in (place / "out").glob("*.mp4"))
    whole = names == [f"{number:05}_saliency.mp4" for number in range(count)]
    whole = whole and all(frames_of(place / "out" / name) == 10 for name in names)
    left = [path.name for path in (place / "out").iterdir() if path.name.startswith(".vsalient-claims") is False]
    left = [name for name in left if name.startswith(".")]
    print(f"{count} clips, {workers} workers, {kills} SIGKILLs: {seconds:.0f} s, exit codes {dict(codes)}")
    print(f"outputs once and whole: {whole}; half-written left: {left}")
    print(f"manifests: {figures['states']}, missing {len(figures['missing'])}, done twice {len(figures['done_twice'])}")
    return whole and not left and not figures["missing"] and figures["states"] == {"done": count}


def jobs(place: Path, count: int, rounds: int) -> None:
    """Wall time of --jobs 2 and of one process, in turns."""
    clips(place / "in", count, 50)
    times: dict[str, list[float]] = {"1": [], "2": []}
    for turn in range(rounds):
        for number in ("1", "2") if turn % 2 else ("2", "1"):
            began = time.monotonic()
            command = [*VSALIENT, "predict", "in", "-o", f"out-{number}-{turn}", "-q", "--jobs", number]
            subprocess.run(command, cwd=place, check=True)
            times[number].append(time.monotonic() - began)
            print(f"--jobs {number}: {times[number][-1]:.1f} s")
    ratios = [one / two for one, two in zip(times["1"], times["2"], strict=True)]
    print(f"--jobs 2 is {np.median(ratios):.2f} times as fast as one process (median of {rounds})")


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.jobs:
            jobs(Path(folder), options.clips or 200, options.rounds)
            return 0
        return int(not under_fire(Path(folder), options.clips or 300, options.workers, options.kills, options.seed))


if __name__ == "__main__":
    sys.exit(main())
