"""The engine: clips of a video -> probabilities, with what neighbouring clips share computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsalient.engine.choose import open_torch
from vsalient.engine.runner import Features, Maps, Runner
from vsalient.errors import DeviceError, OptionError
from vsalient.models.network import Network, describe
from vsalient.vocabulary import DtypeName

Result = TypeVar("Result")


class Engine:
    """Runs a network on clips. Not thread-safe: one thread calls `run`.

    The default trades the last digits for speed where that is safe (docs/models/3dc-seg.md has the numbers).

    Args:
        network: one of `vsalient.models`, or anything that meets its contract (`vsalient.models.network`); or a
            `Runner`, for which only `flip` counts. The engine takes a network over: it is put in evaluation mode and
            changed in place (batch norms folded, weights cast and reordered). Hand over a copy to keep the original.
        device: "auto" (CUDA, else MPS, else CPU; the next one where the network fails its self-check), "cpu", "cuda",
            "cuda:N" or "mps".
        dtype: "auto" is bfloat16 where the device is fast at it and a self-check passes, else float32.
        fuse: fold batch norms into their convolutions (changes results by rounding only, about 1e-6).
        exact: float32, nothing folded or rewritten, contiguous memory, no TF32: what the network's definition says.
        flip: run each clip mirrored as well, and take the mean.
        multiple: what the sides of the frames are multiples of, for the self-check's sample.

    Raises:
        DeviceError: the device is not there, or the network fails its self-check on it.
        OptionError: an unknown device or dtype, or `exact` with a reduced dtype.
    """

    def __init__(
        self,
        network: nn.Module | Network | Runner,
        *,
        device: str = "auto",
        dtype: DtypeName = "auto",
        fuse: bool = True,
        exact: bool = False,
        flip: bool = False,
        multiple: int | None = None,
    ) -> None:
        self.runner: Runner = (
            open_torch(describe(network), device=device, dtype=dtype, fuse=fuse, exact=exact, multiple=multiple)
            if isinstance(network, nn.Module | Network)
            else network
        )
        self.device, self.dtype = self.runner.device, self.runner.dtype
        self.description = "; ".join([self.runner.description, *["mirrored too"] * flip])
        """One line: device, dtype and why."""
        self.behind = 1 if self.device.startswith("cuda") else 0
        """How many clips may be submitted before the maps of the first are asked for."""
        self._sides = [_Side(mirrored) for mirrored in ((False, True) if flip else (False,))]

    @property
    def priors(self) -> tuple[str, ...]:
        """The per-frame maps that the network takes beside the frames."""
        return self.runner.priors

    def reset(self) -> None:
        """Forget all frames: call it between videos, since features are kept by frame index."""
        self._sides = [_Side(side.mirrored) for side in self._sides]

    def run(
        self,
        frames: Sequence[Tensor],
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> NDArray[np.float32]:
        """Compute one clip's foreground probabilities.

        Args:
            frames: T tensors (3, h, w), uint8 RGB, all of one size that suits the network (see `Geometry`).
            indices: the frames' indices in their video. They may repeat, and never fall back behind the clips
                before: features of frames before the smallest index are dropped.
            outputs: the slots whose maps are wanted, all when None.
            priors: for each of the network's priors T tensors (1, h, w), float in [0, 1].

        Returns:
            (len(outputs), h, w) float32 in [0, 1].

        Raises:
            DeviceError: the device ran out of memory, or lacks an operation; says what to try.
            OptionError: the network needs a prior that was not given.
        """
        return self.submit(frames, indices, outputs, priors)()

    def submit(
        self,
        frames: Sequence[Tensor],
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> Callable[[], NDArray[np.float32]]:
        """Begin a clip as `run` does, and give what waits for its maps.

        On a CPU they are ready then. A GPU works on while the next clip is submitted: ask for maps `behind` clips
        later, in order.
        """
        assert len(frames) == len(indices) > 0
        given = priors or {}
        missing = [name for name in self.priors if name not in given]
        if missing:
            raise OptionError(f"{self.runner.name} needs the prior {', '.join(missing)} with each clip")
        height, width = frames[0].shape[1:]
        work = f"a clip of {len(frames)} frames at {width}×{height}"
        begun = self._guarded(work, lambda: [self._one_side(side, frames, indices, given) for side in self._sides])

        def finish() -> NDArray[np.float32]:
            sides = self._guarded(work, lambda: [wait() for wait in begun])
            maps = sides[0] if len(sides) == 1 else (sides[0] + sides[1]) / np.float32(2)
            if not np.isfinite(maps).all():
                broken = "the weights are broken, fetch them again"
                raise DeviceError(
                    f"the network gave values that are not numbers in {self.runner.dtype}; "
                    + (broken if self.runner.dtype == "float32" else "try dtype float32")
                )
            return maps if outputs is None or len(maps) != len(indices) else maps[list(outputs)]

        return finish

    def _guarded(self, work: str, do: Callable[[], Result]) -> Result:
        """Do it; an error that speaks of the device becomes one line, once what it holds there is given back."""
        try:
            return do()
        except (RuntimeError, MemoryError) as error:
            problem = self.runner.explain(error, work)
            if problem is None:
                raise
            problem.__cause__ = error.with_traceback(None)  # its frames would keep the device's memory
        self.reset()
        self.runner.release()
        raise problem

    def _one_side(
        self, side: "_Side", frames: Sequence[Tensor], indices: Sequence[int], priors: Mapping[str, Sequence[Tensor]]
    ) -> Callable[[], NDArray[np.float32]]:
        if side.mirrored:
            frames = [frame.flip(-1) for frame in frames]
            priors = {name: [prior.flip(-1) for prior in maps] for name, maps in priors.items()}
        run = self._by_frames if self.runner.per_frame else self._whole_clip
        maps = run(side, frames, indices, priors)

        def wait() -> NDArray[np.float32]:
            got = maps() if callable(maps) else maps
            return np.ascontiguousarray(got[..., ::-1]) if side.mirrored else got

        return wait

    def _whole_clip(
        self, side: "_Side", frames: Sequence[Tensor], indices: Sequence[int], priors: Mapping[str, Sequence[Tensor]]
    ) -> Maps:
        pixels = torch.stack(tuple(frames), dim=1)[None]  # (1, 3, T, h, w) uint8
        # A still stretch of video: comparing costs a thousandth of running.
        if side.last is not None and not priors and torch.equal(side.last[0], pixels):
            return side.last[1]
        maps = self.runner.whole(pixels, {name: torch.stack(tuple(priors[name]), dim=1)[None] for name in self.priors})
        if priors:
            return maps
        kept = _Kept(maps)
        side.last = (pixels, kept)
        return kept

    def _by_frames(
        self, side: "_Side", frames: Sequence[Tensor], indices: Sequence[int], priors: Mapping[str, Sequence[Tensor]]
    ) -> Maps:
        if side.frame_shape != frames[0].shape:
            side.features.clear()
            side.frame_shape = frames[0].shape
        first = min(indices)
        features = side.features = {index: kept for index, kept in side.features.items() if index >= first}
        new = {index: slot for slot, index in enumerate(indices) if index not in features}
        if new:
            maps = {name: torch.stack([priors[name][slot] for slot in new.values()]) for name in self.priors}
            made = self.runner.encode(torch.stack([frames[slot] for slot in new.values()]), maps)
            features.update(zip(new, made, strict=True))
        probabilities = self.runner.decode([features[index] for index in indices])
        # A clip that jumps ahead leaves frames behind that no later one asks for.
        for index in list(features)[: -4 * len(indices)]:
            del features[index]
        return probabilities


class _Kept:
    """Maps that may be asked for again; each time a copy, since they are then the caller's to change."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps

    def __call__(self) -> NDArray[np.float32]:
        self._maps = ready = self._maps() if callable(self._maps) else self._maps
        return ready.copy()


@dataclass
class _Side:
    """What is remembered of a video as it is, or of its mirror image."""

    mirrored: bool
    features: dict[int, Features] = field(default_factory=dict)
    frame_shape: torch.Size | None = None
    last: tuple[Tensor, _Kept] | None = None
