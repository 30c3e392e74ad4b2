"""Rows of run times and sizes: the paper's network on a made-up film, on this machine."""

import tempfile
import time
from pathlib import Path
from typing import Any

from vsalient.benchmarking import make_video, measure_model
from vsalient.checkpoints import find_entry
from vsalient.procedure import Clips
from vsalient.reproduce.experiment import Experiment
from vsalient.reproduce.hand import Hand

SIZE = (854, 480)
"""Width and height of DAVIS's 480p frames, on which all papers measured."""
_SECONDS = 5.0
"""About how long a network is timed, after a clip that is not."""


def measure_time(experiment: Experiment, hand: Hand) -> tuple[dict[str, float], str, list[str]]:
    """Time the row's network end to end; without its weights with random ones, which take the same time.

    Returns:
        The numbers by the names that `Number.result` has: seconds (a frame), seconds_100 (a hundred frames); what ran;
        and what differs.

    Raises:
        VsalientError: whatever loading or running the network raises.
    """
    if experiment.backbone:
        return _measure_backbone(hand)
    entry = find_entry(experiment.model, own_weights=True)
    with tempfile.TemporaryDirectory(prefix="vsalient-reproduce-") as folder:
        video = make_video(Path(folder) / "video.mp4", *SIZE)
        clips = Clips(overlap=experiment.overlap)
        row = measure_model(entry, video, Path(folder), seconds=_SECONDS, clips=clips, device=hand.device)
    seconds = 1 / row.frames_per_second
    differs = [
        f"on {row.engine}; {row.frames} frames of a made-up film at {SIZE[0]}x{SIZE[1]}, decoding and writing included"
    ]
    if row.weights == "random":
        differs.append("random weights, which take the same time")
    return {"seconds": seconds, "seconds_100": 100 * seconds}, entry.name, differs


def _measure_backbone(hand: Hand) -> tuple[dict[str, float], str, list[str]]:
    """3DC-Seg's encoder alone: its parameters in millions, and seconds for a clip of eight frames."""
    import torch

    from vsalient import models
    from vsalient.devices import resolve_device

    device: Any = resolve_device(hand.device)
    network: Any = models.build("seg3dc")
    encoder = network.encoder.eval().to(device)
    # The network's sides are multiples of 32.
    clip = torch.rand(1, 3, 8, 480, 864, device=device)
    spent = []
    with torch.inference_mode():
        for _ in range(2):
            begun = time.perf_counter()
            float(encoder(clip)[-1].sum())  # waits for the device
            spent.append(time.perf_counter() - begun)
    numbers = {"parameters": sum(p.numel() for p in encoder.parameters()) / 1e6, "seconds": min(spent)}
    return numbers, "ir-CSN-152", [f"on {device}, float32, at 864x480; random weights, which take the same time"]
