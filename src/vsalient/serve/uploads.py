"""Videos on their way to the disk: an upload, raw or as a form, or an address from the list of those allowed."""

import shutil
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from vsalient.datasets.names import VIDEOS
from vsalient.serve.limits import Limits
from vsalient.serve.security import Refused


def safe_name(text: str) -> str:
    """What a client calls a video, as a file name: no folders, nothing hidden, nothing unprintable, not too long."""
    name = PurePosixPath(text.replace("\\", "/")).name
    name = "".join(c if c.isprintable() and c not in '<>:"/\\|?*{}' else "_" for c in name).strip(" .")
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, suffix = name, ""
    return f"{stem[:60] or 'video'}.{suffix}" if suffix else (stem[:60] or "video")


def source_name(name: str) -> str:
    """What the upload is called on disk. Only endings of videos are kept: others would choose another reader."""
    suffix = Path(name).suffix.lower()
    return f"source{suffix}" if suffix in VIDEOS else "source"


async def write_raw(body: AsyncIterator[bytes], path: Path) -> None:
    """Write a body as it is."""
    with path.open("xb") as file:
        async for piece in body:
            file.write(piece)


class UploadForm:
    """A form read piece by piece: its file goes to the disk, its other fields are short texts.

    Attributes:
        fields: name -> text.
        filename: what the client calls the file.
    """

    def __init__(self, content_type: str, path: Path) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise Refused(400, "the form has no boundary")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._path = path
        self._file: IO[bytes] | None = None
        self._header, self._value = b"", b""
        self._disposition: dict[bytes, bytes] = {}
        self._text = b""
        self._parse_options = parse_options_header
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    async def read(self, body: AsyncIterator[bytes]) -> None:
        """Take in the whole form.

        Raises:
            Refused: it is malformed, or holds no file or several.
        """
        from python_multipart.exceptions import FormParserError

        try:
            async for piece in body:
                self._parser.write(piece)
            self._parser.finalize()
        except FormParserError:
            raise Refused(400, "the form is malformed") from None
        finally:
            if self._file is not None:
                self._file.close()
        if self.filename is None:
            raise Refused(400, "the form has no field 'file' with a video")

    def _begin(self) -> None:
        self._header, self._value, self._disposition, self._text = b"", b"", {}, b""

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if len(self._header) + len(self._value) > 4096:
            raise Refused(400, "the form is malformed")
        if self._header.lower() == b"content-disposition":
            self._disposition = self._parse_options(self._value)[1]
        self._header, self._value = b"", b""

    def _headers_end(self) -> None:
        if b"filename" in self._disposition:
            if self.filename is not None:
                raise Refused(400, "the form has several files: make a job for each")
            self.filename = self._disposition[b"filename"].decode("utf-8", "replace")
            self._file = self._path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if b"filename" in self._disposition:
            assert self._file is not None
            self._file.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > 1024 or len(self.fields) > 20:
            raise Refused(400, "the form's fields are too long")

    def _end(self) -> None:
        if b"filename" not in self._disposition:
            name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
            self.fields[name] = self._text.decode("utf-8", "replace").strip()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """A redirect could lead where the list of allowed addresses does not."""
        return


def check_upload_address(url: str, allowed: Sequence[str]) -> str:
    """A video's address, if it begins with one of those allowed; and the name it gives the video.

    Raises:
        Refused: it does not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused(400, "this is no address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or ".." in unquote(parts.path):
        raise Refused(400, "give an http or https address without a user name")
    for prefix in allowed:
        wanted = urlsplit(prefix)
        same = (parts.scheme, parts.hostname.lower(), port) == (
            wanted.scheme,
            (wanted.hostname or "").lower(),
            wanted.port,
        )
        if same and parts.path.startswith(wanted.path or "/"):
            return unquote(PurePosixPath(parts.path).name) or "video"
    raise Refused(403, "this address is not on the list of those that may be fetched from")


def fetch_upload(url: str, path: Path, limits: Limits) -> int:
    """Fetch an address to a file; returns its size.

    Raises:
        Refused: it cannot be fetched, is too large or too slow.
    """
    import time

    # No proxies of the environment either: the list says where connections go.
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
    until = time.monotonic() + limits.transfer
    size = 0
    try:
        with opener.open(url, timeout=limits.idle) as answer, path.open("xb") as file:
            while piece := answer.read1(1 << 16):
                size += len(piece)
                if size > limits.upload:
                    raise Refused(413, f"the video is larger than {limits.upload} bytes")
                if time.monotonic() > until:
                    raise Refused(408, "the address answers too slowly")
                file.write(piece)
    except urllib.error.HTTPError as error:
        raise Refused(422, f"the address answers with status {error.code}") from None
    except (OSError, ValueError) as error:
        raise Refused(422, f"the address cannot be fetched: {type(error).__name__}") from None
    return size


def room(folder: Path, limits: Limits) -> None:
    """See that another upload fits.

    Raises:
        Refused: the disk, or what may be stored, is full.
    """
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if used > limits.stored or shutil.disk_usage(folder).free < min(limits.upload, 1 << 30):
        raise Refused(507, "there is no room for more videos now; try later")
