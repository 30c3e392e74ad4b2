"""Models of the user's own, as training leaves them, put where the registry finds them by name."""

import shutil
from dataclasses import replace
from pathlib import Path

from vsalient.checkpoints.cache import added_root, put_text, sha256_of, temporary_beside
from vsalient.checkpoints.entries import WeightsEntry, entry_toml
from vsalient.checkpoints.reading import read_metadata
from vsalient.checkpoints.registry import ENTRY_FILE, read_entry, registry
from vsalient.errors import CheckpointError, WeightsError, first_line


def add_model(folder: str | Path, *, replace_existing: bool = False) -> WeightsEntry:
    """Copy a folder with `entry.toml` and its weights to the user's models, so that its name can be used.

    Args:
        folder: as `vsalient train export` leaves it.
        replace_existing: take the place of a model that was added under this name before.

    Returns:
        The entry as it is registered now, with size and SHA-256.

    Raises:
        WeightsError: a wrong entry, a name that is taken, or no place to write.
        CheckpointError: the weights or the superpixel classifier are missing, or of another architecture.
    """
    source = Path(folder) / ENTRY_FILE
    if not source.is_file():
        raise WeightsError(f"{folder} has no {ENTRY_FILE}; give a folder that `vsalient train export` wrote")
    entry = read_entry(source)
    assert entry.file
    weights = Path(entry.file)
    target = added_root() / entry.name
    taken = registry().get(entry.name)
    if taken is not None and taken.registered_in != target / ENTRY_FILE:
        raise WeightsError(f"'{entry.name}' is the name of a model in {taken.registered_in}; change `name` in {source}")
    if taken is not None and not replace_existing:
        raise WeightsError(f"a model '{entry.name}' was added before; replace it with --force")
    if entry.classifier and not Path(entry.classifier_path).is_file():
        raise CheckpointError(
            f"{folder} lacks the superpixel classifier {entry.classifier} that its {ENTRY_FILE} names"
        )
    metadata = read_metadata(weights)
    if metadata is not None and metadata.get("entry", {}).get("architecture") != entry.architecture:
        raise CheckpointError(f"{weights} was written for another architecture than {source} says; correct one")
    kept = target / f"model{weights.suffix}"
    try:
        with temporary_beside(kept) as temporary:
            shutil.copyfile(weights, temporary)
            digest, size = sha256_of(temporary), temporary.stat().st_size
            temporary.replace(kept)
        if entry.classifier:
            (target / entry.classifier).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.classifier_path, target / entry.classifier)
        put_text(target / ENTRY_FILE, entry_toml(replace(entry, file=kept.name, sha256=digest, size=size)))
    except OSError as error:
        raise WeightsError(
            f"cannot write {target}: {first_line(error)}; set VSALIENT_MODELS to another folder"
        ) from error
    return read_entry(target / ENTRY_FILE)
