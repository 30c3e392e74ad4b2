"""A real service on loopback, in a thread of the test with limits of the test's own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from vsalient.serve.app import Service, allowed_hosts, create_app
from vsalient.serve.limits import Limits
from vsalient.serve.server import build_server, listening


@contextmanager
def service(
    folder: Path, *, token: str | None = None, addresses: tuple[str, ...] = (), **limits: Any
) -> Iterator[httpx.Client]:
    """A client of a service whose jobs lie in `folder`."""
    made = Service(
        folder=folder,
        limits=Limits(**limits),
        hosts=allowed_hosts("127.0.0.1", ()),
        token=token,
        addresses=addresses,
        models=frozenset({"3dc-lite"}),
        device="cpu",
    )
    socket = listening("127.0.0.1", 0)
    server = build_server(create_app(made), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        port = socket.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def ended(client: httpx.Client, job_id: str, seconds: float = 180) -> dict[str, Any]:
    """The job once it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
