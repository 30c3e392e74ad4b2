"""A long film in pieces: the same maps to the bit, however it was broken off and whoever did which piece."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_model import for_children, install, write_clip
from vsalient.cli.app import main
from vsalient.engine import Engine
from vsalient.errors import OptionError, OutputError
from vsalient.models.lite import Lite3DC
from vsalient.pipeline import saliency_maps
from vsalient.procedure import Procedure
from vsalient.scale.long import KeptEngine, PieceDone, Splitting, missing, parse_length
from vsalient.scale.pieces import PieceStore, PieceWriter
from vsalient.types import Frame


def frames(count: int) -> list[Frame]:
    """Noise that moves over noise, with repeated frames and a cut: what priors and clips must get right."""
    draw = np.random.default_rng(1)
    pictures = []
    for index in range(count):
        if index % 40 == 0:
            ground, thing = (draw.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(2))
        if index % 7 != 3:
            picture = np.roll(ground, index, axis=1)
            picture[20:44, (2 * index) % 60 : (2 * index) % 60 + 24] = thing[:24, :24]
        pictures.append(picture)
    return [Frame(p, index, index, Fraction(1, 25), scene=index // 40) for index, p in enumerate(pictures)]


PRIORS = ("residual", "residual_speed")
PROCEDURE = Procedure(clip_length=5, overlap=2, geometry="exact:64x96", multiple=32)


@pytest.fixture(scope="module")
def engine() -> Engine:
    torch.manual_seed(0)
    return Engine(Lite3DC(), device="cpu", dtype="float32")


def maps(source: list[Frame], engine: object) -> list[np.ndarray]:
    return [saliency for _, saliency in saliency_maps(iter(source), engine, PROCEDURE, priors=PRIORS)]  # type: ignore[arg-type]


def test_pieces_give_the_maps_of_one_run_to_the_bit(engine: Engine, tmp_path: Path) -> None:
    source = frames(97)
    plain = maps(source, engine)
    splitting = Splitting.plan(1.0, 25, PROCEDURE.clip_length, PROCEDURE.overlap)
    assert splitting.frames == 25
    store = PieceStore(tmp_path, splitting.frames)
    calls: list[int] = []

    class Counting:
        behind = 1  # as on a GPU

        def reset(self) -> None:
            engine.reset()

        def submit(self, frames, indices, outputs=None, priors=None):  # type: ignore[no-untyped-def]
            calls.append(min(indices))
            return engine.submit(frames, indices, outputs, priors)

    for piece in (2, 0, 3):  # in any order, one of them the last
        kept = KeptEngine(Counting(), store, splitting, only=piece)
        with contextlib.suppress(PieceDone):
            maps(source, kept)
            kept.finish()
    assert list(missing(store, None)) == [1] and store.whole() == {0, 2, 3}
    assert [store.is_last(piece) for piece in (0, 2, 3)] == [False, False, True]
    before = len(calls)
    kept = KeptEngine(Counting(), store, splitting)
    joined = maps(source, kept)
    kept.finish()
    assert list(missing(store, 9)) == []
    assert all(np.array_equal(a, b) for a, b in zip(plain, joined, strict=True))
    assert 8 <= len(calls) - before <= (25 + splitting.margin) / 3 + 3, "only what was missing is computed"
    before = len(calls)
    assert all(
        np.array_equal(a, b) for a, b in zip(plain, maps(source, KeptEngine(Counting(), store, splitting)), strict=True)
    )
    assert len(calls) == before, "all is kept: the network rests"


def test_a_film_that_ends_before_its_piece(engine: Engine, tmp_path: Path) -> None:
    source, splitting, store = frames(30), Splitting.plan(1.0, 25, 5, 2), PieceStore(tmp_path, 25)
    kept = KeptEngine(engine, store, splitting, only=4)
    maps(source, kept)
    kept.finish()
    assert store.is_last(4) and list(missing(store, 2)) == [0, 1, 2, 3]


def test_values_are_kept_to_the_bit(tmp_path: Path) -> None:
    store = PieceStore(tmp_path, 25)
    values = np.random.default_rng(0).random((3, 9, 7), np.float32)
    values[0, 0, :2] = (1e-42, 1.0)  # subnormal
    writer = PieceWriter(store, 0)
    writer.add([0, 1, 2], values)
    writer.add([2, 3, 3], values[:, ::2])
    writer.close(last=True)
    assert np.array_equal(store.read(0, [0, 1, 2]), values) and np.array_equal(store.read(0, [2, 3, 3]), values[:, ::2])
    with pytest.raises(OutputError, match="does not fit this film"):
        PieceStore(tmp_path, 25).read(0, [0, 1, 3])


def test_lengths() -> None:
    assert [parse_length(text) for text in ("90", "90s", "1.5min", "10m", "1h")] == [90, 90, 90, 600, 3600]
    for text in ("", "0s", "x", "10 parsecs", "-5s", "nan", "inf"):
        with pytest.raises(OptionError, match="is no length"):
            parse_length(text)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def start(*arguments: str, seconds: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "RED_SECONDS": seconds}
    command = [sys.executable, "-m", "vsalient", "predict", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*vsalient-run-*/*.piece"))


def same(first: Path, second: Path) -> bool:
    names = sorted(path.name for path in first.iterdir())
    return names == sorted(p.name for p in second.iterdir()) and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in names
    )


def test_a_film_goes_on_where_it_was_killed(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(place / "film.mp4", 150)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert predict("film.mp4", "-w", "maps", "-o", "plain", "-q") == 0
    common = ("film.mp4", "-w", "maps", "-o", "out", "--split-long", "1s")
    process = start(*common, seconds="0.1")
    deadline = time.monotonic() + 90
    while len(pieces(place / "out")) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    capsys.readouterr()
    assert predict(*common, "--json") == 0
    assert same(place / "plain/film_maps", place / "out/film_maps")
    assert [path.name for path in (place / "out").iterdir()] == ["film_maps"], "the pieces are cleared away"


@pytest.mark.slow
def test_two_workers_share_one_film(place: Path) -> None:
    write_clip(place / "film.mp4", 150)
    torch.set_num_threads(1)
    assert predict("film.mp4", "-w", "maps", "-o", "plain", "-q") == 0
    common = ("film.mp4", "-w", "maps", "-o", "out", "--split-long", "1s", "--claim", "--claim-timeout", "3")
    workers = [start(*common, seconds="0.15") for _ in range(2)]
    said = [worker.communicate(timeout=200)[1] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers), said
    assert same(place / "plain/film_maps", place / "out/film_maps")
    done = [text.count(": piece ") for text in said]
    assert all(done) and 6 <= sum(done) <= 8, "both had a hand in it"
    assert not pieces(place / "out")
