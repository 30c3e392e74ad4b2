"""Training clips: sampled from stills and videos, augmented, endless, and the same for the same seed."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from vsalient.errors import DataError, VsalientError
from vsalient.priors import clip_maps
from vsalient.priors.choose import PriorTools
from vsalient.priors.stream import PriorStream
from vsalient.priors.superpixels import LEVELS
from vsalient.training import augment, overlays, synthesis, unreliable
from vsalient.training.recipe import ClipRecipe
from vsalient.training.sources import Mixture


class Sample(NamedTuple):
    """A clip as tensors; joined by a loader, each has one more axis in front.

    Attributes:
        frames: (3, T, H, W) uint8 RGB.
        masks: (1, T, H, W) uint8, the probability of the object × 255.
        priors: (1, T, H, W) float32 by name.
        apart: whether the frames are unrelated stills, each to be seen alone.
        soft: (T,) bool, which masks are a teacher's and no ground truth.
        labelled: (T,) bool, which frames have a mask; the others are zero, and say nothing.
    """

    frames: Tensor
    masks: Tensor
    priors: dict[str, Tensor]
    apart: bool
    soft: Tensor
    labelled: Tensor


class Drawn(NamedTuple):
    """A clip as it was made: frames (T, H, W, 3), masks (T, H, W) × 255, the rest as in `Sample`."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    apart: bool
    soft: NDArray[np.bool_]
    labelled: NDArray[np.bool_]


APART = "stills"
"""The kind of clip whose frames are unrelated stills."""


class ClipNumbers(Sampler[list[int]]):
    """The numbers of one process's clips, a list for each batch, without end.

    Args:
        first: number of the first clip.
        step: distance between two clips of this process (the number of processes).
        batch: clips a batch.
    """

    def __init__(self, *, first: int = 0, step: int = 1, batch: int = 1) -> None:
        self.first, self.step, self.batch = first, step, batch

    def __iter__(self) -> Iterator[list[int]]:
        """From `first` on."""
        number = self.first
        while True:
            yield [number + i * self.step for i in range(self.batch)]
            number += self.batch * self.step


class ClipStream(Dataset[Sample]):
    """Endless training clips, by their number.

    Clip number n depends on the seed and n alone; who asks for which is the sampler's business (`ClipNumbers`), so
    that any number of workers makes the same batches, and a resumed run sees what it would have seen.

    Args:
        stills, videos: where pictures come from; a source that no kind of clip needs may be empty.
        recipe: what a clip is.
        seed: of the whole stream.
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
        self.seed, self.priors = seed, priors
        self.tools = PriorTools(recipe.flow, recipe.classifier)
        if priors:
            self.tools.check()
        self.ahead = look_ahead(recipe, priors)
        self.recipe = dataclasses.replace(recipe, frames=recipe.frames + self.ahead)

    def __getitem__(self, number: int) -> Sample:
        """Clip `number`, as tensors."""
        drawn, after = self._draw(number)
        levels: list[int] = []
        if self.recipe.segmentations:
            rng = np.random.default_rng([self.seed, number, 2])
            levels = rng.choice(len(LEVELS), min(self.recipe.segmentations, len(LEVELS)), replace=False).tolist()
        stream = self.tools.stream(self.priors, levels=levels) if self.priors else None
        priors = clip_priors(drawn.frames, self.priors, apart=drawn.apart, after=after, stream=stream)
        if self.recipe.unreliable and priors and not drawn.apart:
            # A generator of its own: whether a network takes priors must not change the clips.
            rng = np.random.default_rng([self.seed, number, 1])
            if rng.random() < self.recipe.unreliable:
                wrong = unreliable.distort(rng, {name: x[0].numpy() for name, x in priors.items()})
                priors = {name: torch.from_numpy(x)[None] for name, x in wrong.items()}
        return Sample(
            torch.from_numpy(np.ascontiguousarray(drawn.frames.transpose(3, 0, 1, 2))),
            torch.from_numpy(drawn.masks)[None],
            priors,
            drawn.apart,
            torch.from_numpy(drawn.soft),
            torch.from_numpy(drawn.labelled),
        )

    def clip(self, number: int) -> synthesis.Pair:
        """Clip `number`: frames (T, H, W, 3) and masks (T, H, W), the probability of the object × 255."""
        drawn = self.sample(number)
        return drawn.frames, drawn.masks

    def sample(self, number: int) -> Drawn:
        """Clip `number` as it is before priors are computed."""
        return self._draw(number)[0]

    def _draw(self, number: int) -> tuple[Drawn, NDArray[np.uint8] | None]:
        """Clip `number`, and where needed the frame behind it (H, W, 3), to which its last frame is measured."""
        drawn = self._made(number)
        if not self.ahead:
            return drawn, None
        kept = Drawn(drawn.frames[:-1], drawn.masks[:-1], drawn.apart, drawn.soft[:-1], drawn.labelled[:-1])
        return kept, drawn.frames[-1]

    def _made(self, number: int) -> Drawn:
        rng = np.random.default_rng([self.seed, number])
        recipe = self.recipe
        kind = self.names[int(rng.choice(len(self.names), p=self.shares))]
        if kind == APART:
            return self._apart(rng)
        soft, labelled = False, np.ones(recipe.frames, bool)
        if kind in ("video", "transplant"):
            frames, masks, soft, labelled = self._real(rng)
            # Nothing can be cut out of a frame without a mask: such a clip stays what it is.
            if kind == "transplant" and labelled.all():
                background, _, _ = self._still(rng)
                frames, masks = synthesis.transplant_video(
                    rng, frames, masks, background, distractor=self._distractor(rng)
                )
        else:
            image, mask, soft = self._still(rng)
            frames, masks = self._made_up(rng, kind, image, mask)
        if recipe.overlays and rng.random() < recipe.overlays:
            frames, masks = overlays.burn_in(rng, frames, masks)
        looks = augment.colour(rng, frames) if recipe.augment == "standard" else frames
        return Drawn(looks, masks if soft else synthesis.binary(masks), False, np.full(len(frames), soft), labelled)

    def _apart(self, rng: np.random.Generator) -> Drawn:
        """As many unrelated stills as a clip has frames."""
        frames, masks, soft = [], [], []
        for _ in range(self.recipe.frames):
            image, mask, opinion = self._still(rng)
            picture, truth = synthesis.affine_video(rng, image, mask, 1, self.recipe.size, crop=self.recipe.crop)
            if self.recipe.overlays and rng.random() < self.recipe.overlays:
                picture, truth = overlays.burn_in(rng, picture, truth)
            frames.append(augment.colour(rng, picture) if self.recipe.augment == "standard" else picture)
            masks.append(truth if opinion else synthesis.binary(truth))
            soft.append(opinion)
        return Drawn(np.concatenate(frames), np.concatenate(masks), True, np.array(soft), np.ones(len(soft), bool))

    def _made_up(
        self, rng: np.random.Generator, kind: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> synthesis.Pair:
        """A clip of a kind that is made from one still."""
        count, size, crop = self.recipe.frames, self.recipe.size, self.recipe.crop
        if kind == "independent":
            background, _, _ = self._still(rng)
            area = float(rng.uniform(0.25, 0.7)) if rng.random() < self.recipe.large else None
            return synthesis.independent_video(
                rng, image, mask, background, count, size, distractor=self._distractor(rng), area=area
            )
        if kind == "slide" and self.recipe.augment == "rescale-crop":
            return self._placed(rng, *synthesis.sliding_crop(rng, image, mask, count, self.recipe.rescale))
        if kind == "slide":
            return synthesis.sliding_crop(rng, image, mask, count, size, mirror=self.recipe.augment != "none")
        if kind == "still" and self.recipe.augment != "standard":
            frames, masks = self._placed(rng, image[None], mask[None])
            return np.repeat(frames, count, 0), np.repeat(masks, count, 0)
        if kind == "still":
            frames, masks = synthesis.affine_video(rng, image, mask, 1, size, crop=crop)
            return np.repeat(frames, count, 0), np.repeat(masks, count, 0)
        return synthesis.affine_video(rng, image, mask, count, size, crop=crop)

    def _placed(
        self,
        rng: np.random.Generator,
        frames: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        labelled: NDArray[np.bool_] | None = None,
    ) -> synthesis.Pair:
        recipe, changes = self.recipe, self.recipe.augment
        return augment.place_clip(
            rng, frames, masks, recipe.size,
            augment=changes, crop=recipe.crop, rescale=recipe.rescale, labelled=labelled,
        )  # fmt: skip

    def _distractor(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        return self._still(rng)[:2] if rng.random() < 0.4 else None

    def _still(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool]:
        """A picture, its mask, and whether that is soft."""
        source, sequence = self.stills.draw(rng)
        labelled = source.labelled(sequence)
        index = labelled[int(rng.integers(len(labelled)))]
        return *source.read(sequence, index), source.is_soft(sequence, index)

    def _real(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool, NDArray[np.bool_]]:
        """A clip of a real video, its masks, whether these are soft, and which of them are there (T,)."""
        source, sequence = self.videos.draw(rng)
        indices = self._indices(rng, source.length(sequence), source.labelled(sequence))
        pairs = [source.read(sequence, i) for i in indices]
        labelled = np.array([source.is_labelled(sequence, i) for i in indices])
        placed = self._placed(rng, np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs]), labelled)
        return *placed, any(source.is_soft(sequence, i) for i in indices), labelled

    def _indices(self, rng: np.random.Generator, length: int, labelled: list[int]) -> list[int]:
        """A real clip's frames, drawn until the loss sees one with a mask."""
        recipe, known = self.recipe, set(labelled)
        seen = seen_slots(recipe.frames - self.ahead, recipe.target)
        for _ in range(200):
            indices = sample_indices(rng, length, recipe)
            if rng.random() < recipe.reverse:
                indices.reverse()
            if recipe.repeat and rng.random() < recipe.repeat and len(indices) > 1:
                place = int(rng.integers(1, len(indices)))
                indices = [*indices[:place], *indices[place - 1 : -1]]
            if len(labelled) == length or not known.isdisjoint(indices[slot] for slot in seen):
                return indices
        # None fits as it lies, such as a first frame that is to be a clip's last: the ends repeat.
        first = labelled[int(rng.integers(len(labelled)))] - seen[0]
        return [min(max(first + i, 0), length - 1) for i in range(recipe.frames)]


class Told(Dataset[Sample | VsalientError]):
    """Clips, or the error that making one met, as a value: a worker's exception would come with its traceback as text.

    Args:
        stream: the clips.
    """

    def __init__(self, stream: ClipStream) -> None:
        self.stream = stream

    def __getitem__(self, number: int) -> Sample | VsalientError:
        """Clip `number`."""
        try:
            return self.stream[number]
        except VsalientError as error:
            return error.with_traceback(None)


def join_told(samples: list[Sample | VsalientError]) -> Any:
    """A batch of samples, or the first error among them."""
    return next((s for s in samples if isinstance(s, VsalientError)), None) or default_collate(samples)


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


def seen_slots(frames: int, target: str) -> list[int]:
    """Which of a clip's frames the loss sees (`clips.target`)."""
    return {"middle": [frames // 2], "last": [frames - 1]}.get(target, list(range(frames)))


def look_ahead(recipe: ClipRecipe, priors: tuple[str, ...]) -> int:
    """How many frames behind a clip are drawn for its priors only: one where the loss sees the last frame alone.

    A prior's flow goes from a frame to the next. The last frame of a clip has none and would look back, which at
    inference only the last frame of a video does (STAN).
    """
    return int(bool(priors) and recipe.target == "last" and recipe.frames > 1)


def clip_priors(
    frames: NDArray[np.uint8],
    names: tuple[str, ...],
    *,
    apart: bool = False,
    after: NDArray[np.uint8] | None = None,
    stream: PriorStream | None = None,
) -> dict[str, Tensor]:
    """Priors of a clip's frames (T, H, W, 3), each (1, T, H, W) float32 in [0, 1]; zero for frames that are `apart`.

    `after` (H, W, 3) is the frame behind the clip: with it the last frame's flow looks ahead, without it back.
    `stream` makes them; ours when None.
    """
    if not names:
        return {}
    if apart:
        return {name: torch.zeros(1, *frames.shape[:3]) for name in names}
    size = frames.shape[2], frames.shape[1]
    seen = frames if after is None else np.concatenate([frames, after[None]])
    made = clip_maps(seen, names, stream=stream).items()
    found = {name: [_enlarged(one, size) for one in maps[: len(frames)]] for name, maps in made}
    return {name: torch.from_numpy(np.stack(maps))[None].float() for name, maps in found.items()}


def _enlarged(prior: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if prior.shape[::-1] == size:
        return prior
    return np.asarray(cv2.resize(prior, size, interpolation=cv2.INTER_LINEAR), np.float32)
