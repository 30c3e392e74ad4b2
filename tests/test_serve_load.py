"""200 clients at once: no job is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import needs

needs("serve")

import httpx

from loopback_service import service
from tiny_model import for_children, install, write_clip

CLIENTS = 200


@pytest.mark.slow
def test_two_hundred_clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch)
    clip = write_clip(tmp_path / "clip.mp4", 10, size=(160, 120)).read_bytes()
    with service(tmp_path / "jobs") as client:
        gate = threading.Barrier(CLIENTS)

        def submit(number: int) -> str:
            with httpx.Client(base_url=client.base_url, timeout=120, trust_env=False) as own:
                gate.wait()
                answer = own.post("/jobs", params={"name": f"{number}.mp4"}, content=clip)
                assert answer.status_code == 201, answer.text
                return str(answer.json()["id"])

        with ThreadPoolExecutor(CLIENTS) as pool:
            submitted = list(pool.map(submit, range(CLIENTS)))
        deadline = time.monotonic() + 240
        while client.get("/healthz").json()["queued"] + client.get("/healthz").json()["running"]:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert len(set(submitted)) == CLIENTS
        for job in submitted:
            found = client.get(f"/jobs/{job}").json()
            assert found["state"] == "done" and found["figures"]["frames"] == 10, found
