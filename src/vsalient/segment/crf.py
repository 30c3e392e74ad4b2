"""The fully connected CRF that SCNN (Eq. 9, 10) and STAN (§4.2) refine their maps with."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError
from vsalient.segment.lattice import Float, PermutohedralLattice
from vsalient.types import Pixels, SaliencyArray

Scalar = TypeVar("Scalar", np.float32, np.uint8)

_FLOOR = 0.5 / 255.0
"""Certainty is capped half a grey level from 0 and 1: a map of 8 bits can say no more."""
_GUIDE_SMOOTHING = 5.0
"""Ridge of the local colour fit, in squared grey levels."""


class DenseCrf:
    """Mean-field inference in a two-label CRF whose every pair of pixels is joined by two Gaussian kernels.

    E(s) = −Σ log Θ(sᵢ) + Σ [sᵢ ≠ sⱼ] (w1 exp(−|pᵢ−pⱼ|²/2θα² − |Iᵢ−Iⱼ|²/2θβ²) + w2 exp(−|pᵢ−pⱼ|²/2θγ²)),
    SCNN Eq. 9 and 10, solved as Krähenbühl and Koltun (2011) do: kernels are normalised symmetrically, the
    message of a pixel to itself is not taken out, updates are parallel. I is the RGB colour.

    Neither paper gives the parameters. The defaults are those of DSS (Hou et al. 2017), the setting in
    common use for saliency maps; they lie in the ranges that DeepLab, STAN's reference for the CRF,
    searches.

    To be fast, the field is solved on a grid of about `work_pixels` cells, its bilateral kernel on a
    permutohedral lattice; the messages are brought back to the frame by a local linear fit to the colours,
    and meet the unary term at full size there. A frame of at most `work_pixels` pixels is solved at its own
    size.
    """

    def __init__(
        self,
        *,
        theta_alpha: float = 60.0,
        theta_beta: float = 8.0,
        theta_gamma: float = 5.0,
        w1: float = 3.0,
        w2: float = 3.0,
        iterations: int = 5,
        work_pixels: int = 25_600,
    ) -> None:
        """Take the kernels and the effort.

        Args:
            theta_alpha: reach of the appearance kernel, pixels of the frame.
            theta_beta: its colour tolerance, grey levels of 0-255.
            theta_gamma: reach of the smoothness kernel, pixels of the frame.
            w1: weight of the appearance kernel.
            w2: weight of the smoothness kernel.
            iterations: mean-field updates.
            work_pixels: cells of the grid the field is solved on.

        Raises:
            OptionError: a width or count is not positive, or a weight is negative.
        """
        positive = {"theta_alpha": theta_alpha, "theta_beta": theta_beta, "theta_gamma": theta_gamma}
        for name, value in {**positive, "iterations": iterations, "work_pixels": work_pixels}.items():
            if not value > 0:
                raise OptionError(f"CRF parameter {name} = {value:g} must be above 0.")
        for name, value in {"w1": w1, "w2": w2}.items():
            if not value >= 0:
                raise OptionError(f"CRF parameter {name} = {value:g} must not be negative; 0 switches the kernel off.")
        self.theta_alpha = theta_alpha
        self.theta_beta = theta_beta
        self.theta_gamma = theta_gamma
        self.w1 = w1
        self.w2 = w2
        self.iterations = iterations
        self.work_pixels = work_pixels

    def __call__(self, pixels: Pixels, probability: SaliencyArray) -> SaliencyArray:
        """Return the refined foreground probability, (H, W) float32 in [0, 1].

        Args:
            pixels: (H, W, 3) uint8 RGB.
            probability: (H, W) float32 in [0, 1].

        Raises:
            OptionError: the two sizes differ.
        """
        if pixels.shape[:2] != probability.shape:
            raise OptionError(
                f"The frame is {pixels.shape[1]}x{pixels.shape[0]} but its map is "
                f"{probability.shape[1]}x{probability.shape[0]}; the CRF needs both at one size."
            )
        height, width = probability.shape
        shrink = min(1.0, float(np.sqrt(self.work_pixels / (height * width))))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        unary = _logit(probability)
        if size == (width, height):
            small, small_unary = pixels, unary
        else:
            small = _resize_image(pixels, size, cv2.INTER_AREA)
            small_unary = _resize_image(unary, size, cv2.INTER_AREA)
        appearance, smoothness = self._messages(small, small_unary, (width, height))
        # Only the messages come from the small grid; the map's own say stays at full size, as sharp as it was.
        if size != (width, height):
            appearance = guided_upsample(appearance, small, pixels)
            smoothness = _resize_image(smoothness, (width, height), cv2.INTER_LINEAR)
        unary += self.w1 * appearance
        unary += self.w2 * smoothness
        return _sigmoid(unary)

    def _messages(self, pixels: Pixels, unary: Float, full: tuple[int, int]) -> tuple[Float, Float]:
        """Iterate on the grid; return both kernels' messages to it at the last update, (h, w) each."""
        height, width = unary.shape
        steps = (full[0] / width, full[1] / height)
        bilateral = _Bilateral(pixels, steps, self.theta_alpha, self.theta_beta)
        gaussian = _Gaussian((height, width), (self.theta_gamma / steps[0], self.theta_gamma / steps[1]))
        belief = _sigmoid(unary)
        for left in reversed(range(self.iterations)):
            # Two labels and Potts: the difference of their messages is the filtered Q(1) − Q(0).
            lean = 2.0 * belief - 1.0
            appearance = bilateral(lean)
            smoothness = gaussian(lean)
            # After the last update the belief is the caller's to make, at full size.
            if left:
                belief = _sigmoid(unary + self.w1 * appearance + self.w2 * smoothness)
        return appearance, smoothness


class _Bilateral:
    """The appearance kernel on a grid, normalised as D^-1/2 K D^-1/2."""

    def __init__(self, pixels: Pixels, steps: tuple[float, float], reach: float, tolerance: float) -> None:
        height, width = pixels.shape[:2]
        features = np.empty((5, height, width), dtype=np.float32)
        features[0] = (np.arange(width) * (steps[0] / reach))[None, :]
        features[1] = (np.arange(height) * (steps[1] / reach))[:, None]
        features[2:] = pixels.transpose(2, 0, 1) / np.float32(tolerance)
        self._lattice = PermutohedralLattice(features.reshape(5, -1))
        ones = np.ones(height * width, dtype=np.float32)
        self._norm: Float = (1.0 / np.sqrt(self._lattice.filter(ones))).astype(np.float32)

    def __call__(self, image: Float) -> Float:
        filtered = self._lattice.filter(self._norm * image.reshape(-1))
        message: Float = (self._norm * filtered).reshape(image.shape)
        return message


class _Gaussian:
    """The smoothness kernel on a grid, normalised as D^-1/2 K D^-1/2; `deviations` are (x, y) in cells."""

    def __init__(self, shape: tuple[int, int], deviations: tuple[float, float]) -> None:
        # Beyond four deviations lies less than a ten-thousandth of the kernel.
        taps = [2 * int(np.ceil(4.0 * deviation)) + 1 for deviation in deviations]
        self._kernels = [
            cv2.getGaussianKernel(count, deviation, cv2.CV_32F)
            for count, deviation in zip(taps, deviations, strict=True)
        ]
        ones = np.ones(shape, dtype=np.float32)
        self._norm: Float = (1.0 / np.sqrt(self._blur(ones))).astype(np.float32)

    def __call__(self, image: Float) -> Float:
        return self._norm * self._blur(self._norm * image)

    def _blur(self, image: Float) -> Float:
        horizontal, vertical = self._kernels
        # Nothing beyond the border: the norm makes up for what a pixel there lacks.
        blurred = cv2.sepFilter2D(image, cv2.CV_32F, horizontal, vertical, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(blurred, dtype=np.float32)


def guided_upsample(values: Float, small: Pixels, pixels: Pixels) -> Float:
    """Enlarge `values` (h, w) to the size of `pixels` (H, W, 3) along its colour edges.

    In each 3x3 window of the small image (h, w, 3) the values are fitted by a linear function of the
    colour; its four coefficients are enlarged and applied to the full colours (He and Sun, "Fast Guided
    Filter", 2015).
    """
    guide = [plane.astype(np.float32) for plane in cv2.split(small)]
    means = [_box_mean(plane) for plane in guide]
    mean = _box_mean(values)
    covariance = np.empty((*values.shape, 3, 3), dtype=np.float32)
    target = np.empty((*values.shape, 3), dtype=np.float32)
    for i in range(3):
        target[..., i] = _box_mean(guide[i] * values) - means[i] * mean
        for j in range(i, 3):
            covariance[..., i, j] = covariance[..., j, i] = _box_mean(guide[i] * guide[j]) - means[i] * means[j]
    # Where a window has one colour the fit is free: this keeps it flat, and the system solvable.
    covariance[..., range(3), range(3)] += _GUIDE_SMOOTHING
    slopes = _solve3(covariance, target)
    offset = mean - sum(slopes[i] * means[i] for i in range(3))
    size = (pixels.shape[1], pixels.shape[0])
    result = _resize_image(_box_mean(offset), size, cv2.INTER_LINEAR)
    for slope, plane in zip(slopes, cv2.split(pixels), strict=True):
        result += _resize_image(_box_mean(slope), size, cv2.INTER_LINEAR) * plane
    return result


def _solve3(matrix: Float, target: Float) -> list[Float]:
    """Solve the symmetric 3x3 system at every pixel by cofactors; return the three unknowns, (h, w) each."""
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    d, e, f = matrix[..., 1, 1], matrix[..., 1, 2], matrix[..., 2, 2]
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    scale = 1.0 / (a * aa + b * ab + c * ac)
    x, y, z = target[..., 0], target[..., 1], target[..., 2]
    return [
        (aa * x + ab * y + ac * z) * scale,
        (ab * x + bb * y + bc * z) * scale,
        (ac * x + bc * y + cc * z) * scale,
    ]


def _box_mean(image: Float) -> Float:
    return np.asarray(cv2.blur(image, (3, 3), borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def _resize_image(image: NDArray[Scalar], size: tuple[int, int], method: int) -> NDArray[Scalar]:
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=image.dtype)


def _logit(probability: SaliencyArray) -> Float:
    inside = np.clip(probability, np.float32(_FLOOR), np.float32(1.0 - _FLOOR))
    odds: Float = np.log(inside / (1.0 - inside))
    return odds


def _sigmoid(logit: Float) -> Float:
    belief: Float = np.reciprocal(1.0 + np.exp(-logit), dtype=np.float32)
    return belief
