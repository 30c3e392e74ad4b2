"""The engine: clips of a video -> probabilities, with what neighbouring clips share computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsalient.engine.choose import open_torch
from vsalient.engine.runner import Features, Probabilities, Runner
from vsalient.errors import DeviceError, OptionError
from vsalient.models.network import Network, describe
from vsalient.vocabulary import DtypeName


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
        # The runner is asked here and nowhere deeper: what a side remembers is looked up before and kept after.
        try:
            begun: list[Probabilities] = []
            for side in self._sides:
                clip = side.seen(frames, indices, {name: given[name] for name in self.priors})
                if self.runner.per_frame:
                    if new := side.new(clip):
                        side.keep(new, self.runner.encode(*clip.only(new)))
                    begun.append(self.runner.decode(side.features_of(clip)))
                elif (kept := side.same(clip)) is not None:
                    begun.append(kept)
                else:
                    begun.append(side.remember(clip, self.runner.whole(*clip.whole())))
        except (RuntimeError, MemoryError) as error:
            problem = self._explained(error, work)
        else:
            # A GPU may still be at work: nobody waits for it before the maps are asked for.
            return lambda: self._fetch(begun, work, None if outputs is None else list(outputs), len(indices))
        raise self._given_back(problem)

    def _fetch(
        self, begun: Sequence[Probabilities], work: str, outputs: list[int] | None, slots: int
    ) -> NDArray[np.float32]:
        """Wait for the maps of a clip's sides, and take their mean."""
        try:
            sides = [side.upright(maps) for side, maps in zip(self._sides, begun, strict=True)]
        except (RuntimeError, MemoryError) as error:
            problem = self._explained(error, work)
        else:
            maps = sides[0] if len(sides) == 1 else (sides[0] + sides[1]) / np.float32(2)
            if not np.isfinite(maps).all():
                broken = "the weights are broken, fetch them again"
                raise DeviceError(
                    f"the network gave values that are not numbers in {self.runner.dtype}; "
                    + (broken if self.runner.dtype == "float32" else "try dtype float32")
                )
            return maps if outputs is None or len(maps) != slots else maps[outputs]
        raise self._given_back(problem)

    def _explained(self, error: Exception, work: str) -> DeviceError:
        """One line for an error that speaks of the device; any other goes on as it is."""
        problem = self.runner.explain(error, work)
        if problem is None:
            raise error
        problem.__cause__ = error.with_traceback(None)  # its frames would keep the device's memory
        return problem

    def _given_back(self, problem: DeviceError) -> DeviceError:
        """The same, once what is held on the device is given back: after the error's frames are gone, not before."""
        self.reset()
        self.runner.release()
        return problem


class _Kept:
    """Maps that may be asked for again; each time a copy, since they are then the caller's to change."""

    def __init__(self, maps: Probabilities) -> None:
        self._maps = maps

    def __call__(self) -> NDArray[np.float32]:
        self._maps = ready = self._maps() if callable(self._maps) else self._maps
        return ready.copy()


@dataclass(frozen=True, slots=True)
class _Clip:
    """T frames (3, h, w) uint8 as one side sees them, with their indices and T maps (1, h, w) of each prior."""

    frames: Sequence[Tensor]
    indices: Sequence[int]
    priors: Mapping[str, Sequence[Tensor]]

    def only(self, slots: Mapping[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Some of its frames as a batch (N, 3, h, w), priors (N, 1, h, w)."""
        stacked = {name: torch.stack([maps[slot] for slot in slots.values()]) for name, maps in self.priors.items()}
        return torch.stack([self.frames[slot] for slot in slots.values()]), stacked

    def whole(self) -> tuple[Tensor, dict[str, Tensor]]:
        """All as one batch (1, 3, T, h, w), priors (1, 1, T, h, w)."""
        stacked = {name: torch.stack(tuple(maps), dim=1)[None] for name, maps in self.priors.items()}
        return torch.stack(tuple(self.frames), dim=1)[None], stacked


@dataclass
class _Side:
    """What is remembered of a video as it is, or of its mirror image."""

    mirrored: bool
    features: dict[int, Features] = field(default_factory=dict)
    frame_shape: torch.Size | None = None
    last: tuple[Sequence[Tensor], _Kept] | None = None

    def seen(self, frames: Sequence[Tensor], indices: Sequence[int], priors: Mapping[str, Sequence[Tensor]]) -> _Clip:
        """A clip as this side sees it."""
        if not self.mirrored:
            return _Clip(frames, indices, priors)
        flipped = {name: [prior.flip(-1) for prior in maps] for name, maps in priors.items()}
        return _Clip([frame.flip(-1) for frame in frames], indices, flipped)

    def upright(self, maps: Probabilities) -> NDArray[np.float32]:
        """Its maps as the video is turned."""
        got = maps() if callable(maps) else maps
        return np.ascontiguousarray(got[..., ::-1]) if self.mirrored else got

    def new(self, clip: _Clip) -> dict[int, int]:
        """Index -> slot of the frames without features; those of frames before the clip are forgotten."""
        shape, first = clip.frames[0].shape, min(clip.indices)
        same = self.frame_shape == shape
        self.frame_shape = shape
        self.features = {index: kept for index, kept in self.features.items() if same and index >= first}
        return {index: slot for slot, index in enumerate(clip.indices) if index not in self.features}

    def keep(self, new: Mapping[int, int], made: Sequence[Features]) -> None:
        """Remember the features of new frames."""
        self.features.update(zip(new, made, strict=True))

    def features_of(self, clip: _Clip) -> list[Features]:
        """A clip's features in order."""
        found = [self.features[index] for index in clip.indices]
        # A clip that jumps ahead leaves frames behind that no later one asks for.
        for index in list(self.features)[: -4 * len(clip.indices)]:
            del self.features[index]
        return found

    def same(self, clip: _Clip) -> "_Kept | None":
        """The last clip's maps, where this one has the same pixels: a still stretch of video.

        Comparing costs a thousandth of running. With priors it would have to be all of them: such a clip always runs.
        """
        if self.last is None or clip.priors or len(clip.frames) != len(self.last[0]):
            return None
        return self.last[1] if all(map(torch.equal, clip.frames, self.last[0])) else None

    def remember(self, clip: _Clip, maps: Probabilities) -> Probabilities:
        """Keep a clip's maps for the next one."""
        if clip.priors:
            return maps
        kept = _Kept(maps)
        self.last = (clip.frames, kept)
        return kept
