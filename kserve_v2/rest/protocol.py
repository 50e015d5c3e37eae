"""uvicorn's HTTP protocol, but: a request whose client has left is cancelled at once, and inference requests of the
usual form take the fast lane; all others go the way of ASGI.

ASGI tells an application of a disconnect only if it waits for one, which would take a task per request. A client that
closes its half of the connection has left: a full close looks the same. But one that has sent requests ahead of the
answers to earlier ones gets all of them: whether it is still there is seen when they are written.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from kserve_v2.net.attended import WAITING_TASKS
from kserve_v2.net.coming_body import COMING_BODY, ComingBody
from kserve_v2.net.limited import LimitedConnection, RefusalError
from kserve_v2.rest.errors import error_body
from kserve_v2.rest.fast_call import FastCall
from kserve_v2.rest.fast_connection import FastConnection
from kserve_v2.rest.fast_lane import Lane

# The most requests of one connection that are read while another is answered.
_MAX_PIPELINED = 8


class HttpConnection(LimitedConnection):
    """One HTTP/1.1 connection. What its fast lane takes, the parser never sees."""

    fast_connection = FastConnection

    def __init__(self, *arguments: Any, lane: Lane | None = None, **options: Any) -> None:
        """`lane`: None for a server without one; the rest as `LimitedConnection` has it."""
        super().__init__(*arguments, **options)
        # Requests pipelined behind one that it has not answered yet go through ASGI.
        self._fast = self.fast_connection(lane, self, self) if lane is not None else None
        self._waiting_tasks: set[asyncio.Task[None]] = set()
        # Requests with another one pipelined behind them; uvicorn itself remembers only the last.
        self._earlier_cycles: list[RequestResponseCycle] = []
        # Whether the client has ever sent a request before the answer to an earlier one.
        self._pipelines = False
        # Of the request that is being read.
        self._coming = ComingBody()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._fast is not None:
            self._fast.connect(transport)

    def data_received(self, data: bytes) -> None:
        if self._last_words is not None:
            return
        fast = self._fast
        while fast is not None and (fast.reads or self._is_free()):
            left = fast.take(data)
            if not left or self.transport.is_closing():
                return
            if left is data:
                break
            self._pipelines = True
            data = left
        self._read_bytes = len(data)
        self._later_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            reason = error.__context__
            if isinstance(reason, RefusalError):
                self.refuse(reason.status, str(reason))
            else:
                self.refuse(HTTPStatus.BAD_REQUEST, "Invalid HTTP request received.")
        else:
            if self._incomplete:
                self._await_rest_of_request()

    def _is_free(self) -> bool:
        """Whether nothing is being read, waited for or sent."""
        cycle: Any = self.cycle
        return (
            not self._incomplete and (cycle is None or cycle.response_complete) and not self.flow.write_paused
        )

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser has passed over the body of the request, if it has one.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The head that has just been read, as the head of a request that asks for no other protocol."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # --- what the parser finds ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The scope is made when it is known to be needed."""
        self.url = b""
        self.headers = []
        self._said_nothing = False
        self._incomplete = self._in_head = True
        self._later_bytes = self._chunks = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Also called for the trailers of a chunked body. They are nobody's: to whoever looked at the head on its way,
        they were no headers (RFC 9110, section 6.5.1).
        """
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._check_head()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusalError(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed")
            return
        self._in_head = False
        current = self.cycle
        self._make_scope()
        super().on_headers_complete()
        self._keep_alive_as_asked()
        if self.pipeline:
            self._pipelines = True
            self._earlier_cycles.append(current)
        else:
            self._earlier_cycles.clear()

    def _make_scope(self) -> None:
        """What uvicorn does when a request begins, and has headers."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        self._coming = ComingBody()
        scope = cast("dict[str, Any]", self.scope)
        scope[WAITING_TASKS], scope[COMING_BODY] = self._waiting_tasks, self._coming

    def _keep_alive_as_asked(self) -> None:
        """Keep a connection of HTTP/1.0 whose client asks for that; uvicorn would not."""
        if self.scope["http_version"] == "1.0" and self.parser.should_keep_alive():
            self.cycle.keep_alive = True
            self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"keep-alive")]

    def on_body(self, body: bytes) -> None:
        self._later_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._coming.end()
        self._incomplete = False
        # uvicorn pauses reading when a body is large or another request follows; then it would not see the client
        # leave.
        if len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """The next pipelined request has its turn."""
        if self.pipeline:
            super().on_response_complete()
        elif self._last_words is not None:
            self._hang_up(self._last_words)
        else:
            self.server_state.total_requests += 1
            self._idle_since = self.loop.time()
            if self.flow.read_paused and not self.transport.is_closing():
                self.flow.resume_reading()

    # --- the fast lane's requests, of which uvicorn and the timers know, too: see `fast_connection.Owner` -----------

    def begun(self, call: FastCall, *, complete: bool) -> None:
        # To uvicorn the call is a request-response cycle.
        self.cycle = call  # type: ignore[assignment]
        self._said_nothing = False
        if not complete:
            self._incomplete, self._in_head = True, False

    def read_more(self) -> None:
        self._await_more()

    def read_all(self) -> None:
        self._incomplete = False

    def ended(self, call: FastCall) -> None:
        current: object = self.cycle
        if current is call:
            # An idle connection must not keep its last request alive.
            self.cycle = None  # type: ignore[assignment]

    def answered(self) -> None:
        self._said_nothing = False
        self.on_response_complete()

    def abandon(self) -> None:
        """The server's time to exit is up: the request in the fast lane fails."""
        if self._fast is not None:
            self._fast.abandon()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. Returns whether the connection stays open for answers."""
        if self._last_words is None and self._incomplete and not self._in_head:
            if not self.pipeline:
                return False
            # It will never be whole.
            self._discard(self.cycle, HTTPStatus.BAD_REQUEST)
            self._incomplete = False
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete
        # TLS has no half-close.
        if not (self._pipelines and answering and self.transport.can_write_eof()):
            return False
        if self._last_words is None:
            self._last_words = b""
        return True

    # --- what is given up -----------------------------------------------------------------------------------------

    def _error_body(self, status: HTTPStatus, message: str) -> bytes:
        return error_body(message)

    def _discard(self, cycle: RequestResponseCycle, status: HTTPStatus) -> bool:
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            # The request before it is the last one now.
            self.cycle = self._earlier_cycles.pop()
        elif cycle.response_started:
            return True
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._cancel_waiting()
            # In the fast lane it is not in flight yet: its body is not complete.
            if self._fast is not None:
                self._fast.discard(status)
        return False

    def _cancel_waiting(self) -> None:
        while self._waiting_tasks:
            self._waiting_tasks.pop().cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for cycle in self._earlier_cycles:
            cycle.disconnected = True
        self._cancel_waiting()
        if self._fast is not None:
            self._fast.give_up()
