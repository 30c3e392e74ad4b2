"""A tiny architecture, and registry files on disk, for the tests of weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vsalient.checkpoints.entries import WeightsEntry, parse_entry

BASE = {
    "summary": "for tests",
    "architecture": "tiny",
    "clip_length": 4,
    "overlap": 1,
    "geometry": "native",
    "licence": "MIT",
}


FOREIGN = {"old.kernel": "head.weight", "old.offset": "head.bias"}


def convert_checkpoint(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Own names for a published checkpoint's."""
    from vsalient.errors import CheckpointError

    unknown = [key for key in raw if key not in FOREIGN]
    if unknown:
        raise CheckpointError(f"unknown keys: {', '.join(unknown)}")
    return {FOREIGN[key]: tensor for key, tensor in raw.items()}


class Tiny(nn.Module):
    """Ten parameters."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.head = nn.Conv3d(3, channels, (1, 1, 3))
        self.register_buffer("mean", torch.full((3,), 0.5), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        return torch.as_tensor(self.head(clip))

    def convert_checkpoint(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return convert_checkpoint(raw)


def state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "head.weight": torch.randn(1, 3, 1, 1, 3, generator=generator),
        "head.bias": torch.randn(1, generator=generator),
    }


def foreign_state(seed: int = 0) -> dict[str, Tensor]:
    own = state(seed)
    return {f"module.{foreign}": own[name] for foreign, name in FOREIGN.items()}


def official_file(path: Path, seed: int = 0) -> bytes:
    """A training checkpoint as research code leaves it; returns its bytes."""
    torch.save({"epoch": 3, "model": foreign_state(seed), "optimizer": {"lr": [1e-3]}, "iter": 7}, path)
    return path.read_bytes()


def entry(name: str = "tiny-net", **fields: object) -> WeightsEntry:
    return parse_entry(name, {**BASE, **fields}, origin=Path("weights.toml"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def registry_text(name: str, **fields: object) -> str:
    """A registry file with one entry."""
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in fields.items()]
    return "\n".join(["schema = 1", f"[{name}]", *lines, ""])


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Keep the test away from the user's cache, settings and proxies, and know `Tiny`; returns the cache folder."""
    import vsalient.models

    for name in ("VSALIENT_WEIGHTS", "VSALIENT_OFFLINE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VSALIENT_CACHE", str(folder / "cache"))
    monkeypatch.setenv("VSALIENT_MODELS", str(folder / "added"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(vsalient.models.ARCHITECTURES, "tiny", ("checkpoint_helpers", "Tiny"))
    return folder / "cache"
