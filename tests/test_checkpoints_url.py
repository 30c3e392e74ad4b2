"""A plain address as a source: pinning, conversion, resume, and everything a server can do wrong."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from checkpoint_helpers import entry, isolate, official_file, sha256, state
from loopback_hub import Loopback, loopback
from vsalient import checkpoints
from vsalient.checkpoints import download
from vsalient.checkpoints.cache import model_file, model_folder
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.errors import CheckpointError, FetchError, OptionError


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "CHUNK", 256)
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as offered:
        yield offered


@pytest.fixture
def data(site: Loopback, tmp_path: Path) -> bytes:
    site.files["/models/final.pth"] = official_file(tmp_path / "final.pth", 1)
    return site.files["/models/final.pth"]


def url_entry(site: Loopback, path: str = "/models/final.pth", **fields: object) -> WeightsEntry:
    return entry(**{"source": "url", "url": site.url + path, **fields})


def left_over(entry: WeightsEntry) -> list[str]:
    return sorted(path.name for path in model_folder(entry.name).iterdir() if path.name != ".lock")


def test_fetch_pins_converts_and_then_asks_nobody(site: Loopback, data: bytes) -> None:
    found = url_entry(site)
    path = checkpoints.resolve(found)
    assert path == model_file("tiny-net") and left_over(found) == ["model.safetensors", "record.json"]
    loaded = checkpoints.load_state_dict(path)
    assert loaded.keys() == state().keys() and torch.equal(loaded["head.weight"], state(1)["head.weight"])
    record = checkpoints.read_cached("tiny-net")
    assert (record.source, record.source_sha256, record.source_size) == (found.url, sha256(data), len(data))
    assert checkpoints.read_metadata(path)["origin"]["sha256"] == sha256(data)
    assert len(site.requests) == 1
    assert checkpoints.resolve(found) == path == checkpoints.resolve(found, offline=True, sha256=sha256(data))
    assert len(site.requests) == 1
    network, _ = checkpoints.load_network(found)
    assert torch.equal(network.state_dict()["head.bias"], state(1)["head.bias"])
    assert len(site.requests) == 1


def test_the_pinned_hash_holds_until_the_user_says_otherwise(site: Loopback, data: bytes, tmp_path: Path) -> None:
    found = url_entry(site)
    path = checkpoints.resolve(found)
    first = path.read_bytes()
    other = site.files["/models/final.pth"] = official_file(tmp_path / "other.pth", 2)
    with pytest.raises(FetchError, match=rf"SHA-256 {sha256(other)}, pinned on \d{{4}}-.*: {sha256(data)}; not kept"):
        checkpoints.resolve(found, force=True)
    assert path.read_bytes() == first and checkpoints.resolve(found) == path
    path.unlink()  # the pin outlives the file
    with pytest.raises(FetchError, match="pinned on"):
        checkpoints.resolve(found)
    checkpoints.resolve(found, force=True, sha256=sha256(other))
    assert checkpoints.read_cached("tiny-net").source_sha256 == sha256(other)
    with pytest.raises(FetchError, match="not " + sha256(data)):
        checkpoints.resolve(found, sha256=sha256(data))


def test_another_address_is_another_pin(site: Loopback, data: bytes, tmp_path: Path) -> None:
    checkpoints.resolve(url_entry(site))
    site.files["/v2.pth"] = official_file(tmp_path / "v2.pth", 2)
    moved = url_entry(site, "/v2.pth")
    assert checkpoints.status(moved) == "to fetch"
    loaded = checkpoints.load_state_dict(checkpoints.resolve(moved))
    assert torch.equal(loaded["head.bias"], state(2)["head.bias"])


def test_registry_hash_and_demanded_hash(site: Loopback, data: bytes) -> None:
    with pytest.raises(FetchError, match=f"SHA-256 {sha256(data)}, expected: {'0' * 64}; not kept"):
        checkpoints.resolve(url_entry(site, sha256="0" * 64))
    assert left_over(url_entry(site)) == []
    with pytest.raises(FetchError, match="expected: " + "1" * 64):
        checkpoints.resolve(url_entry(site), sha256="1" * 64)
    with pytest.raises(OptionError, match="'abc' is no SHA-256"):
        checkpoints.resolve(url_entry(site), sha256="abc")
    assert checkpoints.resolve(url_entry(site, sha256=sha256(data)))


def test_a_changed_cache_file_is_named_and_force_repairs_it(site: Loopback, data: bytes) -> None:
    path = checkpoints.resolve(url_entry(site))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    with pytest.raises(FetchError, match=rf"{sha256(whole)}: damaged or changed; .*fetch tiny-net --force"):
        checkpoints.resolve(url_entry(site))
    assert checkpoints.resolve(url_entry(site), force=True).read_bytes() == whole


def test_a_cut_transfer_goes_on_where_it_stopped(site: Loopback, data: bytes) -> None:
    site.cuts = 2
    assert checkpoints.resolve(url_entry(site))
    assert site.requests == [
        "GET /models/final.pth",
        f"GET /models/final.pth bytes={len(data) // 2}-",
        f"GET /models/final.pth bytes={len(data) - (len(data) - len(data) // 2 + 1) // 2}-",
    ]


def test_a_later_run_goes_on_and_notices_a_new_file(site: Loopback, data: bytes, tmp_path: Path) -> None:
    site.cuts = 3
    with pytest.raises(
        FetchError, match=rf"cut the transfer at \d+ of {len(data)} bytes \(3 attempts, \d+ bytes are kept"
    ):
        checkpoints.resolve(url_entry(site))
    assert left_over(url_entry(site)) == ["final.pth.part", "final.pth.part.json"]
    assert checkpoints.status(url_entry(site)) == "to fetch"
    site.requests.clear()
    site.files["/models/final.pth"] = official_file(tmp_path / "new.pth", 9)
    loaded = checkpoints.load_state_dict(checkpoints.resolve(url_entry(site)))
    assert torch.equal(loaded["head.bias"], state(9)["head.bias"])
    assert "bytes=" in site.requests[0]


def test_a_download_that_was_whole_is_not_repeated(site: Loopback, data: bytes) -> None:
    folder = model_folder("tiny-net")
    folder.mkdir(parents=True)
    (folder / "final.pth.part").write_bytes(data)
    (folder / "final.pth.part.json").write_text(json.dumps({"url": url_entry(site).url, "validator": ""}))
    assert checkpoints.resolve(url_entry(site, sha256=sha256(data)))
    assert site.requests == [f"GET /models/final.pth bytes={len(data)}-"]


def test_a_server_without_ranges_starts_again(site: Loopback, data: bytes) -> None:
    site.cuts, site.ranges = 2, False
    assert checkpoints.resolve(url_entry(site))
    assert len(site.requests) == 3


def test_wrong_size(site: Loopback, data: bytes) -> None:
    with pytest.raises(FetchError, match=f"has {len(data)} bytes, but the registry says 17"):
        checkpoints.resolve(url_entry(site, size=17))


def test_what_comes_is_no_checkpoint(site: Loopback, data: bytes) -> None:
    site.files["/page.pth"] = b"<html>maintenance</html>"
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        checkpoints.resolve(url_entry(site, "/page.pth"))
    assert left_over(url_entry(site)) == []
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="answered with a web page, not a file"):
        checkpoints.resolve(url_entry(site, "/page.pth"))


def test_a_checkpoint_of_another_network(site: Loopback, tmp_path: Path) -> None:
    torch.save({"model": {"backbone.w": torch.ones(2)}}, tmp_path / "x.pth")
    site.files["/x.pth"] = (tmp_path / "x.pth").read_bytes()
    with pytest.raises(CheckpointError, match=r"unknown keys: backbone\.w"):
        checkpoints.resolve(url_entry(site, "/x.pth"))
    assert left_over(url_entry(site)) == [] and checkpoints.status(url_entry(site, "/x.pth")) == "to fetch"


def test_refusals(site: Loopback) -> None:
    with pytest.raises(FetchError, match=r"gone.pth is gone \(HTTP 404\): .*`vsalient models import tiny-net FILE`"):
        checkpoints.resolve(url_entry(site, "/gone.pth"))
    site.broken = True
    with pytest.raises(FetchError, match="answered HTTP 500"):
        checkpoints.resolve(url_entry(site, "/gone.pth"))


def test_redirects(site: Loopback, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    site.redirects["/old.pth"] = site.url + "/models/final.pth"
    assert checkpoints.resolve(url_entry(site, "/old.pth"))
    site.redirects["/evil.pth"] = "file:///etc/passwd"
    with pytest.raises(FetchError, match="answered HTTP 302"):
        checkpoints.resolve(url_entry(site, "/evil.pth"))
    import urllib.request

    with pytest.raises(FetchError, match="leads to the unprotected http://a/b; refused"):
        download._SafeRedirects().redirect_request(
            urllib.request.Request("https://a/b"), None, 302, "", {}, "http://a/b"
        )


def test_an_unreachable_host_fails_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        site, start = Loopback(url=f"http://127.0.0.1:{taken.getsockname()[1]}"), time.monotonic()
        with pytest.raises(FetchError, match=r"cannot reach 127.*refused.*by other means") as error:
            checkpoints.resolve(url_entry(site))
    assert time.monotonic() - start < 3 and "\n" not in str(error.value)


def test_a_silent_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchError, match="timed out"):
        checkpoints.resolve(url_entry(Loopback(url=f"http://127.0.0.1:{silent.getsockname()[1]}")))


def test_offline_asks_nobody(site: Loopback, data: bytes) -> None:
    with pytest.raises(FetchError, match="is not in the cache and this is offline"):
        checkpoints.resolve(url_entry(site), offline=True)
    assert site.requests == []


def test_an_interrupted_fetch_leaves_no_weights(site: Loopback, data: bytes, cache: Path) -> None:
    class Impatient:
        seen = 0

        def say(self, message: str) -> None: ...
        def begin(self, description: str, total: int | None, done: int) -> None: ...
        def end(self) -> None: ...
        def advance(self, amount: int) -> None:
            self.seen += amount
            if self.seen > 600:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.resolve(url_entry(site), progress=Impatient())
    assert left_over(url_entry(site)) == ["final.pth.part", "final.pth.part.json"]
    assert checkpoints.resolve(url_entry(site))
    assert site.requests[-1] == "GET /models/final.pth bytes=768-"


def test_two_at_once_fetch_once(site: Loopback, data: bytes) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(checkpoints.resolve(url_entry(site)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3 and len(set(paths)) == 1 and len(site.requests) == 1


def test_a_cache_that_may_not_be_written(
    site: Loopback, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VSALIENT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FetchError, match=r"cannot create .*set VSALIENT_CACHE"):
        checkpoints.resolve(url_entry(site))


def test_no_room(site: Loopback, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "put_text", full)
    with pytest.raises(FetchError, match=r"cannot write .*final\.pth\.part: .*No space left on device; make room"):
        checkpoints.resolve(url_entry(site))


def test_importing_checkpoints_loads_no_torch() -> None:
    code = "import vsalient.checkpoints, sys; sys.exit('torch' in sys.modules or 'huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
