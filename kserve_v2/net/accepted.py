"""Serving a connection that somebody else has accepted: another part of this process, or another process."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from kserve_v2.net.listening import Place

logger = logging.getLogger(__name__)


class Served(Protocol):
    """A connection that says when it is closed, once."""

    on_lost: Callable[[], None] | None


class SharedServer(Protocol):
    """A server whose connections somebody else may accept."""

    place: Place | None
    """Where they come in."""

    async def start(self, *, listen: bool = True) -> None:
        """Answer. `listen`: whether it accepts connections itself."""
        ...

    async def serve(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        """See `serve_accepted`."""
        ...


async def serve_accepted(
    connection: socket.socket,
    make: Callable[[], Served],
    tls: ssl.SSLContext | None,
    on_lost: Callable[[], None],
) -> None:
    """Serve it with what `make` makes, an `asyncio.Protocol`; returns when that has begun, and does not raise.
    `on_lost` is called once: when it is closed, or if it could not begin, as where a client does not keep to TLS.
    """
    protocol = make()
    protocol.on_lost = on_lost
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: protocol,  # type: ignore[type-var] # it is an asyncio.Protocol, too
            connection,
            ssl=tls,
        )
    except (OSError, ssl.SSLError) as error:
        # Whoever has connected has left, or is no client: nothing that anybody could do anything about.
        logger.debug("a connection did not begin: %s", error)
        connection.close()
        if protocol.on_lost is not None:
            protocol.on_lost = None
            on_lost()
