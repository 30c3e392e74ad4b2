"""What a run has done: how many frames, how fast, and which stage held it up."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

STAGES = ("decode", "priors", "model", "finish", "segment", "encode")
"""Reading and resizing; optical flow for networks that need it; the network; bringing maps to the frame's size;
from maps to masks; writing."""


@dataclass
class Report:
    """What a run has done so far.

    Attributes:
        frames: maps delivered.
        corrupt_frames: frames among them that stand in for damaged ones.
        clips: clips that went through the network.
        first_map_seconds: from the start of the run to the first map, None before it.
        seconds: from the start of the run until its end.
        outputs: how many are written.
    """

    frames: int = 0
    corrupt_frames: int = 0
    clips: int = 0
    first_map_seconds: float | None = None
    seconds: float = 0.0
    outputs: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _busy: dict[tuple[str, int], float] = field(default_factory=dict, repr=False)
    _here: dict[int, tuple[float, int]] | None = field(default=None, repr=False)
    _delays: list[float] = field(default_factory=list, repr=False)

    def follow(self) -> None:
        """Measure from now on how long each frame takes from its arrival to its outputs."""
        self._here = {}

    def arrived(self, index: int) -> None:
        """Frame `index` has been decoded."""
        if self._here is not None:
            self._here[index] = time.perf_counter(), self.outputs

    def delivered(self, index: int) -> None:
        """An output has written frame `index`; the last of them counts."""
        if self._here is None:
            return
        with self._lock:
            since, left = self._here.pop(index)
            if left > 1:
                self._here[index] = since, left - 1
            else:
                self._delays.append(time.perf_counter() - since)

    @property
    def delays(self) -> tuple[float, float] | None:
        """Seconds from a frame's arrival to its outputs, the median and the 95th percentile; None unless followed."""
        if not self._delays:
            return None
        ranked = sorted(self._delays)
        return ranked[len(ranked) // 2], ranked[min(len(ranked) - 1, int(0.95 * len(ranked)))]

    @property
    def stages(self) -> dict[str, float]:
        """Busy seconds by stage, see `STAGES`; of several outputs the busiest counts."""
        with self._lock:
            busy = dict(self._busy)
        longest: dict[str, float] = {}
        for (stage, _), seconds in busy.items():
            longest[stage] = max(longest.get(stage, 0.0), seconds)
        return {stage: longest[stage] for stage in STAGES if stage in longest}

    @property
    def bottleneck(self) -> str:
        """The stage that was busy longest, "" before any was."""
        stages = self.stages
        return max(stages, key=stages.__getitem__, default="")

    def figures(self) -> dict[str, Any]:
        """Everything as plain values, rounded to milliseconds, for a JSON summary."""
        first = self.first_map_seconds
        return {
            "frames": self.frames,
            "corrupt_frames": self.corrupt_frames,
            "clips": self.clips,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames / self.seconds, 3) if self.seconds else None,
            "first_map_seconds": None if first is None else round(first, 3),
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stages.items()},
            "bottleneck": self.bottleneck,
            **({} if self.delays is None else {"delay_seconds": [round(value, 3) for value in self.delays]}),
        }

    @contextmanager
    def busy(self, stage: str, lane: int = 0) -> Iterator[None]:
        """Count the time within the block as spent in `stage`; lanes of a stage work side by side."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage, lane] = self._busy.get((stage, lane), 0.0) + time.perf_counter() - start
