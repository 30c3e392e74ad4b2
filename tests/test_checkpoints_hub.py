"""The Hub as a source: its real client against a loopback server that speaks its protocol."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkpoint_helpers import BASE, entry, isolate, registry_text, sha256
from loopback_hub import COMMIT, Loopback, loopback
from vsalient import checkpoints
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.errors import FetchError

DATA = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def hub() -> Iterator[Loopback]:
    with loopback() as offered:
        offered.repos["lab/net"] = {"net.safetensors": DATA}
        yield offered


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client retries at once, and counts small pieces as progress (its own are 10 MB)."""
    import huggingface_hub.file_download

    class Time:
        def __getattr__(self, name: str) -> object:
            return (lambda seconds: None) if name == "sleep" else getattr(time, name)

    monkeypatch.setattr(huggingface_hub.file_download, "time", Time())
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)


def hub_entry(**fields: object) -> WeightsEntry:
    return entry(
        **{
            "source": "hub",
            "repo": "lab/net",
            "revision": COMMIT,
            "file": "net.safetensors",
            "sha256": sha256(DATA),
            "size": len(DATA),
            **fields,
        }
    )


class Told:
    """Records what a transfer says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.total: int | None = None
        self.done = 0
        self.open = False

    def say(self, message: str) -> None:
        self.said.append(message)

    def begin(self, description: str, total: int | None, done: int) -> None:
        self.total, self.done, self.open = total, done, True

    def advance(self, amount: int) -> None:
        self.done += amount

    def end(self) -> None:
        self.open = False


def whole_files(cache: Path) -> list[Path]:
    """What could be taken for fetched weights."""
    return [path for path in cache.rglob("*.safetensors") if path.is_file()]


def test_fetch_then_cache_hit_without_a_request(hub: Loopback) -> None:
    told = Told()
    assert checkpoints.status(hub_entry()) == "to fetch"
    path = checkpoints.resolve(hub_entry(), endpoint=hub.url, progress=told)
    assert path.read_bytes() == DATA and path == checkpoints.location(hub_entry())
    assert told.said == [f"asking {hub.url} for lab/net/net.safetensors"]
    assert (told.total, told.done, told.open) == (len(DATA), len(DATA), False)
    asked = len(hub.requests)
    assert asked == len([r for r in hub.requests if r.endswith(f"/lab/net/resolve/{COMMIT}/net.safetensors")])
    assert checkpoints.resolve(hub_entry(), endpoint=hub.url) == path
    assert checkpoints.resolve(hub_entry(), offline=True) == path
    assert len(hub.requests) == asked
    assert checkpoints.status(hub_entry()) == "cached" and checkpoints.verify(hub_entry()).good is True


def test_endpoint_from_the_environment_now(hub: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    assert checkpoints.resolve(hub_entry()).read_bytes() == DATA


def test_a_changed_cache_is_named_and_force_repairs_it(hub: Loopback) -> None:
    path = checkpoints.resolve(hub_entry(), endpoint=hub.url)
    path.resolve().write_bytes(DATA[:-1] + b"?")
    assert checkpoints.verify(hub_entry()).good is False
    with pytest.raises(
        FetchError, match=rf"expected {sha256(DATA)}: damaged .*`vsalient models fetch tiny-net --force`"
    ):
        checkpoints.resolve(hub_entry(), endpoint=hub.url)
    assert checkpoints.resolve(hub_entry(), endpoint=hub.url, force=True).read_bytes() == DATA


def test_wrong_bytes_of_the_same_size_are_not_kept(hub: Loopback, cache: Path) -> None:
    hub.repos["lab/net"]["net.safetensors"] = DATA[::-1]
    with pytest.raises(FetchError, match=f"came with SHA-256 {sha256(DATA[::-1])}, expected {sha256(DATA)}: not kept"):
        checkpoints.resolve(hub_entry(), endpoint=hub.url)
    assert not whole_files(cache) and checkpoints.status(hub_entry()) == "to fetch"
    hub.repos["lab/net"]["net.safetensors"] = DATA
    assert checkpoints.resolve(hub_entry(), endpoint=hub.url).read_bytes() == DATA


def test_a_demanded_hash_overrides_the_registry(hub: Loopback) -> None:
    with pytest.raises(FetchError, match="expected " + "1" * 64):
        checkpoints.resolve(hub_entry(), endpoint=hub.url, sha256="1" * 64)
    wrong = hub_entry(sha256="0" * 64)
    assert checkpoints.resolve(wrong, endpoint=hub.url, sha256=sha256(DATA).upper()).read_bytes() == DATA


def test_another_size_is_refused_before_the_transfer(hub: Loopback) -> None:
    with pytest.raises(FetchError, match=f"has {len(DATA)} bytes .*the registry says 5"):
        checkpoints.resolve(hub_entry(size=5), endpoint=hub.url)
    assert all(request.startswith("HEAD") for request in hub.requests)


@pytest.mark.usefixtures("no_pause")
def test_a_cut_transfer_goes_on_where_it_stopped(hub: Loopback) -> None:
    hub.cuts = 2
    assert checkpoints.resolve(hub_entry(), endpoint=hub.url).read_bytes() == DATA
    assert any("bytes=" in request for request in hub.requests)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.timeout(30)
def test_a_transfer_cut_for_ever_fails(hub: Loopback, cache: Path) -> None:
    hub.cuts, hub.ranges = 10**6, False
    with pytest.raises(FetchError, match="keeps cutting the transfer of 'tiny-net'"):
        checkpoints.resolve(hub_entry(), endpoint=hub.url)
    assert not whole_files(cache)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"repo": "lab/nothing"}, r"has no repository lab/nothing, or it is private: .*HF_TOKEN"),
        ({"revision": "f" * 40}, rf"lab/net has no revision {'f' * 40}: .*--revision"),
        ({"file": "other.safetensors"}, "lab/net has no file other.safetensors"),
        ({"repo": "lab--x/net"}, "no name the Hub accepts"),
    ],
)
def test_what_is_not_there(hub: Loopback, cache: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(FetchError, match=message) as error:
        checkpoints.resolve(hub_entry(**fields), endpoint=hub.url)
    assert "\n" not in str(error.value)
    assert not whole_files(cache)


def test_gated(hub: Loopback) -> None:
    hub.gated.add("lab/net")
    with pytest.raises(FetchError, match=r"is gated: accept its terms at http://127.*/lab/net, then set HF_TOKEN"):
        checkpoints.resolve(hub_entry(), endpoint=hub.url)
    assert checkpoints.resolve(hub_entry(), endpoint=hub.url, token="hf_x").read_bytes() == DATA


def test_a_broken_server_and_one_that_is_no_hub(hub: Loopback) -> None:
    hub.broken = True
    with pytest.raises(FetchError, match=r"answered HTTP 500 .*try again later"):
        checkpoints.resolve(hub_entry(), endpoint=hub.url)
    hub.broken = False
    hub.files[f"/lab/plain/resolve/{COMMIT}/net.safetensors"] = DATA
    hub.repos["lab/plain"] = {}
    with pytest.raises(FetchError, match="has no file"):
        checkpoints.resolve(hub_entry(repo="lab/plain"), endpoint=hub.url)


@pytest.mark.parametrize("force", [False, True])
def test_an_unreachable_host_fails_at_once(force: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told, start = Told(), time.monotonic()
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            FetchError, match=rf"cannot fetch 'tiny-net' .* from {address} \(.*refused.*\): check"
        ) as error:
            checkpoints.resolve(hub_entry(), endpoint=address, progress=told, force=force)
    assert time.monotonic() - start < 3
    assert told.said == [f"asking {address} for lab/net/net.safetensors"] and "\n" not in str(error.value)


@pytest.mark.parametrize("way", ["argument", "VSALIENT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(hub: Loopback, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way != "argument":
        monkeypatch.setenv(way, "1")
    with pytest.raises(FetchError, match="'tiny-net' is not in the cache and this is offline"):
        checkpoints.resolve(hub_entry(), endpoint=hub.url, offline=way == "argument")
    assert hub.requests == []


def test_a_cache_that_may_not_be_written(hub: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VSALIENT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FetchError, match=r"cannot write 'tiny-net' .*set VSALIENT_CACHE"):
        checkpoints.resolve(hub_entry(), endpoint=hub.url)


def test_an_interrupted_fetch_leaves_nothing_that_looks_whole(hub: Loopback, cache: Path) -> None:
    class Impatient(Told):
        def advance(self, amount: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.resolve(hub_entry(), endpoint=hub.url, progress=Impatient())
    assert not whole_files(cache) and checkpoints.status(hub_entry()) == "to fetch"
    assert checkpoints.resolve(hub_entry(), endpoint=hub.url).read_bytes() == DATA


def test_two_processes_fetch_the_same(hub: Loopback, tmp_path: Path) -> None:
    fields = {**BASE, "source": "hub", "repo": "lab/net", "revision": COMMIT, "file": "net.safetensors"}
    (tmp_path / "lab.toml").write_text(registry_text("tiny-net", **fields, sha256=sha256(DATA)))
    environment = {**os.environ, "VSALIENT_WEIGHTS": str(tmp_path / "lab.toml"), "HF_ENDPOINT": hub.url}
    command = [sys.executable, "-m", "vsalient", "models", "fetch", "tiny-net"]
    runs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] and Path(outputs[0][0].strip()).read_bytes() == DATA
