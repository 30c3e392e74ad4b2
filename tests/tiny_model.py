"""A network whose answer is known, red is salient, in the place of the default model; and a clip to run it on."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vsalient.models
from checkpoint_helpers import entry, isolate
from media_files import write_video
from vsalient.checkpoints import entry_toml, save_checkpoint

STRIPE = 24
"""Width of the moving red stripe, pixels."""


class RedNet(nn.Module):
    """Probability 1 where red is strong and green is not; per pixel, so that a map can be checked by eye."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(3, 1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("RED_SECONDS", "0")))
        return torch.as_tensor(self.head(clip))

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        return torch.sigmoid(logits.float())[:, 0]


def red_state() -> dict[str, Tensor]:
    return {
        "head.weight": torch.tensor([30.0, -30.0, 0.0]).reshape(1, 3, 1, 1, 1),
        "head.bias": torch.tensor([-12.0]),
    }


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, *, name: str = "3dc-lite", **fields: object) -> Path:
    """Make `name` stand for RedNet, away from the user's settings; returns its weights file."""
    isolate(monkeypatch, folder)
    monkeypatch.setitem(vsalient.models.ARCHITECTURES, "red", ("tiny_model", "RedNet"))
    place = folder / "added" / name
    place.mkdir(parents=True)
    model = replace(entry(name, architecture="red", source="file", file="red.safetensors"), **fields)
    save_checkpoint(place / "red.safetensors", red_state(), model)
    (place / "entry.toml").write_text(entry_toml(model))
    return place / "red.safetensors"


def for_children(monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.0) -> None:
    """Let child processes know RedNet too; there each clip takes at least so many seconds."""
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here / "child"), str(here), str(here.parent / "src")]))
    monkeypatch.setenv("RED_SECONDS", str(seconds))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def stripes(count: int, width: int = 96, height: int = 64) -> list[NDArray[np.uint8]]:
    """Pictures of a red stripe that moves 4 pixels a frame over grey."""
    pictures = []
    for index in range(count):
        pixels = np.full((height, width, 3), 110, np.uint8)
        left = 4 * index % (width - STRIPE)
        pixels[:, left : left + STRIPE] = (230, 20, 20)
        pictures.append(pixels)
    return pictures


def stripe_mask(index: int, width: int = 96, height: int = 64) -> NDArray[np.bool_]:
    """Where the stripe is."""
    mask = np.zeros((height, width), bool)
    left = 4 * index % (width - STRIPE)
    mask[:, left : left + STRIPE] = True
    return mask


def write_clip(path: Path, count: int = 10, *, size: Sequence[int] = (96, 64), audio: bool = False) -> Path:
    """A video of the stripe, its colours all but lossless."""
    return write_video(
        path,
        stripes(count, *size),
        pixel_format="yuv444p",
        options={"crf": "1", "preset": "ultrafast"},
        matrix=5,
        audio_seconds=count / 25 if audio else 0.0,
    )
