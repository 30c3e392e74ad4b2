"""How fast this machine runs a model, end to end: what `vsalient benchmark` prints, a row a model.

Each row is measured in a process of its own, so that memory is that model's alone. Speed is told beside a yardstick,
the same plain work on every machine, so that figures of different machines, or of a busy one, can be compared.
"""

import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient import checkpoints
from vsalient.api import write
from vsalient.checkpoints import WeightsEntry
from vsalient.model import Model
from vsalient.procedure import Clips

LONGEST_RUN = 150
"""Frames of the made-up video: more are never measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of one model.

    Attributes:
        model: its name.
        weights: "own", or "random" where they are not on this machine; both take the same time.
        engine: device, library, dtype and why.
        frames: how many were timed, after a clip that was not.
        frames_per_second: decoding, network and writing the saliency video together.
        cpu_ms: processor time of all threads a frame, milliseconds.
        peak_mib: the most memory that the process held, MiB; None where the system does not say.
        first_map_seconds: from the start of a warm run to its first map.
        yardstick: seconds that the yardstick took in the same process, just before.
    """

    model: str
    weights: str
    engine: str
    frames: int
    frames_per_second: float
    cpu_ms: float
    peak_mib: float | None
    first_map_seconds: float
    yardstick: float


def measure_model(
    entry: WeightsEntry, video: Path, place: Path, *, seconds: float = 10.0, clips: Clips | None = None, **options: Any
) -> Row:
    """Time one model on a video in this process.

    Args:
        entry: the model's.
        video: what it runs on.
        place: a folder for what it writes.
        seconds: about how long to time it; at least one clip.
        clips: how it is run, where not as the entry says.
        options: engine, device, dtype and exact, as `vsalient.load_model` takes them.

    Raises:
        VsalientError: whatever loading or running the model raises.
    """
    model, weights = _loaded_network(entry, options)
    clips = clips or Clips()
    length = clips.length or entry.clip_length
    rate = 25
    begun = time.perf_counter()
    write(video, {"video": place / "warm.mp4"}, model=model, clips=clips, end=(length + 0.5) / rate, overwrite=True)
    spent = (time.perf_counter() - begun) / length
    count = int(min(LONGEST_RUN, max(length, seconds / spent)))
    unit = yardstick()
    begun, busy = time.perf_counter(), time.process_time()
    report = write(
        video, {"video": place / "out.mp4"}, model=model, clips=clips, end=(count + 0.5) / rate, overwrite=True
    )
    wall, cpu = time.perf_counter() - begun, time.process_time() - busy
    return Row(
        model=entry.name,
        weights=weights,
        engine=model.description,
        frames=report.frames,
        frames_per_second=report.frames / wall,
        cpu_ms=1000 * cpu / report.frames,
        peak_mib=_peak(),
        first_map_seconds=report.first_map_seconds or wall,
        yardstick=unit,
    )


def yardstick(rounds: int = 3) -> float:
    """Seconds of a fixed piece of plain work: a stack of float32 2D convolutions such as U²-Net's, the best of a few.

    14 GMAC: 64 channels at 160×160, 128 at 80×80, 256 at 40×40, six 3×3 convolutions each.
    """
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(0)
    levels = [(64, 160), (128, 80), (256, 40)]
    pictures = [torch.rand(1, c, side, side, generator=generator) for c, side in levels]
    kernels = [torch.rand(c, c, 3, 3, generator=generator) / (9 * c) for c, _ in levels]
    best = float("inf")
    with torch.inference_mode():
        for _ in range(rounds):
            start = time.perf_counter()
            for x, kernel in zip(pictures, kernels, strict=True):
                for _ in range(6):
                    x = F.relu(F.conv2d(x, kernel, padding=1))
            best = min(best, time.perf_counter() - start)
    return best


def make_video(path: Path, width: int, height: int, frames: int = LONGEST_RUN) -> Path:
    """A video of 25 frames a second: a texture that pans, and a disc that moves against it."""
    import av
    import cv2

    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (height // 20 + 2, width // 20 + 2, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (width + 2 * frames, height + frames), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=Fraction(25), options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            pixels: NDArray[np.uint8] = np.ascontiguousarray(
                scene[index : index + height, 2 * index : 2 * index + width]
            )
            centre = (int(width * (0.5 + 0.3 * np.sin(index / 20))), int(height * (0.5 + 0.2 * np.cos(index / 15))))
            cv2.circle(pixels, centre, height // 6, (210, 60, 30), -1)
            cv2.circle(pixels, (centre[0] + height // 20, centre[1]), height // 16, (250, 210, 90), -1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode(None))
    return path


def _loaded_network(entry: WeightsEntry, options: dict[str, Any]) -> tuple[Model, str]:
    from vsalient.api import load_model

    if checkpoints.status(entry) in ("bundled", "cached", "own file"):
        return load_model(entry.name, offline=True, **options), "own"
    import torch

    from vsalient.checkpoints.adopting import build_network
    from vsalient.engine import Engine
    from vsalient.engine.libraries import open_runner

    torch.manual_seed(0)
    network = build_network(entry.architecture, entry.config)
    engine = Engine(open_runner(network.eval(), entry.architecture, multiple=entry.multiple, **options))
    return Model(entry, engine, engine.priors), "random"


def _peak() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most) / (1 << 20 if sys.platform == "darwin" else 1 << 10)
