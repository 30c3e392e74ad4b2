"""The three-layer network that tells salient superpixels from others (SCNN section III-B, Eq. 6), in NumPy.

Two hidden layers of 300 ReLU units and a sigmoid, as in the work whose features SCNN takes [32]. Small enough to be
trained and run without torch.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import CheckpointError, DataError

HIDDEN = 300
LARGEST_CLASSIFIER = 64 << 20
"""Bytes that a classifier's arrays may have; with 300 hidden units and 39 features they are 0.4 MB."""
_ARRAYS = ("mean", "scale", "weight1", "bias1", "weight2", "bias2", "weight3", "bias3")


class SuperpixelClassifier:
    """Features of a superpixel → how likely it is salient.

    Args:
        arrays: mean and scale of the features, weights (in, out) and biases of the three layers.
    """

    def __init__(self, arrays: dict[str, NDArray[np.float32]]) -> None:
        self.arrays = arrays

    @property
    def features(self) -> int:
        """How many features it wants."""
        return len(self.arrays["mean"])

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (R, D) → saliency (R,) in [0, 1].

        Raises:
            DataError: the number of features is not the one it was trained on.
        """
        if features.shape[1] != self.features:
            raise DataError(
                f"the superpixel classifier was trained on {self.features} features, got {features.shape[1]}; "
                "use the same deep features as in training"
            )
        return _forward(self.arrays, features)[-1][:, 0]

    def save(self, path: Path) -> None:
        """Write an .npz file of half-precision arrays."""
        np.savez_compressed(path, allow_pickle=False, **{k: v.astype(np.float16) for k, v in self.arrays.items()})

    @classmethod
    def load(cls, path: Path) -> "SuperpixelClassifier":
        """Read what `save` wrote.

        Raises:
            CheckpointError: not such a file, or one whose layers do not fit each other.
        """
        try:
            # Sizes first: a small file could inflate to any size.
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > LARGEST_CLASSIFIER:
                    raise ValueError(f"more than {LARGEST_CLASSIFIER >> 20} MiB")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name].astype(np.float32) for name in _ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path} is not a superpixel classifier: {error}") from None
        sizes = [arrays["mean"].shape, *(arrays[f"bias{layer}"].shape for layer in (1, 2, 3))]
        fitting = all(
            arrays[f"weight{layer}"].shape == (*sizes[layer - 1], *sizes[layer]) and len(sizes[layer]) == 1
            for layer in (1, 2, 3)
        )
        if not fitting or arrays["scale"].shape != sizes[0] or sizes[3] != (1,):
            raise CheckpointError(f"{path} is not a superpixel classifier: its layers do not fit each other")
        return cls(arrays)

    @classmethod
    def fit(
        cls,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
        *,
        weights: NDArray[np.float32] | None = None,
        hidden: int = HIDDEN,
        steps: int = 2000,
        batch: int = 256,
        rate: float = 1e-3,
        decay: float = 1e-4,
        seed: int = 0,
    ) -> "SuperpixelClassifier":
        """Train on superpixels by Adam on the binary cross-entropy. Deterministic for a seed.

        Args:
            features: (R, D).
            targets: (R,) share of each superpixel that lies on an object, in [0, 1].
            weights: (R,) how much each counts, such as its size; all alike when None.
            hidden: units of both hidden layers.
            steps: optimiser steps.
            batch: superpixels a step.
            rate: Adam's learning rate, falling to zero along a cosine.
            decay: weight decay, decoupled.
            seed: of initial weights and batches.
        """
        generator = np.random.default_rng(seed)
        scale = np.maximum(features.std(axis=0), 1e-6)
        sizes = (features.shape[1], hidden, hidden, 1)
        arrays = {"mean": features.mean(axis=0), "scale": scale}
        for layer in (1, 2, 3):
            inputs, outputs = sizes[layer - 1], sizes[layer]
            arrays[f"weight{layer}"] = generator.normal(0, (2 / inputs) ** 0.5, (inputs, outputs))
            arrays[f"bias{layer}"] = np.zeros(outputs)
        arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
        chance = None if weights is None else weights / weights.sum()
        first = {name: np.zeros_like(arrays[name]) for name in _ARRAYS[2:]}
        second = {name: np.zeros_like(arrays[name]) for name in _ARRAYS[2:]}
        for step in range(1, steps + 1):
            chosen = generator.choice(len(features), batch, p=chance)
            now = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for name, slope in _gradients(arrays, features[chosen], targets[chosen]).items():
                first[name] += 0.1 * (slope - first[name])
                second[name] += 0.001 * (slope**2 - second[name])
                update = (first[name] / (1 - 0.9**step)) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                kept = 1 - now * decay if name.startswith("weight") else 1.0
                arrays[name] = (arrays[name] * kept - now * update).astype(np.float32)
        return cls(arrays)


def _forward(arrays: dict[str, NDArray[np.float32]], x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Standardised input, both hidden layers, output."""
    steps = [((x - arrays["mean"]) / arrays["scale"]).astype(np.float32)]
    for layer in (1, 2):
        steps.append(np.maximum(steps[-1] @ arrays[f"weight{layer}"] + arrays[f"bias{layer}"], 0))
    logits = steps[-1] @ arrays["weight3"] + arrays["bias3"]
    steps.append((0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32))
    return steps


def _gradients(
    arrays: dict[str, NDArray[np.float32]], x: NDArray[np.float32], targets: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Slopes of the mean binary cross-entropy for every weight and bias."""
    steps = _forward(arrays, x)
    error = np.asarray((steps[3] - targets[:, None]) / len(x), np.float32)
    slopes: dict[str, NDArray[np.float32]] = {}
    for layer in (3, 2, 1):
        slopes[f"weight{layer}"] = steps[layer - 1].T @ error
        slopes[f"bias{layer}"] = np.asarray(error.sum(axis=0), np.float32)
        if layer > 1:
            error = np.asarray((error @ arrays[f"weight{layer}"].T) * (steps[layer - 1] > 0), np.float32)
    return slopes
