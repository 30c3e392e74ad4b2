"""A model of the user's own, put into a repository on the Hub, and the registry entry that finds it there."""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from vsalient.checkpoints.cache import sha256_of
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.checkpoints.hub import DEFAULT_ENDPOINT, expected_errors
from vsalient.checkpoints.progress import FetchProgress, Silent
from vsalient.checkpoints.reading import file_kind
from vsalient.checkpoints.registry import ENTRY_FILE, read_entry
from vsalient.errors import CheckpointError, OptionError, PublishError, WeightsError, first_line

CARD_FILE = "README.md"
UNKNOWN_REVISION = "0" * 40
"""Stands for the commit before there is one."""


@dataclass(frozen=True)
class Upload:
    """What is published.

    Attributes:
        repo: "owner/name" on the Hub.
        files: path in the repository -> file here: card, entry and weights, nothing else of the folder.
        entry: how a registry names the weights there; its revision is `UNKNOWN_REVISION` until they are there.
    """

    repo: str
    files: dict[str, Path]
    entry: WeightsEntry


def plan_upload(folder: str | Path, repo: str) -> Upload:
    """Look at a folder as `vsalient train export` leaves it, and say what would be published.

    Raises:
        OptionError: `repo` is not owner/name.
        WeightsError: no entry, a wrong one, or one that states no licence or names a superpixel classifier; no model
            card.
        CheckpointError: the weights are missing, no safetensors, or others than the entry says.
    """
    owner, sign, name = repo.partition("/")
    if not (owner and sign and name) or "/" in name:
        raise OptionError(f"--repo {repo} is no repository; write USER/NAME")
    folder = Path(folder)
    made = "make the folder with `vsalient train export`"
    for file in (ENTRY_FILE, CARD_FILE):
        if not (folder / file).is_file():
            raise WeightsError(f"{folder} has no {file}; {made}")
    entry = read_entry(folder / ENTRY_FILE)
    assert entry.file
    weights = Path(entry.file)
    if file_kind(weights) != "safetensors":
        raise CheckpointError(f"{weights} is no safetensors file, and nothing else should be published; {made}")
    digest = sha256_of(weights)
    if entry.sha256 is not None and entry.sha256 != digest:
        raise CheckpointError(f"{weights} is not the file that {ENTRY_FILE} speaks of (its SHA-256 differs); {made}")
    if entry.licence == "not stated":
        raise WeightsError(
            f"{folder / ENTRY_FILE} states no licence; export again with --set licence=... and terms=..."
        )
    if entry.classifier:
        raise WeightsError(
            f"{folder / ENTRY_FILE} names the superpixel classifier {entry.classifier}, and a registry fetches weights "
            "alone from the Hub; give the folder itself away, for `vsalient models add`"
        )
    inside = weights.relative_to(folder).as_posix()
    there = replace(
        entry,
        source="hub",
        repo=repo,
        revision=UNKNOWN_REVISION,
        file=inside,
        size=weights.stat().st_size,
        sha256=digest,
    )
    return Upload(repo, {CARD_FILE: folder / CARD_FILE, ENTRY_FILE: folder / ENTRY_FILE, inside: weights}, there)


def publish_model(
    upload: Upload,
    *,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    message: str | None = None,
    progress: FetchProgress | None = None,
) -> WeightsEntry:
    """Upload in one commit, into a new repository or an existing one; gives the entry with that commit.

    Args:
        upload: from `plan_upload`.
        private: whether a new repository is private; an existing one stays as it is.
        token: one that may write; default what the Hub's client finds (`HF_TOKEN`, a stored login).
        endpoint: default `HF_ENDPOINT`, then the Hub itself.
        message: of the commit.
        progress: told what happens.

    Raises:
        PublishError: no token, not allowed, refused or unreachable.
    """
    progress = progress or Silent()
    endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    token = token or get_token()
    if not token:
        raise PublishError(f"publishing to {endpoint} needs a token that may write; set HF_TOKEN or give --token")
    api = HfApi(endpoint=endpoint, token=token)
    operations = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in upload.files.items()]
    # A server with another protocol is met as a KeyError, a failed LFS part as a RuntimeError.
    known: tuple[type[Exception], ...] = (*expected_errors(), RuntimeError, KeyError)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            progress.say(f"asking {endpoint} for repository {upload.repo}")
            api.create_repo(upload.repo, private=private or None, exist_ok=True)
            total = sum(file.stat().st_size for file in upload.files.values())
            progress.say(f"uploading {len(operations)} files, {total / 1e6:.1f} MB")
            commit = api.create_commit(
                upload.repo, operations, commit_message=message or f"Publish {upload.entry.name}"
            )
        for warning in told:
            progress.say(" ".join(str(warning.message).split()))
    except known as error:
        raise PublishError(_explain_hub(error, upload, endpoint)) from error
    return replace(upload.entry, revision=commit.oid)


def _explain_hub(error: BaseException, upload: Upload, endpoint: str) -> str:
    """One line for what the Hub's client raised."""
    from huggingface_hub import errors

    what = f"cannot publish to {upload.repo} on {endpoint}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{what}: HF_HUB_OFFLINE is set; unset it"
    if isinstance(error, errors.HFValidationError):
        return f"{what}: no name the Hub accepts ({first_line(error)}); choose another --repo"
    if isinstance(error, errors.HfHubHTTPError):
        code = error.response.status_code
        said = error.server_message
        because = f"HTTP {code}, {' '.join(said.split())}" if said else f"HTTP {code}"
        hint = {
            401: "give a valid token with --token or HF_TOKEN",
            402: "the account's plan does not allow it; see its settings",
            403: f"give a token that may write to {upload.repo.partition('/')[0]}",
            404: "check --repo and that the token may see it",
            413: "the file is too large for this server",
        }.get(code, "try again later")
        return f"{what} ({because}): {hint}"
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return _explain_hub(error.__cause__, upload, endpoint)
    if isinstance(error, ValueError) and "metadata in README.md" in str(error):
        return f"{what}: the Hub refuses the head of {CARD_FILE} ({' '.join(str(error).split())}); correct it"
    if isinstance(error, KeyError):
        return f"{what}: it does not speak the Hub's protocol (no {error} in its answer); check --endpoint"
    return f"{what} ({first_line(error)}): check the network, --endpoint and HF_ENDPOINT, then run it again"
