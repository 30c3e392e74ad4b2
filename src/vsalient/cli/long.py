"""`--split-long`: a long film in pieces, kept to go on from, and shared with other workers under `--claim`."""

import shutil
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vsalient.cli.shared.inputs import expected_frames
from vsalient.figures import Report
from vsalient.run import Maps
from vsalient.scale.agenda import Task
from vsalient.scale.claims import Claims
from vsalient.scale.identity import identify
from vsalient.scale.long import KeptEngine, PieceDone, Splitting, share_pieces
from vsalient.scale.pieces import PieceStore, run_folder
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.cli.work import Worker
    from vsalient.media import Source
    from vsalient.pipeline import EngineLike

PIECES_PAUSE = 1.0
"""Seconds until pieces that others compute are looked at again."""


@dataclass
class LongFilms:
    """Makes the maps of long films piece by piece.

    Attributes:
        seconds: of a piece.
        settings: fingerprint of what was asked for.
        claims: shared with other workers; None when nobody else is at it.
    """

    seconds: float
    settings: str
    claims: Claims | None = None
    _stores: dict[str, PieceStore] = field(default_factory=dict)

    def maps(self, worker: "Worker", task: Task, source: "Source", report: Report) -> Maps:
        """All maps of a film, as one run would make them.

        Yields:
            As `vsalient.api.Model.maps`.
        """
        splitting, store, expected = self._plan(worker, task, source)
        store.folder.mkdir(parents=True, exist_ok=True)
        if self.claims is not None:
            while share_pieces(store, expected, self.claims, lambda piece: self._compute(worker, task, piece)):
                time.sleep(PIECES_PAUSE)
        engines: list[KeptEngine] = []

        def through(engine: "EngineLike") -> KeptEngine:
            engines.append(KeptEngine(engine, store, splitting))
            return engines[0]

        try:
            with closing(worker.loaded().maps(source, worker.procedure, report, through=through)) as made:
                yield from made
            for engine in engines:
                engine.finish()
        finally:
            for engine in engines:
                engine.abort()

    def help(self, worker: "Worker", task: Task) -> None:
        """Compute what pieces are free of a film that another worker has."""
        assert self.claims is not None
        with worker.open(Path(task.source)) as source:
            _, store, expected = self._plan(worker, task, source)
        if not store.folder.is_dir():  # whoever has the film makes the folder, and removes it in the end
            return
        try:
            share_pieces(store, expected, self.claims, lambda piece: self._compute(worker, task, piece))
        except OSError:
            if store.folder.is_dir():
                raise

    def forget(self, task: Task) -> None:
        """The film's outputs stand: its pieces are no longer needed."""
        store = self._stores.pop(task.source, None)
        if store is not None:
            shutil.rmtree(store.folder, ignore_errors=True)

    def _plan(self, worker: "Worker", task: Task, source: "Source") -> tuple[Splitting, PieceStore, int | None]:
        start, end, _ = worker.span
        procedure = worker.procedure
        rate = float(source.info.rate or 25)
        splitting = Splitting.plan(self.seconds, rate, procedure.clip_length, procedure.overlap)
        engine = worker.loaded().description  # device, dtype, threads: to the bit only on the same
        place, source_now = next(iter(task.outputs.values())), identify(Path(task.source))
        folder = run_folder(place, self.settings, source_now, engine, splitting, __version__, worker.span)
        store = self._stores.setdefault(task.source, PieceStore(folder, splitting.frames))
        frames = expected_frames(source.info, start, end)
        return splitting, store, None if frames is None else -(-frames // splitting.frames)

    def _compute(self, worker: "Worker", task: Task, piece: int) -> None:
        with worker.open(Path(task.source)) as source:
            splitting, store, _ = self._plan(worker, task, source)
            kept: list[KeptEngine] = []

            def through(engine: "EngineLike") -> KeptEngine:
                kept.append(KeptEngine(engine, store, splitting, only=piece))
                return kept[0]

            worker.console.say(f"{task.source}: piece {piece + 1}")
            try:
                ended = False
                with (
                    suppress(PieceDone),
                    closing(worker.loaded().maps(source, worker.procedure, through=through)) as maps,
                ):
                    for _ in maps:
                        pass
                    ended = True
                if ended:
                    kept[0].finish()
            finally:
                for engine in kept:
                    engine.abort()
