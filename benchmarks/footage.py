"""Clips for the benchmarks: a textured object that moves over a textured, panning background, encoded as H.264."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray


def picture(index: int, width: int, height: int, scene: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a window of the scene, and a disc on its way."""
    x, y = 2 * index % (scene.shape[1] - width), index % (scene.shape[0] - height)
    pixels = scene[y : y + height, x : x + width].copy()
    centre = (int(width * (0.5 + 0.3 * np.sin(index / 20))), int(height * (0.5 + 0.2 * np.cos(index / 15))))
    cv2.circle(pixels, centre, height // 6, (210, 60, 30), -1)
    cv2.circle(pixels, (centre[0] + height // 20, centre[1]), height // 16, (250, 210, 90), -1)
    return pixels


def write_footage(path: Path, frames: int, width: int, height: int, *, repeat: int = 1) -> Path:
    """Encode `frames` pictures at 25 frames/s, and the same packets `repeat` times over."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    scene = cv2.add(scene // 2, rng.integers(0, 60, scene.shape, dtype=np.uint8))
    single = path.with_name(f"{path.stem}.once.mp4") if repeat > 1 else path
    with av.open(str(single), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(25), options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index, width, height, scene), "rgb24")))
        out.mux(stream.encode(None))
    if repeat > 1:
        _loop(single, path, repeat)
        single.unlink()
    return path


def _loop(source: Path, path: Path, repeat: int) -> None:
    """Copy the packets, each round after the other; the pictures need not be encoded again."""
    with av.open(str(path), "w") as out:
        stream = None
        offset = 0
        for _ in range(repeat):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                end = 0
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    end = max(end, packet.pts + packet.duration)
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = stream
                    out.mux(packet)
                offset += end
