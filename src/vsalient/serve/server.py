"""uvicorn with the one limit that it lacks: a client that connects and sends no request is let go."""

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vsalient.errors import OptionError

HEADER_SECONDS = 20.0
CONNECTIONS = 1000


class TimedProtocol(H11Protocol):
    """Closes a connection whose request line and headers do not come in time."""

    header_seconds = HEADER_SECONDS

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._watch: asyncio.TimerHandle | None = self.loop.call_later(self.header_seconds, self._late)

    def _late(self) -> None:
        # A request under way has a cycle; between requests uvicorn's own keep-alive timer runs.
        waiting: object = self.cycle
        if waiting is None and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(error)


def build_server(app: Any, host: str, port: int) -> uvicorn.Server:
    """A server that is ready to run."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=TimedProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        limit_concurrency=CONNECTIONS,
        backlog=CONNECTIONS,
        timeout_graceful_shutdown=5,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=1 << 15,
    )
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that a port that is taken is an error before anything else happens.

    Raises:
        OptionError: the address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise OptionError(
            f"--host {host} --port {port} cannot be listened on: {(error.strerror or str(error)).lower()}"
        ) from None
    return bound
