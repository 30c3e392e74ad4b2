"""A plain address as a source: one file over HTTP, with resume, size check and progress."""

import email.message
import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from vsalient.checkpoints.cache import put_text
from vsalient.checkpoints.progress import FetchProgress
from vsalient.errors import FetchError, first_line
from vsalient.version import __version__

TIMEOUT = 10.0
"""Seconds without a byte after which a host counts as silent."""
ATTEMPTS = 3
PAUSE = 1.0
"""Seconds between attempts."""
CHUNK = 1 << 18


class _CutError(Exception):
    """The transfer stopped before its end; another attempt may go on from there."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https down to http: a hash pinned at first sight relies on it."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise FetchError(f"{req.full_url} leads to the unprotected {newurl}; refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, part: Path, *, name: str, size: int | None, trusted: bool, progress: FetchProgress) -> None:
    """Download an address to the file `part`, going on where an earlier run stopped when the server can.

    Args:
        url: http or https.
        part: the partial file; whole when this returns. Beside it lies what is needed to go on.
        name: the entry's name, for messages.
        size: expected bytes, None when not known.
        trusted: the caller will check a hash, so that going on is safe even if the server names no version.
        progress: told of every step.

    Raises:
        FetchError: unreachable, refused, missing, cut, of another size, a web page, or no room.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    host = urlsplit(url).netloc
    progress.say(f"asking {host} for {urlsplit(url).path}")
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            progress.say(f"{reason}; trying again ({attempt + 1} of {ATTEMPTS})")
            time.sleep(PAUSE)
        try:
            _transfer(url, part, name, size=size, trusted=trusted, progress=progress)
        except _CutError as error:
            reason = str(error)
        except OSError as error:  # those of the network became other errors further down
            raise FetchError(f"cannot write {part}: {first_line(error)}; make room or set VSALIENT_CACHE") from error
        else:
            return
        finally:
            progress.end()
    here = part.stat().st_size if part.is_file() else 0
    raise FetchError(f"{reason} ({ATTEMPTS} attempts, {here} bytes are kept): run it again to go on")


def _transfer(url: str, part: Path, name: str, *, size: int | None, trusted: bool, progress: FetchProgress) -> None:
    """One attempt."""
    done, validator = _state(url, part, trusted)
    try:
        response = _open(url, done, validator)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:
            if error.headers.get("Content-Range") == f"bytes */{done}":
                return  # All of it came in an earlier run.
            # What we hold is not a beginning of what is there now.
            discard(part)
            raise _CutError(f"{urlsplit(url).netloc} has another file there now") from error
        raise FetchError(_refusal(url, name, error.code)) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = first_line(cause) if isinstance(cause, BaseException) else str(cause)
        raise FetchError(
            f"cannot reach {urlsplit(url).netloc} ({reason}): check the network and proxy, or get {url} "
            f"by other means and `vsalient models import {name} FILE`"
        ) from error
    with response:
        headers = response.headers
        if response.status != 206:
            done = 0
        elif not (headers.get("Content-Range") or "").startswith(f"bytes {done}-"):
            discard(part)
            raise _CutError(f"{urlsplit(url).netloc} sent another part than was asked for")
        if "text/html" in (headers.get("Content-Type") or ""):
            raise FetchError(
                f"{url} answered with a web page, not a file: open it in a browser (a login or a notice?), "
                f"then `vsalient models import {name} FILE`"
            )
        length = headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        if size is not None and total is not None and total != size:
            raise FetchError(f"{url} has {total} bytes, but the registry says {size}: the file was changed; not taken")
        _remember(url, part, headers)
        progress.begin(part.stem, total if total is not None else size, done)
        here = _receive(response, part, done, progress, urlsplit(url).netloc)
    if total is not None and here < total:
        raise _CutError(f"{urlsplit(url).netloc} cut the transfer at {here} of {total} bytes")
    if size is not None and here != size:
        raise FetchError(f"{url} gave {here} bytes, but the registry says {size}: not taken; run it again")


def _open(url: str, done: int, validator: str) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"vsalient/{__version__}", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if validator:
            headers["If-Range"] = validator
    # Only these handlers: no file: or ftp: address can be reached, not by a redirect either.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
        _SafeRedirects,
    ):
        opener.add_handler(handler())
    response: http.client.HTTPResponse = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    return response


def _receive(response: http.client.HTTPResponse, part: Path, done: int, progress: FetchProgress, host: str) -> int:
    """Append the response's body after the first `done` bytes; returns how many bytes are here."""
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(done)
        file.seek(done)
        while True:
            try:
                chunk = response.read(CHUNK)
            except (http.client.HTTPException, OSError) as error:
                raise _CutError(f"{host} cut the transfer at {done} bytes ({first_line(error)})") from error
            if not chunk:
                return done
            file.write(chunk)
            file.flush()
            done += len(chunk)
            progress.advance(len(chunk))


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _state(url: str, part: Path, trusted: bool) -> tuple[int, str]:
    """How many bytes of this very file are here, and the server's name for its version."""
    try:
        notes = json.loads(_notes(part).read_text(encoding="utf-8"))
        done = part.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    if notes.get("url") != url or not (notes.get("validator") or trusted):
        return 0, ""
    return done, notes.get("validator") or ""


def _remember(url: str, part: Path, headers: email.message.Message) -> None:
    """Note which version the partial file belongs to: a strong ETag, else the date of the last change."""
    etag = headers.get("ETag") or ""
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified") or ""
    put_text(_notes(part), json.dumps({"url": url, "validator": validator}))


def discard(part: Path) -> None:
    """Remove a partial download and what was noted of it."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _refusal(url: str, name: str, code: int) -> str:
    if code in (404, 410):
        return (
            f"{url} is gone (HTTP {code}): look for the file at its authors' page, then "
            f"`vsalient models import {name} FILE`"
        )
    if code in (401, 403):
        return f"{url} may not be fetched (HTTP {code}): get it in a browser, then `vsalient models import {name} FILE`"
    return f"{url} answered HTTP {code}: try again later, or `vsalient models import {name} FILE`"
