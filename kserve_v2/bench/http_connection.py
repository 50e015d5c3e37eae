"""HTTP/1.1: answers may have a length, come in chunks, or end with the connection."""

import asyncio
from typing import cast

import httptools

from kserve_v2.bench.connection import ENDED, AskingProtocol
from kserve_v2.bench.sender import Outcome, shortened

_OK = 200
_KEPT = 2000
"""Bytes of an answer that is no success."""


class HttpProtocol(AskingProtocol):
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
        """See `AskingProtocol`."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        if self.closed:
            answer.set_result(ENDED)
        else:
            self._transport.write(request)
        return answer

    def abort(self) -> None:
        """See `AskingProtocol`."""
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
        self._finish(ENDED)

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
