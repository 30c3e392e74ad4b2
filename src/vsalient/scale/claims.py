"""Claims: any number of workers, started at any time on one folder, do each input once.

A claim is a record beside the outputs. It has a generation: to take over from an owner that is gone, a worker makes the
record of the next generation, and of several that try one succeeds. An owner holds its input as long as its own record
is there and none of a higher generation; it looks before it publishes. A heart-beat renews the record's time; whoever
finds a record that was not renewed for `patience` seconds, by the clock of the file system, takes over. When an input
is done, a `done` record takes the claim's place.
"""

import hashlib
import json
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vsalient.errors import OutputError
from vsalient.scale.identity import measure_file
from vsalient.scale.stores import FolderStore, Store
from vsalient.staging import guarded, owner_lives, owner_stamp
from vsalient.sweeping import CLAIMS, fence

FOLDER = CLAIMS
PATIENCE = 60.0
"""Seconds without a heart-beat after which an owner counts as gone."""
State = Literal["taken", "done", "failed", "busy"]
_Settled = Literal["done", "failed", "again"]


class ClaimLost(OutputError):  # noqa: N818 - says what happened
    """Another worker took this input over in the meantime."""


@dataclass
class Claim:
    """One input that this worker holds.

    Attributes:
        name: the record's name without generation.
        generation: counted from 1; above 1 it was taken over from somebody.
        token: says that the record is ours.
        outputs: where the outputs will stand.
        again: what stands at the outputs' places is the half of an attempt that broke off, or of other settings.
    """

    name: str
    generation: int
    token: str
    outputs: tuple[Path, ...]
    again: bool
    store: Store = field(repr=False)
    record: bytes = field(repr=False)

    @property
    def place(self) -> str:
        """The name of this claim's own record."""
        return f"{self.name}.{self.generation}"

    def check(self) -> None:
        """See that the input is still ours.

        Raises:
            ClaimLost: it is not.
        """
        held = self.store.read(self.place)
        lost = held is None or json.loads(held).get("token") != self.token
        if lost or self.store.exists(f"{self.name}.{self.generation + 1}"):
            raise ClaimLost("another worker took over while this one was stopped: its outputs stand, these are dropped")

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Within the block nothing is published that is not ours any more."""
        with guarded(self.check):
            yield


class Claims:
    """Takes and gives up claims, and beats for those it holds. A context manager.

    Args:
        settings: fingerprint of what is asked for; what is done with others is done again.
        patience: seconds after which an owner without a heart-beat counts as gone.
        redo_other: do again what was done with other settings; else that is an error.
    """

    def __init__(self, settings: str, *, patience: float = PATIENCE, redo_other: bool = False) -> None:
        self._settings, self._patience, self._redo_other = settings, patience, redo_other
        self._stores: dict[Path, Store] = {}
        self._held: dict[int, Claim] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._started: dict[Path, float] = {}
        self._beats = threading.Thread(target=self._beat, name="vsalient-claims", daemon=True)
        self._beats.start()

    def prepare(self, folders: Sequence[Path]) -> None:
        """Make the folders of claims, before any work.

        Raises:
            OutputError: one cannot be written to.
        """
        for folder in dict.fromkeys(folders):
            self._store(folder)

    def knows(self, outputs: Mapping[str, Path]) -> bool:
        """Whether what stands at these places was made under a claim, whatever its settings."""
        folder, name = _home(tuple(outputs.values()))
        return any(self._store(folder).exists(f"{name}.{ending}") for ending in ("done", "failed", 1))

    def take(self, source: str, outputs: Mapping[str, Path]) -> tuple[State, Claim | None]:
        """Try to get an input.

        Returns:
            "taken" and the claim; "done" by somebody, "failed" since we started, or "busy" with a living owner.
        """
        places = tuple(outputs.values())
        folder, name = _home(places)
        store = self._store(folder)
        settled = self._settled(store, folder, name, outputs)
        if settled == "done" or settled == "failed":
            return settled, None
        again = settled == "again"
        generation = 1
        # Generations have no gaps: an owner that took over leaves the older records until it is done.
        while (held := store.read(f"{name}.{generation}")) is not None:
            if not store.exists(f"{name}.{generation + 1}"):
                if not self._gone(store, f"{name}.{generation}", held):
                    return "busy", None
                again = True
            generation += 1
        token = secrets.token_hex(8)
        record = json.dumps(
            {
                "input": source,
                "settings": self._settings,
                "owner": owner_stamp(),
                "host": socket.gethostname(),
                "token": token,
                "outputs": [place.name for place in places],
            }
        ).encode()
        if not store.create(f"{name}.{generation}", record):
            return "busy", None
        claim = Claim(name, generation, token, places, again, store, record)
        # Between our first look and now, another may have finished.
        settled = self._settled(store, folder, name, outputs)
        if settled == "done" or settled == "failed":
            self._clear(claim)
            return settled, None
        if generation > 1:
            for place in places:
                fence(place)
        with self._lock:
            self._held[id(claim)] = claim
        return "taken", claim

    def done(self, claim: Claim, outputs: Mapping[str, Path], **more: Any) -> None:
        """The outputs stand: leave a record of that in the claim's place."""
        sizes = {kind: measure_file(path) for kind, path in outputs.items()}
        self._settle(claim, "done", {"settings": self._settings, "outputs": sizes, **more})

    def failed(self, claim: Claim, error: str) -> None:
        """Leave word that it failed, so that those at work now do not try in their turn; a later run does."""
        self._settle(claim, "failed", {"settings": self._settings, "error": error})

    def release(self, claim: Claim) -> None:
        """Give an input back undone."""
        with self._lock:
            self._held.pop(id(claim), None)
        self._clear(claim)

    def close(self) -> None:
        """Give back what is held, and stop beating."""
        self._stop.set()
        self._beats.join()
        for claim in list(self._held.values()):
            with suppress(OSError):
                self.release(claim)

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _settle(self, claim: Claim, ending: str, record: Mapping[str, Any]) -> None:
        with suppress(ClaimLost):
            claim.check()
            claim.store.put(f"{claim.name}.{ending}", json.dumps(record).encode())
            other = "failed" if ending == "done" else "done"
            claim.store.remove(f"{claim.name}.{other}")
        self.release(claim)

    def _clear(self, claim: Claim) -> None:
        with suppress(ClaimLost):
            claim.check()
            for generation in range(claim.generation, 0, -1):
                claim.store.remove(f"{claim.name}.{generation}")

    def _settled(self, store: Store, folder: Path, name: str, outputs: Mapping[str, Path]) -> _Settled | None:
        """done, failed (lately), again (made with other settings, or gone since), or None."""
        text = store.read(f"{name}.done")
        if text is not None:
            record = _loads(text)
            sizes = {kind: measure_file(path) for kind, path in outputs.items()}
            if record.get("settings") == self._settings and record.get("outputs") == sizes:
                return "done"
            if record.get("settings") != self._settings and not self._redo_other:
                raise OutputError(
                    f"{next(iter(outputs.values()))} was made with other settings: give --overwrite or another -o"
                )
            return "again"
        failed = store.time(f"{name}.failed")
        return "failed" if failed is not None and failed >= self._started[folder] else None

    def _gone(self, store: Store, place: str, record: bytes) -> bool:
        owner = str(_loads(record).get("owner", ""))
        if owner.count("-") == 2 and owner_lives(owner) is False:
            return True
        beaten = store.time(place)
        return beaten is not None and store.now() - beaten > self._patience

    def _store(self, folder: Path) -> Store:
        with self._lock:
            if folder not in self._stores:
                self._stores[folder] = FolderStore(folder / FOLDER)
                self._started[folder] = self._stores[folder].now()
            return self._stores[folder]

    def _beat(self) -> None:
        while not self._stop.wait(self._patience / 6):
            with self._lock:
                held = list(self._held.values())
            for claim in held:
                with suppress(OSError):  # the next beat may get through; the check before publishing decides
                    claim.store.beat(claim.place, claim.record)


def _home(places: tuple[Path, ...]) -> tuple[Path, str]:
    """The folder that an input's claim lies beside, and the claim's name: that of its first output, in 256 folders."""
    first = places[0]
    digest = hashlib.sha256(first.name.encode("utf-8", "surrogateescape")).hexdigest()
    shown = first.name.encode("utf-8", "surrogateescape")[:80].decode("utf-8", "replace").replace("\ufffd", "_")
    return first.parent, f"{digest[:2]}/{shown}-{digest[2:14]}"


def _loads(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
