"""What the network says of the pieces of one long film, kept on the disk: to go on from, or to be put together.

A piece is a stretch of frames; a clip belongs to the piece that its first frame lies in. Its file has a line of JSON
a clip (frame indices, shape, bytes), each followed by the probabilities, and a last line that says that it is whole.
Values are kept to the bit: their bytes are sorted by significance, which lets zlib find what is alike.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OutputError
from vsalient.scale.identity import fingerprint
from vsalient.staging import publish, staged_name
from vsalient.sweeping import RUN_MARK

KeptMaps = NDArray[np.float32]
"""(T, h, w) in [0, 1]: what a network says of the kept slots of one clip."""


def run_folder(output: Path, *identity: object) -> Path:
    """The folder beside an output that keeps a run's pieces; another for another input, other settings or an engine."""
    name = fingerprint({str(number): str(part) for number, part in enumerate(identity)})
    return output.with_name(f".{output.stem[:80]}{RUN_MARK}{name}")


class PieceStore:
    """The pieces of one run.

    Args:
        folder: see `run_folder`.
        frames: of one piece.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames
        self._reading: tuple[int, Iterator[tuple[list[int], KeptMaps]]] | None = None

    def path(self, piece: int) -> Path:
        """Where a piece stands once it is whole."""
        return self.folder / f"{piece:06}.piece"

    def has(self, piece: int) -> bool:
        """Whether a piece is whole."""
        return self.path(piece).exists()

    def whole(self) -> set[int]:
        """The pieces that are whole."""
        if not self.folder.is_dir():
            return set()
        return {int(path.stem) for path in self.folder.glob("*.piece") if path.stem.isdigit()}

    def is_last(self, piece: int) -> bool:
        """Whether the film ends in this piece, which is whole."""
        with self.path(piece).open("rb") as file:
            file.seek(-min(200, file.seek(0, 2)), 2)
            end = json.loads(file.read().rstrip(b"\n").rpartition(b"\n")[2])
        return bool(end["last"])

    def read(self, piece: int, indices: Sequence[int]) -> KeptMaps:
        """What is kept of the next clip of a piece; clips are read in order.

        Raises:
            OutputError: it is another clip's: the piece does not belong to this film.
        """
        if self._reading is None or self._reading[0] != piece:
            self._reading = piece, _piece_records(self.path(piece))
        kept, values = next(self._reading[1], ([], np.zeros(0, np.float32)))
        if kept != list(indices):
            raise OutputError(f"{self.path(piece)} does not fit this film: remove {self.folder} and run again")
        return values


class PieceWriter:
    """Writes one piece under a hidden name; it takes its own when it is whole."""

    def __init__(self, store: PieceStore, piece: int) -> None:
        self._path = store.path(piece)
        self._staged = staged_name(self._path)
        self._file = self._staged.open("xb")

    def add(self, indices: Sequence[int], values: KeptMaps) -> None:
        """Keep a clip."""
        data = np.ascontiguousarray(values, "<f4")
        sorted_bytes = np.ascontiguousarray(data.reshape(-1).view(np.uint8).reshape(-1, 4).T)
        packed = zlib.compress(sorted_bytes.tobytes(), 1)
        head = {"indices": list(indices), "shape": data.shape, "bytes": len(packed)}
        self._file.write(json.dumps(head).encode() + b"\n" + packed + b"\n")

    def close(self, *, last: bool) -> None:
        """The piece is whole; `last` says whether the film ends in it."""
        self._file.write(json.dumps({"last": last}).encode() + b"\n")
        self._file.close()
        publish(self._staged, self._path, overwrite=True)

    def abort(self) -> None:
        """Leave nothing."""
        self._file.close()
        self._staged.unlink(missing_ok=True)


def _piece_records(path: Path) -> Iterator[tuple[list[int], KeptMaps]]:
    with path.open("rb") as file:
        while True:
            head = json.loads(file.readline())
            if "last" in head:
                return
            data = np.frombuffer(zlib.decompress(file.read(head["bytes"])), np.uint8)
            file.read(1)
            values = np.ascontiguousarray(data.reshape(4, -1).T).view("<f4").reshape(head["shape"])
            yield head["indices"], values.astype(np.float32, copy=False)
