"""uvicorn's HTTP protocol, but: a request whose client has left is cancelled at once, and every error is JSON.

ASGI tells an application of a disconnect only if it waits for one, which would take a task per request.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kserve_v2.rest.errors import error_body

WAITING_TASKS = "kserve_v2.waiting_tasks"
"""Scope key of the connection's set of tasks to cancel when the client leaves. A task that is cancelled is
taken out of it.
"""

# How many requests of one connection are read while one is answered.
_MAX_PIPELINED = 8


class DisconnectAwareProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    _waiting_tasks: set[asyncio.Task[None]]
    # Requests with another one pipelined behind them; uvicorn itself remembers only the last.
    _earlier_cycles: list[RequestResponseCycle]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._waiting_tasks = set()
        self._earlier_cycles = []
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self.scope[WAITING_TASKS] = self._waiting_tasks  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """See httptools."""
        current = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            self._earlier_cycles.append(current)
        else:
            self._earlier_cycles.clear()

    def on_message_complete(self) -> None:
        """See httptools."""
        super().on_message_complete()
        # uvicorn pauses reading when a body is large or another request follows; then it would not see the client
        # leave.
        if len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every other error, and hang up."""
        body = error_body(msg)
        head = (
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        for cycle in self._earlier_cycles:
            cycle.disconnected = True
        while self._waiting_tasks:
            self._waiting_tasks.pop().cancel()
