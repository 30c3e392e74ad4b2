"""Milliseconds of CPU a frame for decoding and for every output: `python benchmarks/media.py [video]`.

Without a video it makes an 854x480 one. CPU time, not wall time: the pipeline overlaps these stages.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.media import open_source
from vsalient.outputs import open_output
from vsalient.types import Frame, Result

FRAMES = 60
JOBS: list[tuple[str, str]] = [
    ("video", ".mp4"),
    ("video", ".mkv"),
    ("mask-video", ".mkv"),
    ("maps", ""),
    ("masks", ""),
    ("overlay", ".mp4"),
    ("heatmap", ".mp4"),
    ("foreground", ".mp4"),
    ("alpha", ".webm"),
    ("alpha", ".mov"),
]


def sample(path: Path, width: int = 854, height: int = 480) -> Path:
    """A video with texture that moves, encoded as phones do."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (height, width + 200, 3)).astype(np.uint8), (0, 0), 3)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(FRAMES):
            view = np.ascontiguousarray(texture[:, number * 2 : number * 2 + width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
        out.mux(stream.encode(None))
    return path


def saliency_like(width: int, height: int, number: int) -> NDArray[np.float32]:
    """A soft map such as a network gives: low resolution, sigmoid, scaled up."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: height // 4, : width // 4].astype(np.float32)
    disc = (height / 14 - np.hypot(x - width / 10 - number, y - height / 8)) / 2
    small = disc + cv2.GaussianBlur(rng.normal(0, 6, disc.shape).astype(np.float32), (0, 0), 4)
    return np.asarray(cv2.resize(1 / (1 + np.exp(-small)), (width, height)), np.float32)


def clock(work: Callable[[], int]) -> float:
    """CPU milliseconds a frame of a job that returns its count of frames, the better of two runs."""
    runs = []
    for _ in range(2):
        begin = time.process_time()
        count = work()
        runs.append((time.process_time() - begin) * 1e3 / count)
    return min(runs)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else sample(Path(folder) / "sample.mp4")
        frames: list[Frame] = []

        def decode() -> int:
            frames.clear()
            with open_source(path) as source:
                for frame in source:
                    frames.append(frame)
                    if len(frames) == FRAMES:
                        break
            return len(frames)

        decoding = clock(decode)
        with open_source(path) as source:
            info = source.info
        print(f"{info.width}x{info.height} {info.codec}, {len(frames)} frames")
        print(f"{'decode to RGB':24}{decoding:8.2f} ms")
        maps = [saliency_like(info.width, info.height, frame.index) for frame in frames]
        for kind, suffix in JOBS:
            target = Path(folder) / f"{kind}{suffix}"

            def encode(kind: str = kind, target: Path = target) -> int:
                with open_output(kind, target, info, overwrite=True) as out:
                    for frame, saliency in zip(frames, maps, strict=True):
                        out.write(Result(frame, saliency))
                return len(frames)

            cost = clock(encode)
            files = [target] if target.is_file() else list(target.iterdir())
            size = sum(file.stat().st_size for file in files) / len(frames) / 1024
            print(f"{kind + ' ' + suffix:24}{cost:8.2f} ms {size:8.1f} KiB")


if __name__ == "__main__":
    main()
