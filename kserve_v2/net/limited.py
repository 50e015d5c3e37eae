"""uvicorn's HTTP protocol, but a client cannot hold on to memory, or to a connection, with a request that does not end:
what a request may take is limited, in bytes and in time.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kserve_v2.errors import RETRY_AFTER_S
from kserve_v2.net.answer_text import any_answer
from kserve_v2.net.limits import HttpLimits
from kserve_v2.net.origins import readable_by
from kserve_v2.net.unread import unread_bytes

# After the last answer, the client may go on sending for this long. Closing at once would reset the connection, and the
# client could lose the answer that says why.
_LINGER_SECONDS = 1.0


class RefusalError(Exception):
    """The request breaks a limit: raised through the parser."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class LimitedConnection(HttpToolsProtocol):
    """One HTTP/1.1 connection. Subclasses say what has begun and what has come, and what errors look like."""

    def __init__(
        self,
        *uvicorn_arguments: Any,
        limits: HttpLimits,
        origins: Collection[str] = (),
        **uvicorn_options: Any,
    ) -> None:
        """`limits` of the connection; `origins`: whose pages may read what it answers; the rest as uvicorn has it."""
        super().__init__(*uvicorn_arguments, **uvicorn_options)
        self.on_lost: Callable[[], None] | None = None
        self._origins = origins
        self._limits = limits
        self._said_nothing = True
        # Whether a request has begun and not ended, and whether its headers have not ended either.
        self._incomplete = False
        self._in_head = False
        # Bytes of that request after its first read, without its body.
        self._later_bytes = 0
        self._read_bytes = 0
        self._chunks = 0
        # The answer to send before hanging up, which may be empty. While it is set, nothing more is read.
        self._last_words: bytes | None = None
        self._stalled_since = 0.0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        # How much the client had not read when it was last seen to read, while writing is paused.
        self._unread_bytes = 0
        self._unread_since = 0.0
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_more()
        self._check_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()
        for timer in (self._stall_timer, self._idle_timer, self._linger_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()

    # --- bytes ----------------------------------------------------------------------------------------------------

    def _check_head(self) -> None:
        """Refuse a request whose headers, which are complete, are too many, too long or ambiguous."""
        limits, headers = self._limits, self.headers
        # A head that came in one small read cannot be too large.
        if self._later_bytes or self._read_bytes > limits.max_head_bytes:
            size = len(self.url) + sum(map(len, chain.from_iterable(headers)))
            if size > limits.max_head_bytes:
                raise self._head_too_large()
        if len(headers) > limits.max_headers:
            raise RefusalError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the request has {len(headers)} headers; at most {limits.max_headers} are accepted",
            )
        _check_framing(headers, self.parser.get_http_version())

    def _head_too_large(self) -> RefusalError:
        return RefusalError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the request line and headers exceed {self._limits.max_head_bytes} bytes",
        )

    def on_chunk_header(self) -> None:
        """Also called for the empty chunk that ends a body."""
        self._chunks += 1
        if self._chunks > self._limits.max_chunks + 1:
            raise RefusalError(
                HTTPStatus.BAD_REQUEST,
                f"Chunked request body exceeds maximum of {self._limits.max_chunks} non-empty chunks. "
                "Send fewer or larger HTTP chunks.",
            )

    def _await_rest_of_request(self) -> None:
        """After a read that does not end the request."""
        limits = self._limits
        if self._later_bytes > limits.max_head_bytes + limits.chunk_overhead_bytes * self._chunks:
            # The parser buffers what is incomplete: an endless header, or a trailer.
            refusal = self._head_too_large()
            self.refuse(refusal.status, str(refusal))
        elif not self._in_head or self._later_bytes == 0:
            self._await_more()

    # --- time -----------------------------------------------------------------------------------------------------

    def _await_more(self) -> None:
        """From now on the client has `max_stall_s` for its next step."""
        self._stalled_since = self.loop.time()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._limits.max_stall_s, self._check_stall)

    def _check_stall(self) -> None:
        """Hang up if the client has let its time pass. One timer serves all requests: it is not set for each."""
        self._stall_timer = None
        if self._last_words is not None or not (self._incomplete or self._said_nothing):
            return
        if self.flow.read_paused:
            # The server has paused reading: the client is not to blame.
            self._stalled_since = self.loop.time()
        left_s = self._stalled_since + self._limits.max_stall_s - self.loop.time()
        if left_s > 0:
            self._stall_timer = self.loop.call_later(left_s, self._check_stall)
        elif self._said_nothing:
            self.transport.close()
        else:
            part = "head" if self._in_head else "body"
            message = f"the {part} of the request did not arrive within {self._limits.max_stall_s:g} s"
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, message)

    def _check_idle(self) -> None:
        """Close a connection that has had no request for the keep-alive time. One timer serves all requests, and not
        uvicorn's, which is set and cancelled for each.
        """
        now = self.loop.time()
        if not self._is_idle():
            self._idle_since = now
        left_s = self._idle_since + self.timeout_keep_alive - now
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._check_idle)
        else:
            self.transport.close()

    def _is_idle(self) -> bool:
        """Whether neither a request nor an answer is under way."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return not (self._said_nothing or self._incomplete or answering)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is made."""
        super().pause_writing()
        self._note_unread()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self._limits.max_stall_s, self._check_reader)

    def _note_unread(self) -> None:
        """The client has just read something: otherwise nothing would have been written."""
        self._unread_bytes = unread_bytes(self.transport)
        self._unread_since = self.loop.time()

    def _check_reader(self) -> None:
        """Hang up on a client that has read nothing for its time. One timer serves however many pauses there are: how
        much is unread in one of them says nothing of another.
        """
        self._unread_timer = None
        if not self.flow.write_paused or self.transport.is_closing():
            return
        if unread_bytes(self.transport) != self._unread_bytes:
            self._note_unread()
        left_s = self._unread_since + self._limits.max_stall_s - self.loop.time()
        if left_s > 0:
            self._unread_timer = self.loop.call_later(left_s, self._check_reader)
        else:
            self.transport.abort()

    # --- hanging up -----------------------------------------------------------------------------------------------

    def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer what cannot be read to its end when all requests before it have their answers, and hang up."""
        body = self._error_body(status, message)
        headers = {
            "connection": "close",
            "content-type": "application/json",
            "content-length": str(len(body)),
        }
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = str(RETRY_AFTER_S)
        origin = readable_by(self.headers or (), self._origins) if self._origins else None
        if origin is not None:
            headers |= {"access-control-allow-origin": origin, "vary": "Origin"}
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._last_words = b"".join(any_answer(status, fields, (body,)))
        if self._incomplete and not self._in_head and self._discard(self.cycle, status):
            # Its answer has begun: a second one would be read as the answer to the next request.
            self.transport.close()
        elif not self.cycle or self.cycle.response_complete or self.cycle.disconnected:
            self._hang_up(self._last_words)

    def _error_body(self, status: HTTPStatus, message: str) -> bytes:
        """The body of such an answer, in JSON."""
        raise NotImplementedError

    def _discard(self, cycle: RequestResponseCycle, status: HTTPStatus) -> bool:
        """Give up a request whose body is not complete, with that status. Returns whether its answer has begun."""
        raise NotImplementedError

    def _hang_up(self, last_words: bytes) -> None:
        if self.transport.is_closing():
            return
        if not last_words:
            self.transport.close()
            return
        self.transport.write(last_words)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            # TLS has no half-close: `close` waits for the client to close too.
            self.transport.close()
        self._linger_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def _check_framing(headers: Sequence[tuple[bytes, bytes]], version: str) -> None:
    """Refuse what RFC 9112 wants refused (sections 3.2 and 6.1): another server on the way may have taken it for
    another request.
    """
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):
        found = f"has {hosts} Host headers" if hosts else "has no Host header"
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"the request {found}: exactly one is required")
    if version == "1.0" and b"transfer-encoding" in names:
        raise RefusalError(
            HTTPStatus.BAD_REQUEST, "a request of HTTP/1.0 cannot have the header Transfer-Encoding"
        )
