"""The Hub as a source: the real client, at a pinned commit, with errors that say what to do next.

The client never checks SHA-256 over plain HTTP and would retry an unreachable host for 23 seconds without a
word; `fetch` asks the host once first, and `vsalient.checkpoints.sources` checks the hash of what comes.
"""

import errno
import importlib
import os
from pathlib import Path
from typing import Any

from vsalient.checkpoints.cache import hub_root
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.checkpoints.progress import FetchProgress, RestartsForeverError, tqdm_like
from vsalient.errors import FetchError, first_line

DEFAULT_ENDPOINT = "https://huggingface.co"
HUB_TIMEOUT = 5.0
"""Seconds the host has to answer the first question."""
_LOCAL = (errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""System errors that speak of our disk, not of the network."""


def fetch(
    entry: WeightsEntry, *, endpoint: str | None, token: str | None, force: bool, progress: FetchProgress
) -> Path:
    """Download the entry's file into the Hub client's cache. The hash is the caller's to check.

    Args:
        entry: with repo, revision and file.
        endpoint: another address that speaks the Hub's protocol; default `HF_ENDPOINT`, then the Hub itself.
        token: for a gated or private repository; default what the client finds (`HF_TOKEN`, a stored login).
        force: download again what is here.
        progress: told of every step.

    Raises:
        FetchError: unreachable, missing repository, revision or file, gated, offline, cut, or no room.
    """
    endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    progress.say(f"asking {endpoint} for {entry.repo}/{entry.file}")
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    assert entry.repo and entry.revision and entry.file
    try:
        url = hf_hub_url(entry.repo, entry.file, revision=entry.revision, endpoint=endpoint)
        found = get_hf_file_metadata(url, token=token, timeout=HUB_TIMEOUT, endpoint=endpoint)
        if entry.size and found.size and entry.size != found.size:
            raise FetchError(
                f"{endpoint} has {found.size} bytes for {entry.repo}/{entry.file}, but the registry says "
                f"{entry.size}; a mirror may be out of step: try another --endpoint"
            )
        return Path(
            hf_hub_download(
                entry.repo,
                entry.file,
                revision=entry.revision,
                cache_dir=hub_root(),
                endpoint=endpoint,
                token=token,
                force_download=force,
                etag_timeout=HUB_TIMEOUT,
                tqdm_class=tqdm_like(progress),
            )
        )
    except RestartsForeverError:
        raise FetchError(
            f"{endpoint} keeps cutting the transfer of '{entry.name}' and cannot resume it; "
            "try again later or another --endpoint"
        ) from None
    except expected_errors() as error:
        raise FetchError(_explain_fetch(error, entry, endpoint)) from error
    finally:
        progress.end()


def expected_errors() -> tuple[type[Exception], ...]:
    """What a fetch may raise: also the HTTP library's errors, under whichever name the client has it."""
    utils = importlib.import_module("huggingface_hub.utils")
    library = getattr(utils, "httpx", None) or importlib.import_module("httpx")
    from huggingface_hub import errors

    known: list[type[Exception]] = [
        OSError,
        ValueError,
        library.HTTPError,
        library.InvalidURL,
        errors.EntryNotFoundError,
    ]
    # Only newer clients have their own transfer protocol, and an error for it.
    return (*known, *filter(None, [getattr(errors, "XetDownloadError", None)]))


def _explain_fetch(error: BaseException, entry: WeightsEntry, endpoint: str) -> str:
    """One line for what the Hub's client raised: what it was about, and what to do."""
    from huggingface_hub import errors

    what = f"'{entry.name}' ({entry.repo}/{entry.file})"
    by_hand = f"or get the file elsewhere and `vsalient models import {entry.name} FILE`"
    # GatedRepoError is a RepositoryNotFoundError: ask for it first.
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{what} is gated: accept its terms at {endpoint}/{entry.repo}, then set HF_TOKEN or give "
            "--token (a token that may read gated repositories)"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{endpoint} has no repository {entry.repo}, or it is private: check the name, set HF_TOKEN, {by_hand}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{entry.repo} has no revision {entry.revision}: correct the registry or give --revision, {by_hand}"
    if isinstance(error, errors.HFValidationError):
        return f"'{entry.repo}' is no name the Hub accepts ({first_line(error)}): correct the registry entry"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{what} is not in the cache and HF_HUB_OFFLINE is set: unset it, {by_hand}"
    if isinstance(error, errors.HfHubHTTPError):
        if isinstance(error, errors.EntryNotFoundError):
            return f"{entry.repo} has no file {entry.file} there: correct the registry, {by_hand}"
        code = error.response.status_code
        if code in (401, 403):
            return f"{endpoint} refuses {what} (HTTP {code}): set HF_TOKEN or give --token"
        return f"{endpoint} answered HTTP {code} for {what}: try again later, another --endpoint, {by_hand}"
    if isinstance(error, errors.FileMetadataError):
        return f"{endpoint} does not speak the Hub's protocol: check HF_ENDPOINT or --endpoint"
    if isinstance(error, OSError) and error.errno in _LOCAL:
        return f"cannot write {what} below {hub_root()}: {error.strerror}; make room or set VSALIENT_CACHE"
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return f"the transfer of {what} from {endpoint} was cut short: run it again"
    if error.__cause__ is not None and isinstance(error, ValueError | errors.LocalEntryNotFoundError):
        return _explain_fetch(error.__cause__, entry, endpoint)
    return _unreachable(error, what, endpoint, by_hand)


def _unreachable(error: Any, what: str, endpoint: str, by_hand: str) -> str:
    return (
        f"cannot fetch {what} from {endpoint} ({first_line(error)}): check the network and proxy, "
        f"give a mirror with --endpoint or HF_ENDPOINT, {by_hand}"
    )
