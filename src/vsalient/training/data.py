"""Training clips: sampled from stills and videos, augmented, endless, and the same for the same seed."""

from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from vsalient.errors import DataError
from vsalient.training import synthesis
from vsalient.training.recipe import ClipRecipe
from vsalient.training.sources import Mixture
from vsalient.types import Frame

Sample = tuple[Tensor, Tensor, dict[str, Tensor], bool]
"""Frames (3, T, H, W) uint8 RGB, masks (1, T, H, W) uint8 of 0 and 1, priors (1, T, H, W) float32 by name, and
whether the frames are unrelated stills, each to be seen alone."""
APART = "stills"
"""The kind of clip whose frames are unrelated stills."""


class ClipStream(IterableDataset[Sample]):
    """Endless training clips.

    Clip number n depends on the seed and n alone, whatever the number of workers and processes: a resumed run sees
    what it would have seen.

    Args:
        stills, videos: where pictures come from; a source that no kind of clip needs may be empty.
        recipe: what a clip is.
        seed: of the whole stream.
        start: number of this process's first clip.
        step: distance between this process's clips (the number of processes).
        priors: what the network gets beside the frames, computed from the augmented clip (`vsalient.priors`).

    Raises:
        DataError: a kind of clip has a share but no data, or none that the network's priors could be had from.
    """

    def __init__(
        self,
        stills: Mixture,
        videos: Mixture,
        recipe: ClipRecipe,
        *,
        seed: int = 0,
        start: int = 0,
        step: int = 1,
        priors: tuple[str, ...] = (),
    ) -> None:
        kinds = {k: share for k, share in recipe.kinds.items() if share > 0}
        real = {"video", "transplant"}
        if real & set(kinds) and not videos:
            raise DataError(
                "the recipe samples videos, but the data holds stills only; add a video data set with --data"
            )
        if set(kinds) - {"video"} and not stills:
            # Frames of videos serve as stills where a data set has no others.
            stills = videos
        if not stills and not videos:
            raise DataError("no training data is left; check --data and held_out")
        self.stills, self.videos, self.recipe = stills, videos, recipe
        self.names = list(kinds)
        shares = np.array([kinds[k] for k in self.names], float)
        self.shares = shares / shares.sum()
        self.seed, self.start, self.step, self.priors = seed, start, step, priors

    def __iter__(self) -> Iterator[Sample]:
        """From `start` on; with W workers, each takes every W-th clip of this process."""
        info = torch.utils.data.get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        cv2.setNumThreads(0)
        number = self.start + worker * self.step
        while True:
            frames, masks, apart = self.sample(number)
            number += workers * self.step
            yield (
                torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2))),
                torch.from_numpy((masks > 127).astype(np.uint8))[None],
                clip_priors(frames, self.priors, apart=apart),
                apart,
            )

    def clip(self, number: int) -> synthesis.Pair:
        """Clip `number`: frames (T, H, W, 3) and masks (T, H, W), 0 or 255."""
        frames, masks, _ = self.sample(number)
        return frames, masks

    def sample(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool]:
        """Clip `number` as `clip` gives it, and whether its frames are unrelated stills."""
        rng = np.random.default_rng([self.seed, number])
        count, size = self.recipe.frames, self.recipe.size
        kind = self.names[int(rng.choice(len(self.names), p=self.shares))]
        if kind == APART:
            each = [synthesis.affine_video(rng, *self._still(rng), 1, size) for _ in range(count)]
            looks = [synthesis.colour(rng, frames) for frames, _ in each]
            return np.concatenate(looks), np.concatenate([masks for _, masks in each]), True
        if kind in ("video", "transplant"):
            frames, masks = self._real(rng)
            if kind == "transplant":
                background, _ = self._still(rng)
                distractor = self._still(rng) if rng.random() < 0.4 else None
                frames, masks = synthesis.transplant_video(rng, frames, masks, background, distractor=distractor)
        else:
            image, mask = self._still(rng)
            if kind == "independent":
                background, _ = self._still(rng)
                distractor = self._still(rng) if rng.random() < 0.4 else None
                frames, masks = synthesis.independent_video(
                    rng, image, mask, background, count, size, distractor=distractor
                )
            elif kind == "slide":
                frames, masks = synthesis.sliding_crop(rng, image, mask, count, size)
            elif kind == "still":
                frames, masks = synthesis.affine_video(rng, image, mask, 1, size)
                frames, masks = np.repeat(frames, count, 0), np.repeat(masks, count, 0)
            else:
                frames, masks = synthesis.affine_video(rng, image, mask, count, size)
        return synthesis.colour(rng, frames), masks, False

    def _still(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        source, sequence = self.stills.draw(rng)
        return source.read(sequence, int(rng.integers(source.length(sequence))))

    def _real(self, rng: np.random.Generator) -> synthesis.Pair:
        source, sequence = self.videos.draw(rng)
        indices = sample_indices(rng, source.length(sequence), self.recipe)
        if rng.random() < 0.5:
            indices.reverse()
        if self.recipe.repeat and rng.random() < self.recipe.repeat and len(indices) > 1:
            place = int(rng.integers(1, len(indices)))
            indices = [*indices[:place], *indices[place - 1 : -1]]
        pairs = [source.read(sequence, i) for i in indices]
        frames, masks = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
        return synthesis.crop_clip(rng, frames, masks, self.recipe.size)


def sample_indices(rng: np.random.Generator, length: int, recipe: ClipRecipe) -> list[int]:
    """Which frames of a video of `length` frames make a clip, in order; the last one repeats in short videos.

    With `span` S (3dc-seg §4.2): t uniform, the other T − 1 without repetition from t + 1 … min(t + S, length), padded
    with the last frame. Otherwise every g-th frame, g uniform in 1..max_gap as far as the video reaches.
    """
    count = recipe.frames
    if recipe.span:
        first = int(rng.integers(length))
        later = np.arange(first + 1, min(first + recipe.span, length - 1) + 1)
        chosen = (
            sorted(rng.choice(later, size=min(count - 1, len(later)), replace=False).tolist()) if len(later) else []
        )
        return ([first, *chosen] + [length - 1] * count)[:count]
    gap = int(rng.integers(1, recipe.max_gap + 1))
    gap = max(1, min(gap, (length - 1) // max(1, count - 1)))
    first = int(rng.integers(max(1, length - gap * (count - 1))))
    return [min(first + i * gap, length - 1) for i in range(count)]


def clip_priors(frames: NDArray[np.uint8], names: tuple[str, ...], *, apart: bool = False) -> dict[str, Tensor]:
    """Priors of a clip's frames (T, H, W, 3), each (1, T, H, W) float32 in [0, 1]; zero for frames that are `apart`."""
    if not names:
        return {}
    if apart:
        return {name: torch.zeros(1, *frames.shape[:3]) for name in names}
    from vsalient.priors import prior_stream

    stream = prior_stream(names)
    found = []
    for index, pixels in enumerate(frames):
        found += stream.push(Frame(np.ascontiguousarray(pixels), index, index, Fraction(1, 25)))
    found += stream.finish()
    size = frames.shape[2], frames.shape[1]
    whole = {name: [_enlarged(maps[name], size) for _, maps in found] for name in names}
    return {name: torch.from_numpy(np.stack(maps))[None].float() for name, maps in whole.items()}


def _enlarged(prior: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if prior.shape[::-1] == size:
        return prior
    return np.asarray(cv2.resize(prior, size, interpolation=cv2.INTER_LINEAR), np.float32)
