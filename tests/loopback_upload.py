"""The part of the Hub's upload protocol that its client uses without Xet: create, preupload, LFS, commit.

As the Hub does it: small text files come inside the commit, base64; others are LFS objects, put beforehand by hash.
What was committed is then served by `loopback_hub` at the commit it answered with.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass
class Uploads:
    """What may be uploaded and what was.

    Attributes:
        token: the one that may write.
        owners: whose repositories the token may write to.
        created: payloads of the repositories that were made.
        messages: of the commits.
        objects: LFS objects by SHA-256.
        refuse: "METHOD /path" beginning -> (status, message), to play the Hub's errors.
        bad_card: what is wrong with a README.md, "" for nothing.
    """

    token: str = "hf_writer"
    owners: tuple[str, ...] = ("me",)
    created: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    bad_card: str = ""


class UploadHandler(BaseHTTPRequestHandler):
    """POST and PUT. Expects `offered`, a Loopback, and `commit`, the commit that every upload makes."""

    offered: Any
    commit: str

    def do_POST(self) -> None:
        body = self._body()
        if not self._granted():
            return
        uploads = self.offered.uploads
        if self.path == "/api/validate-yaml":
            errors = [{"message": uploads.bad_card}] if uploads.bad_card else []
            return self._reply(400 if errors else 200, {"errors": errors, "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] not in uploads.owners:
                return self._reply(403, {"error": f"You don't have the rights to create a model under {repo}"})
            if repo in self.offered.repos:
                return self._reply(
                    409, {"error": "You already created this model repo", "url": f"{self.offered.url}/{repo}"}
                )
            uploads.created.append(asked)
            self.offered.repos[repo] = {}
            return self._reply(200, {"url": f"{self.offered.url}/{repo}"})
        if match := re.fullmatch(rf"/api/models/{_REPO}/preupload/main", self.path):
            files = [
                {"path": f["path"], "shouldIgnore": False, "uploadMode": self._mode(f["path"])}
                for f in json.loads(body)["files"]
            ]
            return self._reply(200, {"files": files})
        if match := re.fullmatch(rf"/{_REPO}\.git/info/lfs/objects/batch", self.path):
            objects = [self._lfs_object(asked) for asked in json.loads(body)["objects"]]
            return self._reply(200, {"transfer": "basic", "objects": objects})
        if self.path == "/lfs/verify":
            asked = json.loads(body)
            good = len(uploads.objects.get(asked["oid"], b"")) == asked["size"]
            return self._reply(200 if good else 404, {})
        if match := re.fullmatch(rf"/api/models/{_REPO}/commit/main", self.path):
            for line in filter(None, body.decode().splitlines()):
                item = json.loads(line)
                value = item["value"]
                if item["key"] == "header":
                    uploads.messages.append(value["summary"])
                elif item["key"] == "file":
                    self.offered.repos[match["repo"]][value["path"]] = base64.b64decode(value["content"])
                elif item["key"] == "lfsFile":
                    self.offered.repos[match["repo"]][value["path"]] = uploads.objects[value["oid"]]
            url = f"{self.offered.url}/{match['repo']}/commit/{self.commit}"
            return self._reply(200, {"commitUrl": url, "commitOid": self.commit})
        self._reply(404, {"error": f"nothing at {self.path}"})

    def do_PUT(self) -> None:
        body = self._body()
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != oid:
            return self._reply(400, {"error": "the bytes have another hash"})
        self.offered.uploads.objects[oid] = body
        self._reply(200, {})

    @staticmethod
    def _mode(path: str) -> str:
        return "lfs" if path.endswith(".safetensors") else "regular"

    def _lfs_object(self, asked: dict[str, Any]) -> dict[str, Any]:
        base = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.offered.uploads.objects:
            return base
        upload = {"href": f"{self.offered.url}/lfs/{asked['oid']}"}
        return {**base, "actions": {"upload": upload, "verify": {"href": f"{self.offered.url}/lfs/verify"}}}

    def _granted(self) -> bool:
        uploads = self.offered.uploads
        asked = f"{self.command} {self.path}"
        self.offered.requests.append(asked)
        for beginning, (status, message) in uploads.refuse.items():
            if asked.startswith(beginning):
                self._reply(status, {"error": message})
                return False
        if self.headers.get("Authorization") != f"Bearer {uploads.token}":
            self._reply(401, {"error": "Invalid username or password."})
            return False
        return True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _reply(self, status: int, table: dict[str, Any]) -> None:
        data = json.dumps(table).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
