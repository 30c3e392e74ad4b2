"""Weights by name: the registry, where files come from, their hashes, and reading them safely.

Importing this loads no torch; listing and locating models need none.
"""

from vsalient.checkpoints.adding import add_model
from vsalient.checkpoints.adopting import convert, require_fit
from vsalient.checkpoints.cache import cache_root, location, read_cached, sha256_of, status
from vsalient.checkpoints.entries import Score, WeightsEntry, entry_toml, registry_toml
from vsalient.checkpoints.network import load_network
from vsalient.checkpoints.progress import FetchProgress
from vsalient.checkpoints.publishing import Upload, plan_upload, publish_model
from vsalient.checkpoints.reading import entry_of_file, load_state_dict, read_metadata, save_checkpoint
from vsalient.checkpoints.registry import Registry, read_registry, registry
from vsalient.checkpoints.sources import Verdict, find_entry, import_checkpoint, resolve, verify

__all__ = [
    "FetchProgress",
    "Registry",
    "Score",
    "Upload",
    "Verdict",
    "WeightsEntry",
    "add_model",
    "cache_root",
    "convert",
    "entry_of_file",
    "entry_toml",
    "find_entry",
    "import_checkpoint",
    "load_network",
    "load_state_dict",
    "location",
    "plan_upload",
    "publish_model",
    "read_cached",
    "read_metadata",
    "read_registry",
    "registry",
    "registry_toml",
    "require_fit",
    "resolve",
    "save_checkpoint",
    "sha256_of",
    "status",
    "verify",
]
