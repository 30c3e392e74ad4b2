"""From a model's name, or a file's path, to a file on this machine whose hash was checked."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vsalient.checkpoints import cache, hub
from vsalient.checkpoints.adopting import adopt
from vsalient.checkpoints.download import discard, download
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.checkpoints.plugged import plugged_entry
from vsalient.checkpoints.progress import FetchProgress, Silent
from vsalient.checkpoints.reading import entry_of_file
from vsalient.checkpoints.registry import registry
from vsalient.errors import CheckpointError, FetchError, OptionError, WeightsError

OFFLINE_VARIABLES = ("VSALIENT_OFFLINE", "HF_HUB_OFFLINE")
_FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found.

    Attributes:
        name: the entry.
        path: its file, None when there is none on this machine.
        expected: SHA-256 it should have, None when nothing is known to compare with.
        actual: SHA-256 it has, None without a file.
    """

    name: str
    path: Path | None
    expected: str | None
    actual: str | None

    @property
    def good(self) -> bool | None:
        """True when the hashes agree, False when not; None when there is no file or no hash to compare."""
        return None if self.expected is None or self.actual is None else self.expected == self.actual


def find_entry(model: str | Path | WeightsEntry, *, own_weights: bool = False) -> WeightsEntry:
    """The entry for a registry name or an installed plug-in's, or the one that a safetensors file of ours carries.

    A name whose weights were never published, and that nobody imported here, gives its stand-in's entry: a small
    network of the same kind that we trained.

    Args:
        model: name, file, or an entry, which comes back as it is.
        own_weights: weights for exactly this network are at hand: no other stands in.

    Raises:
        WeightsError: an unknown name (with suggestions), a missing file, or one that does not say what it is.
        OptionError: a plug-in cannot be imported.
    """
    if isinstance(model, WeightsEntry):
        return model
    path = _as_path(model)
    if path is None:
        known = registry()
        plugged = plugged_entry(str(model)) if str(model) not in known else None
        entry = plugged or known[str(model)]
        if own_weights or not entry.stand_in or cache.status(entry) != "not published":
            return entry
        return replace(known[entry.stand_in], stands_for=entry.name)
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; give an existing file, or a name of `vsalient models list`")
    return replace(entry_of_file(path), file=str(path))


def _as_path(model: str | Path) -> Path | None:
    """The path when `model` means a file: a Path, or no registered name that is or looks like a file."""
    if isinstance(model, Path):
        return model
    if model in registry():
        return None
    path = Path(model).expanduser()
    looks = path.name != model or path.suffix.lower() in _FILE_SUFFIXES
    return path if looks or path.is_file() else None


def resolve(
    model: str | Path | WeightsEntry,
    *,
    offline: bool = False,
    sha256: str | None = None,
    force: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    progress: FetchProgress | None = None,
) -> Path:
    """The weights file on this machine, fetched when it is not here. What is here costs no request.

    Args:
        model: a registry name, an entry, or the path of a file of the user's own.
        offline: ask no network; `VSALIENT_OFFLINE=1` and `HF_HUB_OFFLINE=1` say the same.
        sha256: demand this hash of the published file, not the registry's or the one pinned at first sight.
        force: fetch again what is here.
        endpoint: a mirror of the Hub; default `HF_ENDPOINT`, then the Hub.
        token: for gated repositories; default `HF_TOKEN` or a stored login.
        progress: told of a transfer.

    Raises:
        WeightsError: unknown name, or weights that were never published (says what to do instead).
        FetchError: network, missing, gated, offline, or a wrong hash.
        CheckpointError: the fetched file is no checkpoint of this architecture.
    """
    progress = progress or Silent()
    offline = offline or any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE_VARIABLES
    )
    if sha256 is not None:
        sha256 = sha256.lower()
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise OptionError(f"'{sha256}' is no SHA-256; give 64 hexadecimal digits, as `sha256sum FILE` prints")
    if not isinstance(model, WeightsEntry):
        path = _as_path(model)
        if path is not None:
            return _own_file(path, sha256)
        model = registry()[str(model)]
    entry = model
    if cache.status(entry) in ("bundled", "cached", "own file") and not (force and entry.source in ("hub", "url")):
        return _checked(entry, sha256)
    match entry.source:
        case "none":
            raise WeightsError(f"the weights of '{entry.name}' were never published: {entry.instead}")
        case "bundled":
            raise WeightsError(f"{cache.bundled_file(entry)} is missing from this installation; install vsalient again")
        case "file":
            raise WeightsError(f"{entry.file} of the added model '{entry.name}' is gone; add it again")
    if offline:
        raise FetchError(
            f"'{entry.name}' is not in the cache and this is offline; `vsalient models fetch {entry.name}` "
            f"with a network, or `vsalient models import {entry.name} FILE`{_small(entry)}"
        )
    if entry.source == "hub":
        return _from_hub(entry, sha256, endpoint=endpoint, token=token, force=force, progress=progress)
    try:
        return _from_url(entry, sha256, force=force, progress=progress)
    except FetchError as error:
        if not entry.stand_in:
            raise
        raise FetchError(f"{error}{_small(entry)}") from error


def _small(entry: WeightsEntry) -> str:
    """What runs without a fetch, to end a sentence with."""
    return f"; the small `--model {entry.stand_in}` is in the package" if entry.stand_in else ""


def import_checkpoint(name: str, file: str | Path, *, sha256: str | None = None) -> Path:
    """Turn a file the user has into verified safetensors in the cache, where `name` then finds it.

    Args:
        name: the registry entry that the file belongs to.
        file: an official checkpoint or a state dict.
        sha256: demand this hash of the file; default the registry's, or the one pinned by an earlier fetch.

    Raises:
        WeightsError: an unknown name, or an entry whose weights need no import.
        FetchError: the file has another hash.
        CheckpointError: unreadable, unsafe, or of another network (says which keys).
    """
    entry, file = registry()[name], Path(file)
    if entry.source in ("bundled", "file"):
        raise WeightsError(f"'{name}' has its weights already; use your file with --model {name} --weights {file}")
    if not file.is_file():
        raise CheckpointError(f"no checkpoint {file}; give the downloaded file's path")
    digest = cache.sha256_of(file)
    record = cache.read_cached(name)
    pinned = record.source_sha256 if record and record.origin == "url" and cache.applies(record, entry) else None
    expected = sha256 or entry.sha256 or pinned
    if expected and digest != expected.lower():
        raise FetchError(
            f"{file} has SHA-256 {digest}, but '{name}' should have {expected}: another file, or damaged; "
            f"demand yours with --sha256, or use it as --weights"
        )
    with _locked(name):
        return adopt(entry, file, origin="import", source=file.name, digest=digest)


def verify(entry: WeightsEntry) -> Verdict:
    """Compare the hash of the entry's file with the registry or the record. Fetches nothing."""
    path = cache.location(entry)
    if path is None or cache.status(entry) in ("to fetch", "missing"):
        return Verdict(entry.name, None, _expected(entry, None), None)
    return Verdict(entry.name, path, _expected(entry, path), cache.sha256_of(path))


def _expected(entry: WeightsEntry, path: Path | None) -> str | None:
    """The hash that the file at `path` should have: by our record if we made it, else the registry's."""
    if path is not None and path == cache.model_file(entry.name):
        record = cache.read_cached(entry.name)
        return record.sha256 if record else None
    return entry.sha256


def _checked(entry: WeightsEntry, sha256: str | None) -> Path:
    """The file that is here, after its hash was compared."""
    path = cache.location(entry)
    assert path is not None
    converted = path == cache.model_file(entry.name)
    actual, expected = cache.sha256_of(path), _expected(entry, path)
    if expected and actual != expected:
        repair = {
            "bundled": "install vsalient again",
            "file": "add it again with `vsalient models add`",
            "none": f"import it again with `vsalient models import {entry.name} FILE`",
        }.get(entry.source, f"fetch it again with `vsalient models fetch {entry.name} --force`")
        raise FetchError(f"{path} has SHA-256 {actual}, expected {expected}: damaged or changed; {repair}")
    record = cache.read_cached(entry.name) if converted else None
    published = record.source_sha256 if record else actual
    demanded = sha256 or entry.sha256
    if demanded and published != demanded:
        raise FetchError(
            f"'{entry.name}' in the cache came from a file with SHA-256 {published}, not {demanded}; "
            f"fetch that one with `vsalient models fetch {entry.name} --force --sha256 {demanded}`"
        )
    return path


def _own_file(path: Path, sha256: str | None) -> Path:
    if not path.is_file():
        raise CheckpointError(f"no weights file {path}; give an existing file, or a name of `vsalient models list`")
    if sha256 is not None and (actual := cache.sha256_of(path)) != sha256:
        raise FetchError(f"{path} has SHA-256 {actual}, but {sha256} is demanded; give the right file")
    return path


def _from_hub(
    entry: WeightsEntry,
    sha256: str | None,
    *,
    endpoint: str | None,
    token: str | None,
    force: bool,
    progress: FetchProgress,
) -> Path:
    path = hub.fetch(entry, endpoint=endpoint, token=token, force=force, progress=progress)
    expected, actual = sha256 or entry.sha256, cache.sha256_of(path)
    if expected and actual != expected:
        # Both the name and the bytes it points to, or the next run would find them in the cache.
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise FetchError(
            f"{entry.repo}/{entry.file} came with SHA-256 {actual}, expected {expected}: not kept; "
            "a proxy or mirror may have changed it: try again, or another --endpoint"
        )
    return path


def _from_url(entry: WeightsEntry, sha256: str | None, *, force: bool, progress: FetchProgress) -> Path:
    """Fetch, check or pin the hash, convert, and leave only the converted file."""
    assert entry.url
    with _locked(entry.name):
        if not force and cache.status(entry) == "cached":  # another process was faster
            return _checked(entry, sha256)
        record = cache.read_cached(entry.name)
        pinned = record if record and record.origin == "url" and record.source == entry.url else None
        expected = sha256 or entry.sha256 or (pinned.source_sha256 if pinned else None)
        part = cache.model_folder(entry.name) / f"{entry.file_name}.part"
        download(entry.url, part, name=entry.name, size=entry.size, trusted=expected is not None, progress=progress)
        actual = cache.sha256_of(part)
        if expected and actual != expected:
            discard(part)
            why = f"pinned on {pinned.first_seen}" if pinned and expected == pinned.source_sha256 else "expected"
            raise FetchError(
                f"{entry.url} came with SHA-256 {actual}, {why}: {expected}; not kept. If its authors announce "
                f"a new file, accept it with `vsalient models fetch {entry.name} --force --sha256 {actual}`"
            )
        progress.say(f"checking and converting {entry.file_name}")
        first_seen = pinned.first_seen if pinned and actual == pinned.source_sha256 else ""
        try:
            path = adopt(entry, part, origin="url", source=entry.url, digest=actual, first_seen=first_seen)
        except CheckpointError:
            discard(part)
            raise
        discard(part)
        return path


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """One process at a time works on an entry's folder; the others wait."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    folder = cache.model_folder(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(
            f"cannot create {folder}: {error.strerror}; set VSALIENT_CACHE to a place you may write"
        ) from error
    with WeakFileLock(folder / ".lock"):
        yield
