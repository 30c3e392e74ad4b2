"""A server on the loopback that speaks as much of the Hub's protocol as its client needs, and plain HTTP with ranges.

It counts requests, and can cut transfers, refuse ranges and answer with the Hub's errors.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer

from loopback_upload import UploadHandler, Uploads

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Loopback:
    """What the server offers and what it was asked.

    Attributes:
        url: its address.
        repos: "owner/name" -> file -> bytes, all at `COMMIT`.
        files: "/path" -> bytes, served as they are.
        gated: repositories that need a token.
        cuts: how many more GETs are cut; each sends half of what it should.
        ranges: whether Range is honoured.
        redirects: "/path" -> where it leads.
        content_type: of plain files.
        requests: "METHOD /path", with " bytes=..." where a range was asked for.
        uploads: what may be uploaded, and what was.
    """

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cuts: int = 0
    ranges: bool = True
    broken: bool = False
    redirects: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    requests: list[str] = field(default_factory=list)
    uploads: Uploads = field(default_factory=Uploads)


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Run the server for the time of the block."""
    offered = Loopback()

    class Handler(UploadHandler):
        protocol_version = "HTTP/1.1"
        commit = COMMIT

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def answer(self, *, body: bool) -> None:
            asked = self.headers.get("Range")
            offered.requests.append(f"{self.command} {self.path}" + (f" {asked}" if asked else ""))
            if offered.broken:
                return self.refuse(500)
            if self.path in offered.redirects:
                self.send_response(302)
                self.send_header("Location", offered.redirects[self.path])
                self.send_header("Content-Length", "0")
                return self.end_headers()
            extra: dict[str, str] = {}
            data = offered.files.get(self.path)
            if match := _RESOLVE.fullmatch(self.path):
                repo, file = match["repo"], match["file"]
                if repo not in offered.repos:
                    return self.refuse(401, "RepoNotFound")
                if repo in offered.gated and "Authorization" not in self.headers:
                    return self.refuse(403, "GatedRepo")
                if match["revision"] != COMMIT:
                    return self.refuse(404, "RevisionNotFound")
                data = offered.repos[repo].get(file)
                if data is None:
                    return self.refuse(404, "EntryNotFound", {"X-Repo-Commit": COMMIT})
                extra = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data))}
            if data is None:
                return self.refuse(404)
            self.offer(data, asked, extra, body=body)

        def offer(self, data: bytes, asked: str | None, extra: dict[str, str], *, body: bool) -> None:
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and offered.ranges else 0
            if self.headers.get("If-Range", etag) != etag:
                start = 0
            if start >= len(data) > 0:
                return self.refuse(416, headers={"Content-Range": f"bytes */{len(data)}"})
            self.send_response(206 if start else 200)
            for name, value in {**extra, "ETag": etag, "Content-Type": offered.content_type}.items():
                self.send_header(name, value)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if not body:
                return
            rest = data[start:]
            if offered.cuts > 0:
                offered.cuts -= 1
                rest = rest[: len(rest) // 2]
                self.close_connection = True
            self.wfile.write(rest)

        def refuse(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), **({"X-Error-Code": code} if code else {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    Handler.offered = offered
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    offered.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield offered
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
