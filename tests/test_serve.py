"""`vsalient serve`: real requests to a real service on loopback, good ones and bad ones."""

import contextlib
import http.server
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import needs

needs("serve")

import httpx

from loopback_service import ended, service
from media_files import read_pts
from tiny_model import for_children, install, write_clip
from vsalient.cli.app import main


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The default model replaced, in children too."""
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def clip(place: Path) -> bytes:
    return write_clip(place / "clip.mp4", 8, audio=True).read_bytes()


def test_a_video_goes_in_and_its_outputs_come_out(place: Path, clip: bytes) -> None:
    with service(place / "jobs") as client:
        answer = client.post("/jobs", params={"name": "../Urlaub é.mp4", "write": "video,masks"}, content=clip)
        assert answer.status_code == 201
        job = answer.json()
        assert len(job["id"]) == 32 and job["state"] in ("queued", "running") and job["name"] == "Urlaub é.mp4"
        with client.stream("GET", f"/jobs/{job['id']}/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            told = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
        assert told[-1]["state"] == "done" and told[-1]["figures"]["frames"] == 8 and told[-1]["error"] is None
        film = client.get(told[-1]["outputs"]["video"])
        assert film.headers["content-type"] == "video/mp4" and film.headers["x-content-type-options"] == "nosniff"
        (place / "got.mp4").write_bytes(film.content)
        assert len(read_pts(place / "got.mp4")) == 8
        packed = zipfile.ZipFile(io.BytesIO(client.get(told[-1]["outputs"]["masks"]).content))
        assert len(packed.namelist()) == 8 and packed.namelist()[0].startswith("Urlaub é_masks/")
        form = client.post("/jobs", data={"write": "overlay"}, files={"file": ("b.mp4", clip, "video/mp4")}).json()
        assert ended(client, form["id"])["outputs"].keys() == {"overlay"} and form["name"] == "b.mp4"
        metrics = client.get("/metrics").text
        assert 'vsalient_jobs_total{state="done"} 2.0' in metrics and "vsalient_frames_total 16.0" in metrics
        assert client.get("/healthz").json() == {"status": "ok", "queued": 0, "running": 0}
        assert client.delete(f"/jobs/{form['id']}").status_code == 204
        assert client.get(f"/jobs/{form['id']}").status_code == 404
        assert client.get(f"/jobs/{'0' * 32}/outputs/video").status_code == 404
    left = [path.name for path in (place / "jobs/jobs").rglob("*") if path.is_file()]
    assert sorted(left) == ["Urlaub é_masks.zip", "Urlaub é_video.mp4"], "uploads do not stay"


def test_what_is_no_plain_video_fails_in_one_line(place: Path, clip: bytes) -> None:
    (place / "secret.mp4").write_bytes(clip)
    absolute = place / "secret.mp4"
    bad = {
        "garbage": b"garbage" * 999,
        "concat": f"ffconcat version 1.0\nfile '{absolute}'\n".encode(),
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{absolute}\n#EXT-X-ENDLIST\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(99),
    }
    with service(place / "jobs", seconds=0.2) as client:
        jobs = {
            name: client.post("/jobs", params={"name": f"{name}.mp4"}, content=data).json()
            for name, data in bad.items()
        }
        jobs["m3u8"] = client.post("/jobs", params={"name": "x.m3u8"}, content=bad["hls"]).json()
        jobs["long"] = client.post("/jobs", params={"name": "long.mp4"}, content=clip).json()
        for name, job in jobs.items():
            end = ended(client, job["id"])
            assert end["state"] == "failed" and end["outputs"] == {}, name
            assert str(place) not in end["error"] and "\n" not in end["error"], end["error"]
        assert "lasts 0 s, 0.2 s are allowed" in ended(client, jobs["long"]["id"])["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:80"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic dG9rZW4="}, 401),
        ({"authorization": "Bearer " + "t" * 20}, 200),
    ],
)
def test_who_may_ask(place: Path, headers: dict[str, str], status: int) -> None:
    with service(place / "jobs", token="t" * 20) as client:
        answer = client.get("/about", headers=headers)
        assert answer.status_code == status, answer.text
        if status != 200:
            assert list(answer.json()) == ["error"]
        assert (
            client.get("/").status_code == 200
            and "frame-ancestors 'none'" in client.get("/").headers["content-security-policy"]
        )


def test_requests_that_are_refused_leave_nothing(place: Path, clip: bytes) -> None:
    with service(place / "jobs", upload=50_000, idle=0.5, queued=1, stored=60_000) as client:

        def post(**more: object) -> int:
            answer = client.post("/jobs", **more)  # type: ignore[arg-type]
            assert "error" in answer.json()
            return answer.status_code

        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(10_000)

        def slow() -> Iterator[bytes]:
            yield clip[:100]
            time.sleep(2)
            yield clip[100:]

        assert post(content=b"") == 400
        assert post(params={"model": "../../x"}, content=clip) == 400
        assert post(params={"model": "os:system"}, content=clip) == 400
        assert post(params={"write": "video,exe"}, content=clip) == 400
        assert post(params={"output": "/etc"}, content=clip) == 400
        assert post(params={"threshold": "0.5 --device cuda"}, content=clip) == 400
        assert post(json={"url": "http://127.0.0.1:1/x.mp4"}) == 403
        assert post(json=["x"]) == 400
        assert post(data={"write": "video"}, files={"a": ("a", b"1"), "b": ("b", b"2")}) == 400
        assert post(headers={"content-type": "multipart/form-data; boundary=x"}, content=b"garbage") == 400
        for too_large in (bytes(200_000), endless()):
            # Refused before all was sent: not every client reads the answer then.
            with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                assert post(content=too_large) == 413
        assert post(content=slow()) == 408
        with socket.create_connection((client.base_url.host, client.base_url.port)) as broken:
            head = "POST /jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 40000\r\n\r\n"
            broken.sendall(head.encode() + bytes(100))
        time.sleep(0.5)
        assert client.get("/healthz").json() == {"status": "ok", "queued": 0, "running": 0}
    assert not list((place / "jobs/jobs").iterdir())


class _Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/films/away.mp4":
            self.send_response(302)
            self.send_header("location", "/secret.mp4")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(Path("clip.mp4").read_bytes())

    def log_message(self, *arguments: object) -> None:
        pass


def test_addresses_by_an_allow_list(place: Path, clip: bytes) -> None:
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{site.server_port}"
    with service(place / "jobs", addresses=(f"{base}/films/",)) as client:
        job = client.post("/jobs", json={"url": f"{base}/films/a%20b.mp4", "write": "video"}).json()
        assert job["name"] == "a b.mp4" and ended(client, job["id"])["state"] == "done"
        refused = {
            f"{base}/secret.mp4": 403,
            f"{base}/films/../secret.mp4": 400,
            f"{base}/films/%2e%2e/secret.mp4": 400,
            f"http://user@127.0.0.1:{site.server_port}/films/a.mp4": 400,
            f"http://127.0.0.1:{site.server_port + 1}/films/a.mp4": 403,
            "file:///etc/passwd": 400,
            f"{base}/films/away.mp4": 422,
        }
        for url, status in refused.items():
            assert client.post("/jobs", json={"url": url}).status_code == status, url
    site.shutdown()


def test_the_queue_survives_the_death_of_the_service(place: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RED_SECONDS", "0.3")
    command = [sys.executable, "-m", "vsalient", "serve", "--port", "0", "--device", "cpu", "--storage", "jobs"]

    def start() -> "tuple[subprocess.Popen[str], httpx.Client]":
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        client = httpx.Client(base_url=process.stderr.readline().strip(), trust_env=False, timeout=60)
        deadline = time.monotonic() + 60
        while True:
            try:
                assert client.get("/healthz").status_code == 200
                return process, client
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    process, client = start()
    jobs = [client.post("/jobs", params={"name": f"{n}.mp4"}, content=clip).json()["id"] for n in range(2)]
    while client.get(f"/jobs/{jobs[0]}").json()["state"] == "queued":
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    monkeypatch.setenv("RED_SECONDS", "0")
    process, client = start()
    assert [ended(client, job)["state"] for job in jobs] == ["done", "done"]
    cancelled = client.post("/jobs", content=clip).json()["id"]
    client.delete(f"/jobs/{cancelled}")
    assert client.get(f"/jobs/{cancelled}").status_code == 404 or ended(client, cancelled)["state"] == "cancelled"
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "256.0.0.1"], "cannot be listened on"),
        (["--token-file", "none"], "cannot be read"),
        (["--allow-url", "ftp://x/"], "--allow-url ftp://x/"),
        (["--storage", "clip.mp4"], "clip.mp4"),
        (["--device", "gpu"], "unknown device"),
    ],
)
def test_bad_options_are_one_line(
    place: Path, clip: bytes, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", *arguments])
    error = capsys.readouterr().err
    assert end.value.code in (1, 2) and words in error and "Traceback" not in error
