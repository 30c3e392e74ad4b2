"""Reading checkpoints safely, fitting them strictly, and files that say themselves what they are."""

import argparse
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from checkpoint_helpers import entry, foreign_state, isolate, official_file, registry_text, sha256, state
from loopback_hub import loopback
from vsalient import checkpoints
from vsalient.errors import CheckpointError, FetchError, WeightsError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "vectors"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


class Evil:
    """Runs a command when it is unpickled without care."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.witness}",)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_reads_torch_files(tmp_path: Path, zipped: bool, wrapper: str | None) -> None:
    path = tmp_path / "a.pth"
    held = state() if wrapper is None else {"epoch": 1, wrapper: state(), "optimizer": {"state": {}}}
    torch.save(held, path, _use_new_zipfile_serialization=zipped)
    assert same(checkpoints.load_state_dict(path), state())


def test_reads_safetensors_and_strips_module_only_when_everywhere(tmp_path: Path) -> None:
    save_file({f"module.{k}": v for k, v in state().items()}, tmp_path / "a.safetensors")
    assert same(checkpoints.load_state_dict(tmp_path / "a.safetensors"), state())
    mixed = {"module.head.weight": torch.ones(1), "other": torch.ones(1)}
    torch.save(mixed, tmp_path / "b.pt")
    assert checkpoints.load_state_dict(tmp_path / "b.pt").keys() == mixed.keys()


def test_numpy_numbers_beside_the_weights_are_plain_data(tmp_path: Path) -> None:
    torch.save({"model": state(), "best": np.float64(0.8), "step": np.int64(4), "f": np.float32(1)}, tmp_path / "a.pth")
    assert same(checkpoints.load_state_dict(tmp_path / "a.pth"), state())


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_never_runs(tmp_path: Path, zipped: bool) -> None:
    witness = tmp_path / "ran"
    torch.save({"model": state(), "x": Evil(witness)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"refused: it holds (posix|nt)\.system, which could run code"):
        checkpoints.load_state_dict(tmp_path / "a.pth")
    assert not witness.exists()


def test_other_objects_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"model": state(), "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"it holds argparse\.Namespace"):
        checkpoints.load_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", r"is not a checkpoint \(it begins with b'<!DOCTYPE ht"),
        (b"\x00" * 40, "is not a checkpoint"),
        (struct.pack("<Q", 40) + b'{"a":' + b" " * 40, "truncated or damaged"),
    ],
)
def test_not_a_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoints.load_state_dict(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read checkpoint .*No such file"):
        checkpoints.load_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_truncated_files(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "a.bin"
    tensors = {"w": torch.randn(500)}
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"truncated|damaged|is not a checkpoint") as error:
        checkpoints.load_state_dict(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("held", [{"epoch": 3}, [1, 2], {"model": {}}, 5])
def test_without_a_state_dict(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="state dict"):
        checkpoints.load_state_dict(tmp_path / "a.pth")


def test_a_file_of_ours_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    made = entry(source="none", instead="x", config={"channels": 1})
    checkpoints.save_checkpoint(path, state(3), made, origin={"recipe": "r"})
    network, found = checkpoints.load_network(str(path))
    assert same(dict(network.state_dict()), state(3)) and not network.training
    assert (found.name, found.source, found.file, found.clip_length) == ("tiny-net", "file", str(path), 4)
    assert checkpoints.read_metadata(path)["origin"] == {"recipe": "r"}
    (tmp_path / "umask").touch()
    again = tmp_path / "again.safetensors"
    checkpoints.save_checkpoint(again, state(3), made, origin={"recipe": "r"})
    assert path.stat().st_mode == (tmp_path / "umask").stat().st_mode
    (tmp_path / "umask").unlink()
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["again.safetensors", "mine.safetensors"]


def test_half_precision_is_widened(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    half = {key: tensor.half() for key, tensor in state().items()}
    checkpoints.save_checkpoint(path, half, entry(source="none", instead="x"))
    network, _ = checkpoints.load_network(path)
    loaded = network.state_dict()["head.weight"]
    assert loaded.dtype == torch.float32 and torch.equal(loaded, half["head.weight"].float())


def test_a_foreign_file_needs_a_name(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"does not say which network .* --model NAME --weights x\.safetensors"):
        checkpoints.load_network(tmp_path / "x.safetensors")
    network, found = checkpoints.load_network(entry(source="none", instead="-"), weights=tmp_path / "x.safetensors")
    assert same(dict(network.state_dict()), state()) and found.source == "file"
    official_file(tmp_path / "o.pth", 2)
    network, _ = checkpoints.load_network(entry(source="none", instead="-"), weights=tmp_path / "o.pth")
    assert same(dict(network.state_dict()), state(2))


def test_metadata_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(state(), path, metadata={"vsalient": json.dumps({"entry": {"name": "x", "architecture": "tiny"}})})
    with pytest.raises(CheckpointError, match="lacks the field 'summary'"):
        checkpoints.load_network(path)
    save_file(state(), path, metadata={"vsalient": "{"})
    with pytest.raises(CheckpointError, match="damaged safetensors header"):
        checkpoints.load_network(path)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoints.save_checkpoint(path, state(), entry(source="none", instead="-"))
    with pytest.raises(CheckpointError, match="was written for architecture tiny, but 'stan' is stan"):
        checkpoints.load_network("stan", weights=path)


def test_misfits_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    wrong = {"head.weight": torch.ones(2, 3, 1, 1, 3), "head.extra": torch.ones(1)}
    checkpoints.save_checkpoint(path, wrong, entry(source="none", instead="-"))
    with pytest.raises(CheckpointError) as error:
        checkpoints.load_network(path)
    for part in (
        "1 missing (head.bias)",
        "1 unexpected (head.extra)",
        "1 wrong shape (head.weight (2, 3, 1, 1, 3) instead of (1, 3, 1, 1, 3))",
    ):
        assert part in str(error.value)
    torch.save({"old.kernel": torch.ones(1), "who.knows": torch.ones(1)}, tmp_path / "f.pth")
    with pytest.raises(CheckpointError, match=r"f\.pth: unknown keys: who\.knows"):
        checkpoints.load_network(entry(source="none", instead="-"), weights=tmp_path / "f.pth")


def test_unpublished_and_missing_models(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'conv3dnet' were never published: train it with `vsalient train`"):
        checkpoints.load_network("conv3dnet")
    with pytest.raises(WeightsError, match=r"no weights file .*nowhere\.pth"):
        checkpoints.load_network("nowhere.pth")
    with pytest.raises(CheckpointError, match=r"no weights file .*nowhere\.pth"):
        checkpoints.load_network("stan", weights="nowhere.pth")
    with pytest.raises(WeightsError, match="unknown model 'stam'; did you mean stan"):
        checkpoints.load_network("stam")


def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    from checkpoint_helpers import BASE

    (tmp_path / "lab.toml").write_text(registry_text("tiny-net", **{**BASE, **fields}))
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "lab.toml"))


def test_import_makes_verified_safetensors(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab(tmp_path, monkeypatch, source="none", instead="train")
    data = official_file(tmp_path / "official.pth", 5)
    path = checkpoints.import_checkpoint("tiny-net", tmp_path / "official.pth")
    assert path == cache / "models" / "tiny-net" / "model.safetensors"
    assert same(checkpoints.load_state_dict(path), state(5))
    record = checkpoints.read_cached("tiny-net")
    assert record.source_sha256 == sha256(data) and record.sha256 == checkpoints.sha256_of(path)
    assert checkpoints.status(checkpoints.registry()["tiny-net"]) == "cached"
    (tmp_path / "official.pth").unlink()
    network, found = checkpoints.load_network("tiny-net")
    assert same(dict(network.state_dict()), state(5)) and found.name == "tiny-net"
    assert checkpoints.verify(found).good is True
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert checkpoints.verify(found).good is False
    with pytest.raises(FetchError, match=r"expected [0-9a-f]{64}: damaged or changed; import it again"):
        checkpoints.load_network("tiny-net")


def test_import_checks_the_hash_and_the_content(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = official_file(tmp_path / "official.pth")
    lab(tmp_path, monkeypatch, source="url", url="http://127.0.0.1:9/o.pth", sha256="0" * 64)
    with pytest.raises(FetchError, match=f"has SHA-256 {sha256(data)}, but 'tiny-net' should have 0000"):
        checkpoints.import_checkpoint("tiny-net", tmp_path / "official.pth")
    broken = foreign_state()
    broken["module.old.offset"] = torch.tensor([float("nan")])
    torch.save(broken, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"not finite: 1 tensors \(head\.bias\)"):
        checkpoints.import_checkpoint(
            "tiny-net", tmp_path / "nan.pth", sha256=checkpoints.sha256_of(tmp_path / "nan.pth")
        )
    assert not list(cache.rglob("*.safetensors")) and not list(cache.rglob("record.json"))
    with pytest.raises(WeightsError, match="has its weights already"):
        checkpoints.import_checkpoint("3dc-lite", tmp_path / "official.pth")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoints.import_checkpoint("tiny-net", tmp_path / "gone.pth")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference vectors are not beside the project")
def test_a_whole_official_3dc_seg_file_imported_and_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED))
    import fill  # type: ignore[import-not-found]

    shapes = json.loads((SHARED / "3dc_seg_keys.json").read_text())
    official = {f"module.{name}": torch.from_numpy(fill.tensor(name, tuple(shape))) for name, shape in shapes.items()}
    file = tmp_path / "bmvc_final.pth"
    torch.save({"epoch": 1, "model": official, "optimizer": {}, "iter": 1}, file)
    imported = checkpoints.import_checkpoint("3dc-seg", file)
    assert imported.stat().st_size < 0.75 * file.stat().st_size
    network, found = checkpoints.load_network("3dc-seg")
    assert sum(parameter.numel() for parameter in network.parameters()) == found.parameters
    assert torch.equal(network.state_dict()["encoder.bn1.weight"], official["module.encoder.bn1.weight"])

    monkeypatch.setenv("VSALIENT_CACHE", str(tmp_path / "other-cache"))
    with loopback() as site:
        site.files["/models/bmvc_final.pth"] = file.read_bytes()
        entry = replace(found, url=f"{site.url}/models/bmvc_final.pth")
        fetched = checkpoints.load_state_dict(checkpoints.resolve(entry))
        assert same(fetched, dict(network.state_dict()))
        checkpoints.resolve(entry)
        assert len(site.requests) == 1
    assert checkpoints.read_cached("3dc-seg").source_sha256 == checkpoints.sha256_of(file)
