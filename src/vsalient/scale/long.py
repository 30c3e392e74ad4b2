"""One long film in pieces: the network's work is done once, whoever does it and however often it is broken off.

Only the network's work is split. Every worker runs the whole chain from the first frame on, so that clips, priors and
stitching are those of an unbroken run; but where it has no piece to compute, frames are neither resized nor is their
optical flow measured, and the network rests. Before a piece the network runs warm on some clips whose maps are not
kept: features of a frame are computed in the same company as in one run, which makes the last bit the same.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vsalient.errors import OptionError
from vsalient.scale.claims import Claims
from vsalient.scale.pieces import KeptMaps, PieceStore, PieceWriter

if TYPE_CHECKING:
    from torch import Tensor

    from vsalient.pipeline import EngineLike

UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}


class PieceDone(Exception):  # noqa: N818 - a signal
    """The piece that was wanted is computed; what follows need not be looked at."""


def parse_length(text: str) -> float:
    """Seconds of `90`, `90s`, `10min` or `1h`.

    Raises:
        OptionError: it is none of them, or below a second.
    """
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text.strip()[len(number) :]
    with suppress(ValueError, KeyError):
        seconds = float(number) * UNITS[unit or "s"]
        if 1 <= seconds < 1e7:
            return seconds
    raise OptionError(f"--split-long '{text}' is no length: give for example 90s, 10min or 1h, at least 1s")


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a film is split.

    Attributes:
        frames: of a piece.
        clip: frames of a clip.
        stride: frames between two clips' beginnings.
    """

    frames: int
    clip: int
    stride: int

    @property
    def margin(self) -> int:
        """Frames before a piece from whose clips on the network runs."""
        return self.clip + 2 * self.stride

    @classmethod
    def plan(cls, seconds: float, rate: float, clip: int, overlap: int) -> "Splitting":
        """Pieces of about so many seconds; never so short that most of the work would be running warm."""
        stride = clip - overlap
        return cls(max(round(seconds * rate), 2 * (clip + 2 * stride)), clip, stride)


class KeptEngine:
    """Stands between the pipeline and an engine: computes the pieces that are wanted, reads those that are kept.

    Args:
        engine: runs clips.
        store: of the pieces.
        splitting: how the film is split.
        only: the one piece to compute; None for all that are not kept, and then every map is given out.

    Attributes:
        behind: how many clips may be submitted before the maps of the first are asked for.
    """

    def __init__(
        self, engine: "EngineLike", store: PieceStore, splitting: Splitting, *, only: int | None = None
    ) -> None:
        self._engine, self._store, self._splitting, self._only = engine, store, splitting, only
        self._kept = frozenset(store.whole())
        self._end = min((piece + 1 for piece in self._kept if store.is_last(piece)), default=None)
        self._scene = 0
        self.behind = engine.behind
        self._writer: tuple[int, PieceWriter] | None = None

    def reset(self) -> None:
        """Another video begins."""
        self._engine.reset()

    def begins(self, frame: int) -> None:
        """A scene begins at this frame of the film; clips count their frames from there."""
        self._scene = frame

    def idle(self, index: int) -> bool:
        """Whether the network will not look at a frame."""
        split = self._splitting
        first, last = (index - split.clip) // split.frames, (index + split.margin) // split.frames
        return not any(self._wanted(piece) for piece in range(first, last + 1))

    def submit(
        self,
        frames: "Sequence[Tensor]",
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: "Mapping[str, Sequence[Tensor]] | None" = None,
    ) -> Callable[[], KeptMaps]:
        """Begin a clip, and give what waits for it: computed, read, or a blank where nobody asks.

        What waits raises `PieceDone` once the one piece that was wanted lies behind.
        """
        split = self._splitting
        place = [self._scene + index for index in indices]
        start = min(place)
        piece = start // split.frames
        shape = (len(indices if outputs is None else outputs), *frames[0].shape[1:])
        awake = self._wanted(piece) or self._wanted((start + split.margin) // split.frames)
        begun = self._engine.submit(frames, indices, outputs, priors) if awake else None

        def finish() -> KeptMaps:
            self._turn(piece)
            if self._only is not None and piece > self._only:
                raise PieceDone
            values = None if begun is None else begun()
            if self._wanted(piece):
                assert values is not None and self._writer is not None
                self._writer[1].add(place, values)
                return values
            return self._store.read(piece, place) if self._only is None else np.zeros(shape, np.float32)

        return finish

    def finish(self) -> None:
        """The film has ended: the piece under way is its last."""
        if self._only is not None and self._writer is None and not self._store.has(self._only):
            self._writer = self._only, PieceWriter(self._store, self._only)  # beyond the end: empty
        if self._writer is not None:
            self._writer[1].close(last=True)
            self._writer = None

    def abort(self) -> None:
        """Keep nothing of the piece under way."""
        if self._writer is not None:
            self._writer[1].abort()
            self._writer = None

    def _wanted(self, piece: int) -> bool:
        within = piece >= 0 and (self._end is None or piece < self._end)
        return within and piece not in self._kept and self._only in (None, piece)

    def _turn(self, piece: int) -> None:
        """Finish the piece before, begin the one that a clip lies in."""
        if self._writer is not None and self._writer[0] != piece:
            self._writer[1].close(last=False)
            self._writer = None
        if self._writer is None and self._wanted(piece):
            self._writer = piece, PieceWriter(self._store, piece)


def missing(store: PieceStore, expected: int | None) -> Iterator[int]:
    """Pieces that are not whole yet, as far as is known; none once the last is there and all before it.

    Args:
        store: of the pieces.
        expected: how many there should be by what the container says; more turn up when it is wrong.
    """
    whole = store.whole()
    ends = [piece for piece in whole if store.is_last(piece)]
    if ends:
        count = min(ends) + 1
    else:
        count = max(expected or 1, max(whole, default=-1) + 2)
    yield from (piece for piece in range(count) if piece not in whole)


def share_pieces(
    store: PieceStore, expected: int | None, claims: Claims, compute: Callable[[int], Any]
) -> Collection[int]:
    """Compute pieces that nobody else is at; returns those that others are at still.

    Args:
        store: of the pieces.
        expected: how many there should be.
        claims: of this worker.
        compute: computes one piece, so that it is whole afterwards.
    """
    busy: set[int] = set()
    progress = True
    while progress:
        progress, busy = False, set()
        for piece in list(missing(store, expected)):
            state, claim = claims.take(f"{store.folder.name}/{piece}", {"piece": store.path(piece)})
            if claim is None:
                busy |= {piece} if state == "busy" else set()
                progress = progress or state == "done"
                continue
            try:
                with claim.guarding():
                    compute(piece)
            except BaseException:
                claims.release(claim)
                raise
            claims.done(claim, {"piece": store.path(piece)})
            progress = True
    return busy
