"""An ASGI application on uvicorn, started and stopped by hand: the composition root decides when, not
uvicorn's own loop.
"""

import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from kserve_v2.sockets import BACKLOG, listeners

# Clients keep connections in pools; one that the server closes under them costs a failed request.
_KEEP_ALIVE_SECONDS = 120


class Connection(Protocol):
    """A connection that uvicorn serves."""

    def expire(self) -> None:
        """The time to exit is up: answer what is still under way."""
        ...


class HttpServer:
    """One HTTP/1.1 server for one application."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        protocol: Callable[..., Connection],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`bound`: from `sockets.bind`. `protocol` makes a connection, from the arguments that uvicorn gives. `tls`:
        for encrypted connections only.
        """
        self._socket = bound
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

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen."""
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        self._listeners = listeners(self._socket)
        await self._server.startup(sockets=self._listeners)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse connections, give requests under way `grace_seconds` to finish, then cancel them."""
        self._config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        if self._server.started:
            await self._server.shutdown(sockets=self._listeners)
            # uvicorn cancels tasks; what is under way without one has to be told.
            connections: list[Any] = list(self._server.server_state.connections)
            for connection in connections:
                connection.expire()
        self._socket.close()
