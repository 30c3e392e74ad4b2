"""The child's side of `vsalient.scale.worker`: requests on stdin, answers on stdout, a JSON object a line."""

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from vsalient.cli.doing import telling
from vsalient.cli.shared.console import Console
from vsalient.errors import InputError, VsalientError
from vsalient.scale.agenda import Outcome, Task
from vsalient.scale.claims import FOLDER, Claim, ClaimLost
from vsalient.scale.stores import FolderStore
from vsalient.scale.worker import die_with_parent, result_line

if TYPE_CHECKING:
    from vsalient.cli.work import Worker

PROGRESS_PAUSE = 0.2
"""Seconds between two lines of progress at least."""


class _Bar:
    """Reports frames to the parent; ends an input that has more than are allowed."""

    def __init__(self, total: int | None, most: float) -> None:
        self._total, self._most, self._last = total, most, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def advance(self, frames: int) -> None:
        if frames > self._most:
            raise InputError(f"the video has more than {self._most:g} frames, which is what is allowed here")
        now = time.monotonic()
        if now - self._last >= PROGRESS_PAUSE:
            self._last = now
            print(json.dumps({"frames": frames, "total": self._total}), flush=True)  # noqa: T201


class _Reporter(Console):
    """A console that speaks to the parent."""

    most = float("inf")

    def frames(self, name: str, total: int | None) -> Any:
        return _Bar(total, self.most)


def serve_requests(worker: "Worker") -> int:
    """Do what stdin asks for until it ends."""
    die_with_parent()
    worker.console = reporter = _Reporter(quiet=True)
    broken: VsalientError | None = None
    try:
        worker.prepare()
    except VsalientError as error:
        broken = error
    # Only now the clock of a time limit starts: what comes before is not the input's doing.
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201
    for line in sys.stdin:
        request = json.loads(line)
        print(result_line(_answer(worker, reporter, request, broken)), flush=True)  # noqa: T201
    return 0


def _answer(worker: "Worker", reporter: _Reporter, request: dict[str, Any], broken: VsalientError | None) -> Outcome:
    source = Path(request["input"])
    task = Task(str(source), {kind: Path(path) for kind, path in request["outputs"].items()}, bool(request["redo"]))
    limits = request.get("limits") or {}
    reporter.most = limits.get("frames", float("inf"))
    if "extra" in request:
        worker.maps = {source: Path(request["extra"])}
    claim = _claim(request.get("claim"), task.outputs)
    try:
        with telling(task.source) as outcome:
            if broken is not None:
                raise broken
            if limits:
                _check_limits(source, limits)
            with claim.guarding() if claim is not None else nullcontext():
                outcome = worker.work(task)
        return outcome
    except ClaimLost as lost:
        return Outcome(task.source, "lost", str(lost))


def _claim(record: dict[str, Any] | None, outputs: dict[str, Path]) -> Claim | None:
    if record is None:
        return None
    store = FolderStore(Path(record["folder"]) / FOLDER)
    return Claim(record["name"], record["generation"], record["token"], tuple(outputs.values()), False, store, b"")


def _check_limits(source: Path, limits: dict[str, float]) -> None:
    """Look at what a video says of itself before any work.

    Raises:
        InputError: it is too long or too large.
    """
    from vsalient.media import open_source

    with open_source(source) as opened:
        info = opened.info
    if info.duration is not None and info.duration > limits["seconds"]:
        raise InputError(f"the video lasts {info.duration:.0f} s, {limits['seconds']:g} s are allowed here")
    if info.width * info.height > limits["pixels"]:
        raise InputError(f"the video is {info.width}x{info.height}, {limits['pixels']:g} pixels are allowed here")
