"""One call: the messages of its stream, its deadline, its status."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from kserve_v2.errors import (
    InvalidArgumentError,
    RequestCancelledError,
    ServingError,
    UnfinishedError,
)
from kserve_v2.http2.connection import Connection
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.fields import Field
from kserve_v2.http2.stream import STALLED_CHECKS, Stream
from kserve_v2.http2.stream_state import Bytes, State
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rpc.calls import Metadata, Parts, Serialized
from kserve_v2.rpc.status import StatusCode, retry_pushback, status_of
from kserve_v2.rpc.transport.deadlines import Deadlines
from kserve_v2.rpc.transport.decompressing import Decompressing, Holder
from kserve_v2.rpc.transport.head import RequestHead
from kserve_v2.rpc.transport.messages import (
    JOINED_BYTES,
    PREFIX,
    Compressed,
    MessageReader,
    framed,
    in_frames,
    too_large,
)
from kserve_v2.rpc.transport.metadata import OK_TRAILERS, trailers, trailers_only
from kserve_v2.scheduling.slices import Work, at_once


class Owner(Holder, Protocol):
    """What a call needs of its connection."""

    loop: asyncio.AbstractEventLoop
    connection: Connection[Any]
    deadlines: Deadlines


class Call(Stream):
    """A call of any kind; each kind is a subclass, which says what becomes of the messages. What is no call of an RPC
    has none, and is refused from the start.
    """

    # Class defaults, as in `Stream`: most calls never change them.
    _reader: MessageReader | None = None
    _decompressing: Decompressing | None = None
    _compressing: Work[Parts] | None = None
    _has_deadline = False
    _callbacks: list[Callable[[int, str], None]] | None = None
    _headers_sent = False
    _ended = False
    _receive_progress = True
    _receive_stalls = 0
    _held_bytes = 0

    def __init__(self, owner: Owner, stream_id: int, head: RequestHead) -> None:
        super().__init__(owner.connection.output, stream_id)
        self.owner = owner
        self.head = head

    # --- what a kind of call overrides ----------------------------------------------------------------------------

    def message_received(self, message: Serialized) -> None:
        """A message of the client. May raise ServingError."""
        raise NotImplementedError

    def half_closed(self) -> None:
        """The client has sent its last message. May raise ServingError."""
        raise NotImplementedError

    def only_message(self, message: Serialized) -> None:
        """A message after which no other one comes. May raise ServingError."""
        self.message_received(message)
        self.half_closed()

    def give_up(self) -> None:
        """Nobody waits for the answer any more: the client has left, or the call has got its status."""

    # --- what a kind of call does ---------------------------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        return self.head.metadata

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    def hold(self, size: int) -> None:
        """Count `size` bytes, in all, of messages that have been taken and wait."""
        if size != self._held_bytes:
            self.owner.buffer(size - self._held_bytes)
            self._held_bytes = size

    def answer(self, message: Parts) -> None:
        """Send the only message of the answer, and the status OK."""
        terms = self.head.terms
        size = sum(map(len, message))
        if size < JOINED_BYTES and not terms.answer_encoding:
            self._headers_sent = True
            body = (PREFIX.pack(0, size), *message)
            self.output.answer(self, terms.answer_headers, body, PREFIX.size + size, OK_TRAILERS)
            if self._has_deadline:
                self.owner.deadlines.remove(self)
            if self._reader is None and self._callbacks is None:
                # Nothing was started that would have to end.
                return
            self._end(StatusCode.OK, "")
            return
        slices = framed(message, terms.answer_encoding)
        if size < LARGE_BYTES or not terms.answer_encoding:
            self._answer_framed(at_once(slices))
        else:
            self._compressing = self.owner.slicer.begin(slices, self._answer_framed)

    def _answer_framed(self, message: Parts | Exception) -> None:
        self._compressing = None
        if isinstance(message, Exception):
            self.fail(message)
        else:
            self._send_framed(message)
            self.finish()

    async def send_message(self, message: Parts) -> None:
        """Send one message of several."""
        slices = framed(message, self.head.terms.answer_encoding)
        large = self.head.terms.answer_encoding and sum(map(len, message)) >= LARGE_BYTES
        self._send_framed(await self.owner.slicer.finish(slices) if large else at_once(slices))

    def _send_framed(self, message: Parts) -> None:
        if not self._headers_sent:
            self._headers_sent = True
            self.send_headers(self.head.terms.answer_headers)
        for part in in_frames(message):
            self.send_data(part)

    def finish(self) -> None:
        """Send the status OK."""
        if not self._headers_sent:
            self.send_headers(self.head.terms.answer_headers)
        self.send_headers(OK_TRAILERS, ends=True)
        self._end(StatusCode.OK, "")

    def fail(self, error: Exception) -> None:
        """Send the status of an error."""
        fields = [(name.encode(), value.encode()) for name, value in retry_pushback(error)]
        self.close(*status_of(error), *fields)

    def close(self, code: int, details: str, *more: Field) -> None:
        """Send a status that is not OK. What the client still sends is of no interest."""
        if self.state is State.CLOSED:
            return
        make = trailers if self._headers_sent else trailers_only
        self._close_with(make(code, details, *more))
        self._end(code, details)

    def _close_with(self, block: bytes) -> None:
        self.send_headers(block, ends=True)
        if self.state is State.HALF_CLOSED_LOCAL:
            self.reset(ErrorCode.NO_ERROR)

    def start_deadline(self) -> None:
        """The answer is not there yet: from now on the client's deadline counts."""
        timeout_s = self.head.timeout_s
        if timeout_s is not None and not self._has_deadline:
            self._has_deadline = True
            self.owner.deadlines.add(self, timeout_s)

    def deadline_passed(self) -> None:
        """See `deadlines.Call`."""
        self.give_up()
        self.output.forget(self)
        self.close(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _end(self, code: int, details: str) -> None:
        self._ended = True
        if self._has_deadline:
            self.owner.deadlines.remove(self)
        self.hold(0)
        if self._reader is not None:
            self._reader.give_up()
            self._reader = None
        if self._decompressing is not None:
            self._decompressing.close()
        if self._compressing is not None:
            self._compressing.give_up()
        if self._callbacks is not None:
            callbacks, self._callbacks = self._callbacks, None
            for callback in callbacks:
                callback(code, details)

    # --- the stream -----------------------------------------------------------------------------------------------

    def opened(self, ended: bool) -> None:
        if self.head.terms.refusal:
            self._close_with(self.head.terms.refusal)
        elif ended:
            self._half_close()

    def data_received(self, data: Bytes, ended: bool) -> None:
        size = len(data)
        self._receive_progress = True
        if self._ended or self.state is State.CLOSED:
            # The call has its status already; late data is ignored.
            return
        try:
            if self._reader is None and PREFIX.size <= size < LARGE_BYTES:
                flag, length = PREFIX.unpack_from(data)
                if not flag and length == size - PREFIX.size:
                    # The usual case: one small message in one frame.
                    if length > self.owner.options.max_request_bytes:
                        raise too_large(length, self.owner.options.max_request_bytes)
                    message = bytes(data[PREFIX.size :])
                    if ended:
                        self.only_message(message)
                    else:
                        self.message_received(message)
                        self.consumed(size)
                    return
        except ServingError as error:
            self._refuse(error)
            return
        # Anything else: parts of messages, several, or large ones.
        if self._reader is None:
            self._reader = MessageReader(self.owner.options.max_request_bytes, self.owner.buffer)
        self._read(self._reader.feed(data), size, ended)

    def place(self) -> memoryview | None:
        return None if self._reader is None else self._reader.place()

    def data_placed(self, size: int, ended: bool) -> None:
        self._receive_progress = True
        # Otherwise the call has its status already.
        if self.state is not State.CLOSED and self._reader is not None:
            self._read(self._reader.placed(size), size, ended)

    def _read(self, messages: Iterator[Serialized | Compressed], size: int, ended: bool) -> None:
        """Take what the reader makes of data of `size` bytes."""
        try:
            for message in messages:
                self._arrived(message)
            self.owner.check_buffered()
        except ServingError as error:
            self._refuse(error)
            return
        if self._decompressing is not None and self._decompressing.busy:
            # The client may send no more than a window until the message is there.
            self._decompressing.unread_bytes += size
            self._decompressing.ended |= ended
            self.start_deadline()
        else:
            self._go_on(size, ended)

    def _go_on(self, size: int, ended: bool) -> None:
        """All messages have been taken; `size`: of what they came in."""
        self.consumed(size)
        if ended:
            self._half_close()
        else:
            self.start_deadline()

    def _arrived(self, message: Serialized | Compressed) -> None:
        """Take a message, as soon as all that came before it have been taken. Raises ServingError."""
        if self._decompressing is None:
            if not isinstance(message, Compressed):
                self.message_received(message)
                return
            encoding = self.head.terms.encoding
            self._decompressing = Decompressing(
                self.owner, encoding, self.message_received, self._decompressed
            )
        self._decompressing.add(message)

    def _decompressed(self, error: Exception | None) -> None:
        messages = self._decompressing
        assert messages is not None  # noqa: S101 - it calls this
        if error is not None:
            self._refuse(error)
        elif not self._ended:
            size, messages.unread_bytes = messages.unread_bytes, 0
            self._go_on(size, messages.ended)

    def _half_close(self) -> None:
        try:
            if self._reader is not None and self._reader.partial:
                raise InvalidArgumentError("the last message is cut off")
            self.half_closed()
        except ServingError as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        """The call has broken a rule."""
        self.give_up()
        self.fail(error)

    def abandon(self) -> None:
        """The server exits, or the connection has reached its maximum age: fail what is still in flight."""
        self.output.forget(self)
        self._refuse(UnfinishedError("Server exiting: the request was not finished in time"))

    def lost(self) -> None:
        self.give_up()
        self._end(StatusCode.CANCELLED, "the client left")

    def drained(self) -> None:
        """Calls with one answer do not wait for this."""

    def check(self) -> bool:
        """A message that has begun has to go on, too."""
        if self._receive_progress or self._reader is None or not self._reader.partial:
            self._receive_progress = False
            self._receive_stalls = 0
        else:
            self._receive_stalls += 1
            if self._receive_stalls >= STALLED_CHECKS:
                self._refuse(RequestCancelledError("the rest of a message did not arrive in time"))
                return True
        return super().check()
