"""One connection for load, as lean as asyncio lets it be: what the generator takes, the server does not get.

A connection that the server closes is opened again when the next request is to be sent, which counts towards that
request's latency as it would for any client.
"""

import asyncio
import ssl
from collections.abc import Callable

from kserve_v2.bench.sender import Outcome
from kserve_v2.bench.target import Target

ENDED = "the server closed the connection before it answered"


class AskingProtocol(asyncio.Protocol):
    """Sends one request at a time over one connection, and reads its answer. `closed`: it takes no more of them."""

    closed: bool

    def ask(self, request: bytes) -> "asyncio.Future[Outcome]":
        """What becomes of a request."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection at once."""
        raise NotImplementedError


class Connection:
    """See `sender.Sender`. `alpn`: what is spoken, for servers behind TLS."""

    def __init__(
        self, target: Target, timeout_s: float, protocol: Callable[[], AskingProtocol], alpn: str
    ) -> None:
        self._target = target
        self._make = protocol
        self._alpn = alpn
        self._protocol: AskingProtocol | None = None
        self.timeout_s = timeout_s
        self.reconnects = 0

    async def open(self) -> None:
        """See `sender.Sender`."""
        loop = asyncio.get_running_loop()
        context = (
            ssl.create_default_context(cafile=self._target.ca_file or None) if self._target.tls else None
        )
        if context is not None:
            context.set_alpn_protocols([self._alpn])
        _, protocol = await loop.create_connection(
            self._make, self._target.host, self._target.port, ssl=context
        )
        if self._protocol is not None:
            # The server has closed it, or is about to; one that we have closed ourselves is gone.
            self.reconnects += 1
            self._protocol.abort()
        self._protocol = protocol

    async def ask(self, request: bytes) -> Outcome:
        """See `sender.Sender`."""
        try:
            # One timer for both, since a server may be slow to take connections, too.
            async with asyncio.timeout(self.timeout_s):
                if self._protocol is None or self._protocol.closed:
                    await self.open()
                assert self._protocol is not None  # noqa: S101 - it is open
                return await self._protocol.ask(request)
        except TimeoutError:
            self._drop()
            return f"no answer within {self.timeout_s:g} s"
        except OSError as error:
            self._drop()
            return f"cannot connect: {error.strerror or error}"

    async def close(self) -> None:
        """See `sender.Sender`."""
        self._drop()

    def _drop(self) -> None:
        if self._protocol is not None:
            self._protocol.abort()
            self._protocol = None
