"""Who may ask: the Host and Origin of a request, its token, and the size and speed of its body."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from vsalient.serve.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
OPEN = ("/", "/page.js", "/page.css", "/healthz")
"""What needs no token: the page itself, which holds nothing, and whether the service is well."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
        b"media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is not served.

    Attributes:
        status: of the answer.
        text: one line for the client.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the answer. The connection ends: the rest of a body that nobody reads may still come."""
        more = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}
        return {"connection": "close", **more.get(self.status, {})}


class Guard:
    """An ASGI application before the application.

    Args:
        app: what is guarded.
        hosts: names that the service answers to; a page of another name that resolves here must not reach it.
        token: demanded of every request but those for `OPEN`; None for none.
        metrics: told of refusals.
    """

    def __init__(self, app: Any, *, hosts: frozenset[str], token: str | None, metrics: Metrics) -> None:
        self._app, self._hosts, self._token, self._metrics = app, hosts, token, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began = False

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message.get("headers", []), *_HEADERS]
                if message["status"] >= 400:
                    self._metrics.refused(message["status"])
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, answer)
        except Refused as refusal:
            if began:
                raise
            await _refuse(refusal, answer)

    def _check(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if host_of(host) not in self._hosts:
            raise Refused(421, "this host name is not served here; start the service with --allow-host to add it")
        origin = headers.get(b"origin")
        if origin is not None and origin != f"{scope.get('scheme', 'http')}://{host}":
            raise Refused(403, "requests from pages of another origin are not served")
        if self._token is None or scope["path"] in OPEN:
            return
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            raise Refused(401, "a token is needed: send the header 'Authorization: Bearer TOKEN'")


def host_of(text: str) -> str:
    """A Host header without its port, in lower case."""
    if text.startswith("["):
        return text.partition("]")[0].lower() + "]"
    return text.partition(":")[0].lower().rstrip(".")


async def _refuse(refusal: Refused, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    headers.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": refusal.text}).encode()})


class Body:
    """A request's body in pieces, under a cap and with a time limit for every piece and for all.

    Args:
        receive: the ASGI channel.
        limit: bytes at most.
        idle: seconds until the next piece must come.
        transfer: seconds until all must be there.
    """

    def __init__(self, receive: Receive, *, limit: int, idle: float, transfer: float) -> None:
        self._receive, self._limit, self._idle = receive, limit, idle
        self._until = asyncio.get_running_loop().time() + transfer
        self.size = 0

    async def __aiter__(self) -> Any:
        """Yield the pieces.

        Raises:
            Refused: too large, too slow, or the client went away.
        """
        more = True
        while more:
            left = self._until - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(self._receive(), max(0.001, min(self._idle, left)))
            except TimeoutError:
                raise Refused(408, "the upload was too slow") from None
            if message["type"] == "http.disconnect":
                raise Refused(400, "the upload was broken off")
            piece = message.get("body", b"")
            self.size += len(piece)
            if self.size > self._limit:
                raise Refused(413, f"the upload is larger than {self._limit} bytes")
            more = message.get("more_body", False)
            if piece:
                yield piece
