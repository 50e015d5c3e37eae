"""One connection over HTTP/1.1, as lean as asyncio lets it be: what the generator takes, the server does not get.

Answers may have a length, come in chunks, or end with the connection. A connection that the server closes is opened
again when the next request is to be sent, which counts towards that request's latency as it would for any client.
"""

import asyncio
import ssl
from typing import cast

import httptools

from kserve_v2.bench.sender import Outcome, shortened
from kserve_v2.bench.target import Target

_OK = 200
_KEPT = 2000
"""Bytes of an answer that is no success."""

_ENDED = "the server closed the connection before it answered"


class HttpConnection:
    """See `sender.Sender`."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self.timeout_s = timeout_s
        self._protocol: _Protocol | None = None
        self.reconnects = 0

    async def open(self) -> None:
        """See `sender.Sender`."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._target.tls else None
        _, protocol = await loop.create_connection(
            _Protocol, self._target.host, self._target.port, ssl=context
        )
        # One that we have closed ourselves is gone: this was the server.
        self.reconnects += self._protocol is not None
        self._protocol = protocol

    async def ask(self, request: bytes) -> Outcome:
        """See `sender.Sender`."""
        try:
            # One timer for both, since a server may be slow to take connections, too.
            async with asyncio.timeout(self.timeout_s):
                if self._protocol is None or self._protocol.closed:
                    await self.open()
                protocol = cast("_Protocol", self._protocol)
                return await protocol.ask(request)
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


class _Protocol(asyncio.Protocol):
    """Reads one answer at a time."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Outcome] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        """With the next answer."""
        self._framed = self._headed = False
        self._failure = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> "asyncio.Future[Outcome]":
        """What becomes of a request."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        if self.closed:
            answer.set_result(_ENDED)
        else:
            self._transport.write(request)
        return answer

    def abort(self) -> None:
        """Close the connection at once."""
        self.closed = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(f"no HTTP answer: {error}")
            self.abort()

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        self.closed = True
        if self._headed and not self._framed:
            # Such an answer ends with the connection.
            self.on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.closed = True
        self._finish(_ENDED)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        """All of them."""
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._parser.get_status_code() != _OK and len(self._failure) < _KEPT:
            self._failure += body

    def on_message_complete(self) -> None:
        """The whole answer is there."""
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.abort()
        failure = bytes(self._failure)
        if status < _OK:
            # Of an interim answer, the real one follows.
            return
        self._begin()
        self._finish(None if status == _OK else shortened(f"HTTP {status}", failure))

    def _finish(self, outcome: Outcome) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)
