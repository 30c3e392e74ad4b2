"""The registry: strict reading, a lab's own file, added models, and what the built-in entries say."""

import importlib
from pathlib import Path

import pytest
import torch

from checkpoint_helpers import BASE, entry, isolate, registry_text, state
from vsalient import checkpoints, clips, models
from vsalient.checkpoints.cache import added_root
from vsalient.checkpoints.registry import builtin_registry
from vsalient.errors import CheckpointError, WeightsError

HASH = "0" * 64
HUB = {"source": "hub", "repo": "a/b", "revision": "0" * 40, "file": "f.safetensors", "sha256": HASH}


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


def test_builtin_names_and_default() -> None:
    registry = checkpoints.registry()
    assert list(registry) == [
        "3dc-lite",
        "3dc-seg",
        "3dc-seg-s",
        "dsrfcn3d",
        "dsrfcn3d-s",
        "conv3dnet",
        "scnn",
        "scnn-s",
        "stan",
        "stan-s",
    ]
    assert registry["3dc-lite"].source == "bundled"
    assert {entry.source for entry in registry.values()} == {"bundled", "url", "none"}


@pytest.mark.parametrize(
    "name",
    ["3dc-lite", "3dc-seg", "3dc-seg-s", "dsrfcn3d", "dsrfcn3d-s", "conv3dnet", "scnn", "scnn-s", "stan", "stan-s"],
)
def test_builtin_entry_builds_and_counts(name: str) -> None:
    found = checkpoints.registry()[name]
    with torch.device("meta"):
        network = models.build(found.architecture, **found.config)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert found.parameters in (None, count)
    clips.plan_clips(20, found.clip_length, found.overlap, tail=found.tail)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["3dc-lite", "3dc-seg-s", "dsrfcn3d-s", "scnn-s", "stan-s"])
def test_bundled_file_has_its_recorded_hash(name: str) -> None:
    found = checkpoints.registry()[name]
    assert checkpoints.verify(found).good


@pytest.mark.parametrize(
    ("system", "cache", "added"),
    [
        ("unix.Unix", ".cache/vsalient", ".local/share/vsalient/models"),
        ("macos.MacOS", "Library/Caches/vsalient", "Library/Application Support/vsalient/models"),
    ],
)
def test_folders_are_where_the_system_keeps_such_things(
    system: str, cache: str, added: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, name = system.split(".")
    monkeypatch.setattr("platformdirs.PlatformDirs", getattr(importlib.import_module(f"platformdirs.{module}"), name))
    for variable in ("VSALIENT_CACHE", "VSALIENT_MODELS", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checkpoints.cache_root() == tmp_path / cache
    assert added_root() == tmp_path / added
    if module == "unix":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
        assert checkpoints.cache_root() == tmp_path / "own" / "vsalient"


def test_unknown_name_suggests_and_is_a_key_error() -> None:
    registry = checkpoints.registry()
    with pytest.raises(WeightsError, match="unknown model '3dc-sag'; did you mean 3dc-seg"):
        registry["3dc-sag"]
    with pytest.raises(WeightsError, match="known: 3dc-lite, 3dc-seg"):
        registry["zzzzzz"]
    assert registry.get("zzzzzz") is None and "zzzzzz" not in registry


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**HUB, "sha": HASH}, "unknown field 'sha'"),
        ({**HUB, "sha256": "abc"}, "sha256 must be 64 lower-case hexadecimal digits, not 'abc'"),
        ({**HUB, "revision": "main"}, "revision must be the 40 hexadecimal digits"),
        ({k: v for k, v in HUB.items() if k != "sha256"}, "lacks the field 'sha256', which source 'hub' needs"),
        ({**HUB, "url": "https://x/y"}, "'url', which has no place in source 'hub'"),
        ({**HUB, "file": "../../etc/passwd"}, "file must be a path within"),
        ({"source": "none"}, "lacks the field 'instead'"),
        ({"source": "ftp"}, "source must be one of bundled, hub, url, none, file"),
        ({"source": "url", "url": "file:///etc/passwd"}, "url must be an http or https address"),
        ({"source": "url", "url": "https://host/"}, "without a file name"),
        ({**HUB, "overlap": 4}, "overlap must be below clip_length 4"),
        ({**HUB, "clip_length": True}, "clip_length must be a whole number"),
        ({**HUB, "clip_length": 4.0}, "clip_length must be a whole number"),
        ({**HUB, "geometry": "480"}, "geometry must be native"),
        ({**HUB, "tail": "loop"}, "tail must be one of shift"),
        ({**HUB, "tail": "centred"}, "overlap must be clip_length - 1"),
        ({**HUB, "licence": " "}, "licence must be a text that is not empty"),
        ({**HUB, "postprocess": "blur"}, "postprocess must be one of crf"),
        ({**HUB, "config": 3}, "config must be a table"),
        (
            {**HUB, "scores": [{"dataset": "D", "metric": "J", "value": "0.8", "by": "us"}]},
            "scores.value must be a num",
        ),
        ({**HUB, "scores": [{"dataset": "D", "metric": "J", "value": 0.8}]}, "scores lacks the field 'by'"),
    ],
)
def test_wrong_entry_is_one_line(fields: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message) as error:
        entry(**fields)
    assert str(error.value).startswith("weights.toml: [tiny-net]") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Upper", "a/b", "..", ""])
def test_wrong_name(name: str) -> None:
    with pytest.raises(WeightsError, match="no usable name"):
        entry(name, **HUB)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "schema must be 1, not None"),
        ("schema = 2", "schema must be 1, not 2"),
        ("schema = 1\nname = 'x'", "'name' stands outside any entry"),
        ("schema = 1\n[a", "is not valid TOML"),
        (registry_text("a", **BASE, source="file", file="f"), "source 'file' is for added models"),
    ],
)
def test_wrong_registry_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    with pytest.raises(WeightsError, match=message):
        checkpoints.read_registry(path)


def test_lab_registry_extends_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = tmp_path / "lab.toml"
    text = registry_text("lab-net", **{**BASE, **HUB})
    lab.write_text(text + registry_text("3dc-seg", **{**BASE, **HUB, "summary": "ours"}).replace("schema = 1", ""))
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(lab))
    registry = checkpoints.registry()
    assert registry["lab-net"].registered_in == lab
    assert registry["3dc-seg"].summary == "ours"
    assert registry["stan"].registered_in == builtin_registry()


def test_missing_lab_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "nowhere.toml"))
    with pytest.raises(WeightsError, match=r"VSALIENT_WEIGHTS=.*nowhere.toml is no file"):
        checkpoints.registry()


def test_entry_toml_reads_back(tmp_path: Path) -> None:
    made = entry(
        source="file",
        file="model.safetensors",
        sha256=HASH,
        size=5,
        config={"width": 0.5, "branches": [5, 6], "name": 'quo"te', "deep": True},
        scores=[{"dataset": "D", "metric": "J", "value": 0.5, "by": "us"}],
        notes="two\nlines – and a dash",
    )
    (tmp_path / "entry.toml").write_text(checkpoints.entry_toml(made), encoding="utf-8")
    from vsalient.checkpoints.registry import read_entry

    again = read_entry(tmp_path / "entry.toml")
    assert again.to_table() == {**made.to_table(), "file": str(tmp_path / "model.safetensors")}


def trained(folder: Path, **fields: object) -> Path:
    """A folder as training leaves it."""
    made = entry("my-net", source="file", file="best.safetensors", **fields)
    folder.mkdir(exist_ok=True)
    checkpoints.save_checkpoint(folder / "best.safetensors", state(), made)
    (folder / "entry.toml").write_text(checkpoints.entry_toml(made))
    return folder


def test_added_model_is_used_by_name(tmp_path: Path) -> None:
    added = checkpoints.add_model(trained(tmp_path / "run"))
    assert added.sha256 and added.file == str(tmp_path / "added" / "my-net" / "model.safetensors")
    assert checkpoints.status(checkpoints.registry()["my-net"]) == "own file"
    network, found = checkpoints.load_network("my-net")
    assert found.name == "my-net" and torch.equal(network.state_dict()["head.bias"], state()["head.bias"])
    with pytest.raises(WeightsError, match="was added before; replace it with --force"):
        checkpoints.add_model(tmp_path / "run")
    checkpoints.add_model(tmp_path / "run", replace_existing=True)
    Path(added.file).write_bytes(b"changed")
    with pytest.raises(WeightsError, match="damaged or changed; add it again"):
        checkpoints.resolve("my-net")


def test_added_model_may_not_take_a_registered_name(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run")
    text = (folder / "entry.toml").read_text().replace('name = "my-net"', 'name = "3dc-lite"')
    (folder / "entry.toml").write_text(text)
    with pytest.raises(WeightsError, match=r"'3dc-lite' is the name of a model in .*weights.toml"):
        checkpoints.add_model(folder, replace_existing=True)


def test_add_refuses_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no entry.toml"):
        checkpoints.add_model(tmp_path)
    folder = trained(tmp_path / "run")
    (folder / "best.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        checkpoints.add_model(folder)
    assert not (tmp_path / "added").exists()
