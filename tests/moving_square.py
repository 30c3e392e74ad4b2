"""A textured scene with one square that moves on its own, and its ground truth: what tests train and measure
on.
"""

import numpy as np
import torch
from torch import Tensor


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth random colour texture (height, width, 3) in [0, 1]."""
    import cv2

    noise = np.random.default_rng(seed).random((height // 2, width // 2, 3)).astype(np.float32)
    return np.clip(cv2.resize(cv2.GaussianBlur(noise, (5, 5), 1.0), (width, height)) * 1.6 - 0.3, 0, 1)


def scene(
    frames: int,
    height: int,
    width: int,
    *,
    side: int = 24,
    step: tuple[int, int] = (0, 3),
    camera: tuple[int, int] = (0, 0),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W, 3) uint8 and masks (T, H, W) bool.

    Args:
        step: the square's motion in the picture, pixels a frame (y, x).
        camera: the background's motion in the picture.
    """
    margin = 8 * frames
    ground = texture(height + 2 * margin, width + 2 * margin, seed)
    square = texture(side + 2, side + 2, seed + 1)[:side, :side] * 0.7 + np.array([0.3, 0, 0])
    top, left = height // 2 - side // 2, width // 2 - side // 2
    pixels, masks = [], []
    for t in range(frames):
        dy, dx = -camera[0] * t, -camera[1] * t
        frame = ground[margin + dy : margin + dy + height, margin + dx : margin + dx + width].copy()
        mask = np.zeros((height, width), bool)
        y, x = top + step[0] * (t - frames // 2), left + step[1] * (t - frames // 2)
        frame[y : y + side, x : x + side] = square
        mask[y : y + side, x : x + side] = True
        pixels.append((frame * 255).astype(np.uint8))
        masks.append(mask)
    return np.stack(pixels), np.stack(masks)


def clip(frames: int, size: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Clip (1, 3, T, size, size), masks (1, 1, T, size, size) and a coarse motion prior of the same shape."""
    pixels, masks = scene(frames, size, size, side=size // 3, step=(0, 2), seed=seed)
    truth = torch.from_numpy(masks).float()[None, None]
    prior = torch.nn.functional.avg_pool3d(truth, (1, 9, 9), 1, (0, 4, 4))
    return torch.from_numpy(pixels).permute(3, 0, 1, 2)[None] / 255.0, truth, prior


def grows_better(network, inputs, truth, *, steps: int, rate: float, squared: bool = False) -> tuple[float, float]:
    """Train on one clip; mean loss of the first and of the last two steps, summed over the training
    outputs.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        outputs = network.training_outputs(*inputs)
        loss = sum(
            torch.nn.functional.mse_loss(o, truth)
            if squared
            else torch.nn.functional.binary_cross_entropy_with_logits(o, truth)
            for o in outputs
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses[0], sum(losses[-2:]) / 2
