"""The cache folder: where fetched weights lie, what is recorded of them, and their hashes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from vsalient.checkpoints.entries import WeightsEntry
from vsalient.errors import WeightsError, first_line
from vsalient.staging import staged_name

CACHE_VARIABLE = "VSALIENT_CACHE"
ADDED_VARIABLE = "VSALIENT_MODELS"
Status = Literal["bundled", "missing", "cached", "to fetch", "not published", "own file"]


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """What is remembered beside a file that came from an address or was imported; pinned from then on.

    Attributes:
        origin: "url" for a fetched file, "import" for one the user handed over.
        source: its address, or the imported file's name.
        source_sha256, source_size: of the file as its publisher offers it.
        sha256, size: of the safetensors file made of it, the one that is loaded.
        architecture: the architecture it was checked against.
        first_seen: date of the first fetch, ISO 8601.
        version: of vsalient, that wrote the file.
    """

    origin: str
    source: str
    source_sha256: str
    source_size: int
    sha256: str
    size: int
    architecture: str
    first_seen: str
    version: str


def cache_root() -> Path:
    """The cache folder: `VSALIENT_CACHE`, or `vsalient` where the system keeps caches. Not created here."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    return platformdirs.user_cache_path("vsalient", False)


def added_root() -> Path:
    """The folder of models the user added: `VSALIENT_MODELS`, or `vsalient/models` among the user's data.

    Not in the cache: a cache may be emptied at any time, and a trained network cannot be fetched again.
    """
    given = os.environ.get(ADDED_VARIABLE)
    if given:
        return Path(given).expanduser()
    return platformdirs.user_data_path("vsalient", False) / "models"


def hub_root() -> Path:
    """Where the Hub's client keeps its own layout, within our cache."""
    return cache_root() / "hub"


def hub_file(entry: WeightsEntry) -> Path:
    """Where the Hub's client puts the entry's file (its documented layout); it need not exist."""
    assert entry.repo and entry.revision and entry.file
    repository = "models--" + entry.repo.replace("/", "--")
    return hub_root() / repository / "snapshots" / entry.revision / entry.file


def model_folder(name: str) -> Path:
    """The folder for what we convert ourselves: `model.safetensors`, `record.json`, a partial download."""
    return cache_root() / "models" / name


def model_file(name: str) -> Path:
    """The converted weights of entry `name`; it need not exist."""
    return model_folder(name) / "model.safetensors"


def bundled_file(entry: WeightsEntry) -> Path:
    """The file within the package; it need not exist."""
    assert entry.file
    return Path(__file__).resolve().parents[1] / "assets" / entry.file


def read_cached(name: str) -> CacheRecord | None:
    """What was recorded for entry `name`, or None when nothing was.

    Raises:
        WeightsError: the record is damaged.
    """
    path = model_folder(name) / "record.json"
    try:
        return CacheRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"cannot read {path} ({first_line(error)}); remove it and run `vsalient models fetch {name}`"
        ) from error


def write_cached(name: str, record: CacheRecord) -> None:
    """Write the record beside the weights, in one step.

    Raises:
        WeightsError: it cannot be written.
    """
    path = model_folder(name) / "record.json"
    try:
        put_text(path, json.dumps(asdict(record), indent=2) + "\n")
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {first_line(error)}; make room or set VSALIENT_CACHE") from error


def put_text(path: Path, text: str) -> None:
    """Write a text file so that it appears only when it is whole."""
    with temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A name of our own next to `path`, to be written and renamed over it; removed when it was not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = staged_name(path)
    temporary.open("xb").close()  # a link that somebody planted under this name would be an error, never followed
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def applies(record: CacheRecord | None, entry: WeightsEntry) -> bool:
    """Whether a record speaks of this entry's file: an import does, a download only of the same address."""
    return record is not None and (record.origin == "import" or record.source == entry.url)


def location(entry: WeightsEntry) -> Path | None:
    """Where the entry's weights lie or will lie on this machine; None when there is no such place yet."""
    match entry.source:
        case "bundled":
            return bundled_file(entry)
        case "file":
            assert entry.file
            return Path(entry.file)
    imported = model_file(entry.name)
    if imported.is_file() and applies(read_cached(entry.name), entry):
        return imported
    if entry.source == "hub":
        return hub_file(entry)
    return imported if entry.source == "url" else None


def status(entry: WeightsEntry) -> Status:
    """Where the entry stands on this machine. Reads no weights, asks no network."""
    place = location(entry)
    if place is None:
        return "not published"
    there = place.is_file()
    if entry.source == "bundled":
        return "bundled" if there else "missing"
    if entry.source == "file":
        return "own file" if there else "missing"
    if place == model_file(entry.name) and not applies(read_cached(entry.name), entry):
        return "to fetch"
    return "cached" if there else "to fetch"
