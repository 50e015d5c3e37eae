"""An ASGI application on uvicorn, started and stopped by hand: the composition root decides when, not
uvicorn's own loop.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from kserve_v2.net.accepted import serve_accepted
from kserve_v2.net.listening import Place
from kserve_v2.net.sockets import BACKLOG, listeners

# Clients keep connections in pools; one that the server closes under them costs a failed request.
_KEEP_ALIVE_SECONDS = 120

# uvicorn looks every 0.1 s whether all connections are closed.
_LEAST_GRACE_S = 0.2


class Connection(Protocol):
    """A connection that uvicorn serves: an `asyncio.Protocol`."""

    on_lost: Callable[[], None] | None
    """Called when it is closed."""

    def abandon(self) -> None:
        """The time to exit is up: answer what is still under way."""
        ...


class HttpServer:
    """One HTTP/1.1 server for one application."""

    def __init__(
        self,
        app: ASGIApp,
        place: Place | None,
        protocol: Callable[..., Connection],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`place`: where it listens; None if it never does. `protocol` makes a connection, from the arguments that
        uvicorn gives. `tls`: for encrypted connections only.
        """
        self.place = place
        self._listeners: list[socket.socket] = []
        config = uvicorn.Config(
            app,
            # uvicorn asks for a class, but only calls it.
            http=protocol,  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        config.load()
        config.ssl = tls
        self._config = config
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)

    async def start(self, *, listen: bool = True) -> None:
        """Answer. `listen`: False if somebody else does, at its place or elsewhere."""
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        if listen:
            assert self.place is not None  # noqa: S101 - or there is nothing to listen at
            self._listeners = listeners(self.place.socket)
        await self._server.startup(sockets=self._listeners)

    async def serve(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        """Serve a connection that was accepted elsewhere; see `serve_accepted`. After `start`."""
        await serve_accepted(connection, self._connection, self._config.ssl, on_lost)

    def _connection(self) -> Any:
        """As uvicorn makes them."""
        return self._config.http_protocol_class(  # type: ignore[call-arg]
            config=self._config,
            server_state=self._server.server_state,
            app_state=self._server.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )

    async def stop(self, grace_seconds: float) -> None:
        """Refuse connections, give requests under way `grace_seconds` to finish, then cancel them. 0: their time is
        up.
        """
        # Whoever gives up requests says so itself.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        if self._server.started:
            if not grace_seconds:
                self._abandon()
            # A number of seconds, though it is declared as a whole one.
            self._config.timeout_graceful_shutdown = max(_LEAST_GRACE_S, grace_seconds)  # type: ignore[assignment]
            await self._server.shutdown(sockets=self._listeners)
            self._abandon()
        if self.place is not None:
            self.place.close()

    def _abandon(self) -> None:
        """uvicorn cancels tasks; what is under way without one has to be told."""
        connections: list[Any] = list(self._server.server_state.connections)
        for connection in connections:
            connection.abandon()
