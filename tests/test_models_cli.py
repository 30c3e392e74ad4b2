"""`vsalient models` through the real command line."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkpoint_helpers import BASE, entry, isolate, official_file, registry_text, sha256, state
from loopback_hub import COMMIT, Loopback, loopback
from vsalient import checkpoints
from vsalient.cli.app import main


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as offered:
        yield offered


@pytest.fixture
def lab(site: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A registry with one entry for the loopback's file; returns the file."""
    data = site.files["/final.pth"] = official_file(tmp_path / "final.pth", 1)
    (tmp_path / "lab.toml").write_text(registry_text("tiny-net", **BASE, source="url", url=f"{site.url}/final.pth"))
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "lab.toml"))
    return data


class Run:
    """The command line in this process: exit code, stdout, stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *args: object) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(["models", *map(str, args)])
        self.code = stopped.value.code
        self.out, self.err = capsys.readouterr()


def test_list_shows_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, "list")
    lines = run.out.splitlines()
    assert run.code == 0 and run.err == ""
    names = [line.split()[0] for line in lines]
    assert names[0] == "name" and sorted(names[1:]) == sorted(checkpoints.registry())
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: re.split(r"  +", line) for line in lines}
    assert rows["name"] == ["name", "runs", "J", "held-out J", "frames/s", "MB", "terms"]
    ready = [rows[name][1].startswith(("yes", "as ")) for name in names[1:]]
    assert ready == sorted(ready, reverse=True), "what runs comes first"
    assert rows["3dc-seg"][1:3] == ["after a fetch", "83.9"] and rows["stan"][1] == "as stan-s"
    assert rows["scnn"][1] == "as scnn-s" and 50 < float(rows["3dc-lite"][2]) < 100
    assert rows["3dc-lite"][1:2] == ["yes"] and rows["3dc-lite"][6] == "non-commercial"
    assert all(float(value) > 1 for value in rows["3dc-lite"][3:6]) and rows["scnn-s"][3] == "66.1"


def test_list_json(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {item["name"]: item for item in json.loads(Run(capsys, "list", "--json").out)}
    assert listed["3dc-seg"]["status"] == "to fetch" and listed["3dc-seg"]["path"] is None
    assert listed["stan"]["status"] == "not published" and listed["stan"]["parameters"] == 111_478_254


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, "info", "3dc-seg")
    for part in ("74,319,618", "bmvc_final.pth", "J&F 84.1, by the paper", "CC BY-NC 4.0", "BMVC 2020", "short:480"):
        assert part in run.out
    assert json.loads(Run(capsys, "info", "3dc-seg", "--json").out)["scores"][0]["by"] == "the paper"
    assert "never published: train it with `vsalient train`" in Run(capsys, "info", "scnn").out


def test_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("info", "path", "fetch", "verify"):
        run = Run(capsys, verb, "3dc-sgg")
        assert run.code == 1 and run.out == ""
        assert run.err.startswith("Error: unknown model '3dc-sgg'; did you mean 3dc-seg")


def test_quick_verbs_load_no_torch() -> None:
    code = (
        "import sys\nfrom vsalient.cli.app import main\n"
        "try: main(['models', *sys.argv[1:]])\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'huggingface_hub', 'numpy')))"
    )
    for verb in (["list"], ["info", "3dc-seg"], ["path", "3dc-seg"], ["verify"]):
        assert subprocess.run([sys.executable, "-c", code, *verb], capture_output=True, check=False).returncode == 0


@pytest.mark.usefixtures("cache")
def test_fetch_path_verify(capsys: pytest.CaptureFixture[str], site: Loopback, lab: bytes) -> None:
    run = Run(capsys, "path", "tiny-net")
    assert run.code == 1 and "are not here; run `vsalient models fetch tiny-net`" in run.err
    run = Run(capsys, "verify", "tiny-net")
    assert run.code == 1 and run.out == "tiny-net: not here\n"
    run = Run(capsys, "fetch", "tiny-net")
    path = Path(run.out.strip())
    assert run.code == 0 and path.is_file() and "asking 127.0.0.1" in run.err
    assert Run(capsys, "path", "tiny-net").out == f"{path}\n"
    assert f"pinned         {sha256(lab)}, first seen 2" in Run(capsys, "info", "tiny-net").out
    run = Run(capsys, "verify")
    assert run.code == 0 and run.out.splitlines()[-1] == f"tiny-net: good, SHA-256 {checkpoints.sha256_of(path)}"
    asked = len(site.requests)
    run = Run(capsys, "fetch", "tiny-net", "--offline", "--json", "-q")
    fetched = json.loads(run.out)
    assert fetched == [{"name": "tiny-net", "path": str(path), "sha256": checkpoints.sha256_of(path)}]
    assert run.err == "" and len(site.requests) == asked
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    run = Run(capsys, "verify")
    assert run.code == 1 and "tiny-net: WRONG" in run.out and "damaged or changed: tiny-net" in run.err
    assert json.loads(Run(capsys, "verify", "tiny-net", "--json").out)[0]["good"] is False


def test_fetch_goes_on_after_a_failure(capsys: pytest.CaptureFixture[str], lab: bytes) -> None:
    run = Run(capsys, "fetch", "conv3dnet", "tiny-net", "-q")
    assert run.code == 1 and run.out.endswith("model.safetensors\n")
    assert run.err.startswith("Error: the weights of 'conv3dnet' were never published: train it")


def test_fetch_options(capsys: pytest.CaptureFixture[str], lab: bytes) -> None:
    run = Run(capsys, "fetch", "tiny-net", "--sha256", "1" * 64)
    assert run.code == 1 and "expected: 1111" in run.err and run.out == ""
    assert "fetch one model at a time" in Run(capsys, "fetch", "a", "b", "--sha256", "1" * 64).err
    assert "does not come from the Hub" in Run(capsys, "fetch", "tiny-net", "--revision", COMMIT).err
    assert Run(capsys, "fetch").code == 2


def test_fetch_from_the_hub_at_another_revision(
    capsys: pytest.CaptureFixture[str], site: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.repos["lab/net"] = {"net.safetensors": b"weights"}
    fields = {"source": "hub", "repo": "lab/net", "revision": "f" * 40, "file": "net.safetensors", "sha256": "0" * 64}
    (tmp_path / "lab.toml").write_text(registry_text("tiny-net", **BASE, **fields))
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "lab.toml"))
    arguments = ["fetch", "tiny-net", "--endpoint", site.url]
    assert "has no revision ffff" in Run(capsys, *arguments).err
    assert "is no commit" in Run(capsys, *arguments, "--revision", "main").err
    assert "give it with --sha256" in Run(capsys, *arguments, "--revision", COMMIT).err
    run = Run(capsys, *arguments, "--revision", COMMIT, "--sha256", sha256(b"weights"))
    assert run.code == 0 and Path(run.out.strip()).read_bytes() == b"weights"


def test_import(capsys: pytest.CaptureFixture[str], site: Loopback, lab: bytes, tmp_path: Path) -> None:
    run = Run(capsys, "import", "tiny-net", tmp_path / "final.pth", "--sha256", "2" * 64)
    assert run.code == 1 and "should have 2222" in run.err
    run = Run(capsys, "import", "tiny-net", tmp_path / "final.pth", "--json")
    assert run.code == 0 and json.loads(run.out)["source_sha256"] == sha256(lab)
    assert Run(capsys, "path", "tiny-net").out.strip() == json.loads(run.out)["path"]
    assert site.requests == []
    (tmp_path / "text.pth").write_text("hello, I am no checkpoint")
    run = Run(capsys, "import", "tiny-net", tmp_path / "text.pth")
    assert run.code == 1 and run.err.count("\n") == 1 and "is not a checkpoint" in run.err


def test_add(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = entry("my-net", source="file", file="best.safetensors")
    (tmp_path / "run").mkdir()
    checkpoints.save_checkpoint(tmp_path / "run" / "best.safetensors", state(), made)
    (tmp_path / "run" / "entry.toml").write_text(checkpoints.entry_toml(made))
    run = Run(capsys, "add", tmp_path / "run")
    assert run.code == 0 and Path(run.out.strip()).is_file() and "--model my-net" in run.err
    assert "own file" in Run(capsys, "list").out
    assert "was added before; replace it with --force" in Run(capsys, "add", tmp_path / "run").err


def test_a_wrong_registry_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab.toml").write_text("schema = 1\n[x]\nsource = 'hub'\n")
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "lab.toml"))
    run = Run(capsys, "list")
    assert run.code == 1 and run.out == "" and run.err.count("\n") == 1
    assert "[x] lacks the field 'summary'" in run.err
