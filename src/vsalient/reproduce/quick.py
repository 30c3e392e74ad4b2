"""A row in seconds: a made-up data set and a tiny network of the row's own kind take the way that the real ones take.

The numbers mean nothing; that they come out says that recipe, overrides, inference and metric of the row work together.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from vsalient.reproduce.experiment import Experiment, Test
from vsalient.reproduce.hand import Hand

QUICK_FRAMES, HEIGHT, WIDTH = 6, 64, 96
_STEPS = ("steps=2", "batch=1", "validate_every=1000", "save_every=1000")
TINY: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "dsrfcn3d": (("config.width=0.0625", "clips.size=[32, 32]"), "exact:32x32"),
    "conv3dnet": (("config.width=0.0625", "clips.size=[64, 64]"), "exact:64x64"),
    "3dc-seg": (
        (
            *("config.depths=[1, 1, 1, 1]", "config.base_width=8", "config.decoder_width=8"),
            "clips.size=[64, 64]",
        ),
        "native",
    ),
    "scnn": (("config.width=0.0625", "clips.size=[64, 64]"), None),
    "stan": (("config.width=0.0625", "clips.size=[64, 64]"), "exact:64x64"),
}
"""Model -> (overrides of its recipe, the network's input)."""
SAID = "a made-up data set and a tiny network after two steps a stage: the numbers mean nothing"


def make_set(folder: Path) -> Path:
    """Write `train` (sequences), `stills` and `test` (sequences) below a folder: squares that move over noise."""
    for part, names in (("train", ("left", "right")), ("test", ("up", "down"))):
        for number, name in enumerate(names):
            for index in range(QUICK_FRAMES):
                picture, mask = _scene(4 * index, seed=10 * number + len(part))
                _write_picture(folder / part / "JPEGImages/480p" / name / f"{index:05d}.png", picture)
                _write_picture(folder / part / "Annotations/480p" / name / f"{index:05d}.png", mask)
    for number in range(4):
        picture, mask = _scene(5 * number, seed=number)
        _write_picture(folder / "stills/images" / f"{number}.png", picture)
        _write_picture(folder / "stills/masks" / f"{number}.png", mask)
    return folder


def shrink(experiment: Experiment, folder: Path, device: str = "auto") -> tuple[Experiment, Hand]:
    """The row on the made-up set, and what it needs; the network is always trained."""
    overrides, resolution = TINY[experiment.model]
    hand = Hand(
        data={"custom": folder / "test"},
        train=True,
        train_on=(str(folder / "train"), str(folder / "stills")),
        overrides=(*_STEPS, *overrides),
        resolution=resolution,
        device=device,
    )
    small = dataclasses.replace(experiment, test=Test("custom", None, "all-frames"), variant=True)
    return small, hand


def _scene(shift: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    picture = rng.integers(40, 140, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:44, 12 + shift : 36 + shift] = 255
    picture[mask > 0] = (40, 200, 240)
    return picture, mask


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
