"""How late maps are in a live run: a film paced into a pipe stands for the camera, the reader of stdout for the screen.

    python benchmarks/live.py --rate 10 [--seconds 14] [FILM] [-- options of predict]

The delay is from the moment a picture is given to the encoder of the pipe until its map has been read from stdout, of
the second half of the run: the first waits for the model to load. Give a rate that the machine keeps up with.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av

DEMO = Path(__file__).parent.parent / "examples" / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", nargs="?", type=Path, default=next(DEMO.glob("*.mp4")))
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=14)
    options, more = parser.parse_known_args()
    with av.open(str(options.film)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    count, sent = options.rate * options.seconds, {}

    def feed(pipe: Path) -> None:
        with pipe.open("wb", buffering=0) as file:
            container = av.open(file, "w", format="mpegts", container_options={"flush_packets": "1"})
            encoder = {"tune": "zerolatency", "preset": "ultrafast"}
            stream = container.add_stream("libx264", rate=options.rate, options=encoder)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            begun = time.perf_counter()
            for index in range(count):
                time.sleep(max(0.0, begun + index / options.rate - time.perf_counter()))
                frame = av.VideoFrame.from_ndarray(pictures[index % len(pictures)], "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, options.rate)
                sent[index] = time.perf_counter()
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            container.close()

    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / "camera.ts"
        os.mkfifo(pipe)
        command = [sys.executable, "-m", "vsalient", "predict", str(pipe), "--live", "-o", "-", *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            threading.Thread(target=feed, args=(pipe,), daemon=True).start()
            with av.open(child.stdout, format="nut", options={"probesize": "32", "analyzeduration": "0"}) as shown:
                delays = [time.perf_counter() - sent[index] for index, _ in enumerate(shown.decode(video=0))]
    ranked = sorted(delays[len(delays) // 2 :])
    at = [ranked[int(share * (len(ranked) - 1))] for share in (0.5, 0.95, 1)]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.film.name}")
    print(f"{options.rate} frames/s, {len(delays)} of {count} maps")
    print(f"delay {at[0]:.2f} s, 95 % within {at[1]:.2f}, worst {at[2]:.2f}")


if __name__ == "__main__":
    main()
