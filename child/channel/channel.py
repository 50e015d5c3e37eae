"""One end of the channel between the server and a model's process: whole messages over a stream socket, and their
tensors, if they are not small, in shared memory.

A send blocks while the other side does not read. So two sides must not both send a lot at the same time and only then
read: either they take turns, as a request and its reply do, or each of them has a thread that reads all the time and
never waits for a send.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

from . import fields as json_fields
from .memory import CreateMemory, create
from .messages import Array, ChannelClosed, Kind, Message, MessageError, ProtocolError
from .outbox import LeftOutbox, Outbox
from .places import Notice
from .receiving import Receiver
from .segments import Pool
from .sending import BrokenOffError, Sender
from .tending import TENDER, Notices, Tender

# Memory that has not been used for so long is given back to the system.
IDLE_S = 5.0

_CHANNELS: WeakSet[Channel] = WeakSet()


class Channel:
    """Sends from any thread; one thread receives at a time."""

    @classmethod
    def pair(cls) -> tuple[socket.socket, socket.socket]:
        """The two ends of a new channel, neither of them inherited by a process unless it is told to."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def __init__(
        self,
        sock: socket.socket,
        *,
        create_memory: CreateMemory = create,
        tender: Tender | None = TENDER,
        keep_in: Outbox | None = None,
        left_in: LeftOutbox | None = None,
    ) -> None:
        """Takes the socket and the outboxes. `tender` calls `tend`; None: somebody else does. `keep_in`: messages that
        are to be sent later wait there, if not for long; the other side has it as `left_in`, from which it receives
        them when this side is gone.
        """
        sock.setblocking(True)
        self._sock = sock
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._closed = False
        self._tender = tender
        self._watched = False
        self._pool = Pool(create_memory)
        self._notices = Notices(TENDER if tender is None else tender)
        self._sender = Sender(sock, self._pool, self._notices, keep_in)
        self._receiver = Receiver(sock, self._pool, self._notices, left_in)
        self._keeps = keep_in is not None
        self._left_in = left_in
        # Who listens on the descriptor is to read the next message.
        self._expected = 0
        # What `tend` has found.
        self._found: deque[Message | MessageError | ChannelClosed] = deque()
        _CHANNELS.add(self)

    def send(
        self,
        kind: Kind,
        number: int = 0,
        fields: Mapping[str, Any] | None = None,
        groups: Sequence[Mapping[str, Array]] = (),
        *,
        give: bool = False,
        later: bool = False,
    ) -> None:
        """Send a message, all of it. Blocks while the other side does not read.

        `later`: a small one may wait for `flush`, or the next message: the other side is woken once for several.

        `give`: the arrays are not looked at any more after this, and nobody else has the mappings. Then an array that
        was received here, is large, and is held by nobody else goes back in the memory that it came in; it is copied
        otherwise.

        Raises ChannelClosed, and MessageError for what cannot be sent: nothing has been sent then.
        """
        encoded = json_fields.encode(fields) if fields else b""
        head = self._sender.head(groups) if groups else None
        self._sending.acquire()
        try:
            if self._closed:
                raise ChannelClosed("this side has closed the channel")
            uses_memory = self._sender.send(kind, number, encoded, head, groups, give=give, later=later)
            if uses_memory or (later and self._keeps):
                # Of which the latter sees to it that nothing waits for long, whatever happens to who was to send more.
                self._watch()
        except BrokenOffError as error:
            self.close()
            cause = error.__cause__
            if isinstance(cause, Exception):
                raise ChannelClosed(f"the other side is gone: {cause}") from cause
            raise cause or error from None  # an interrupt
        finally:
            self._sending.release()
            if self._closed:
                self._dispose()

    def flush(self) -> None:
        """Send what was to be sent later. Blocks, and raises ChannelClosed, as `send`."""
        with self._sending:
            try:
                self._sender.send_kept()
            except OSError as error:
                # Nothing more can follow; but what it has sent before it went is still to be received.
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_WR)
                raise ChannelClosed(f"the other side is gone: {error.strerror}") from error

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. Raises TimeoutError when none has come in `timeout` seconds, ChannelClosed, ProtocolError,
        and MessageError for one whose tensors this side cannot have.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._receiving.acquire()
        try:
            if self._found:
                found = self._found.popleft()
                if isinstance(found, Message):
                    return found
                raise found
            while True:
                message = self._next(deadline)
                if message is not None:
                    self._expected = max(self._expected - 1, 0)
                    return message
        finally:
            self._receiving.release()
            if self._closed:
                self._dispose()

    @property
    def has_next(self) -> bool:
        """Whether there is a message that `receive` need not wait for. Of the thread that receives."""
        return bool(self._found) or self._receiver.has_next

    def expect(self) -> None:
        """Call this before a message is sent whose reply is awaited by listening on `fileno`: as many messages as this
        was called for are left on the socket until somebody receives them. Until then `receive(0)` may find nothing but
        notices, and time out.
        """
        with self._receiving:
            self._expected += 1

    def _next(self, deadline: float | None) -> Message | None:
        if self._closed:
            raise ChannelClosed("this side has closed the channel")
        try:
            message = self._receiver.next(deadline)
        except ProtocolError:
            self.close()
            raise
        if self._receiver.has_segments and not self._watched:
            self._watch()
        return message

    def _watch(self) -> None:
        if self._tender is not None:
            if not self._watched:
                self._watched = True
                self._tender.watch(self)
            self._tender.wake()

    def tend(self, now: float) -> bool:
        """Tell the other side what it gets back, take what it gives back, and give idle memory back to the system, as
        of `now` on the monotonic clock. Never waits. Whether there will be more to do.
        """
        if self._receiving.acquire(False):
            try:
                self._look()
            finally:
                self._receiving.release()
        if self._sending.acquire(False):
            try:
                for segment in self._pool.drop_idle(now, IDLE_S):
                    self._notices.append(Notice.DROP.about(segment.number))
                if not self._closed:
                    self._sender.flush()
            finally:
                self._sending.release()
        if self._closed:
            self._dispose()
            return False
        return self._sender.is_behind or len(self._pool) > 0

    def _look(self) -> None:
        """Read what has come, up to a message."""
        while not self._found and not self._closed and not self._expected:
            try:
                message = self._next(0.0)
            except TimeoutError:
                return
            except (MessageError, ChannelClosed) as error:
                self._found.append(error)
                return
            if message is not None:
                self._found.append(message)

    def fileno(self) -> int:
        """The socket's descriptor. Something may have been read from it already: only `receive(0)` knows."""
        return self._sock.fileno()

    def hang_up(self) -> None:
        """The other side is gone, though somebody may still have its end: wakes whoever waits for it, by `receive` or
        by listening on the descriptor, which stays open.
        """
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end; wakes whoever is blocked in `receive` or `send`, with ChannelClosed. Arrays stay valid."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._dispose()

    def _dispose(self) -> None:
        """Close the descriptors as soon as nobody uses them: whoever does comes here after that."""
        while self._sending.acquire(False):
            try:
                if self._receiving.acquire(False):
                    try:
                        self._receiver.close()
                        self._pool.close()
                        self._sock.close()
                        if self._left_in is not None:
                            self._left_in.close()
                    finally:
                        self._receiving.release()
                    return
            finally:
                self._sending.release()
            if self._receiving.locked():
                return
            # Who has received came here in vain meanwhile.

    def _leave(self) -> None:
        """This is a copy of the process that has the channel: it can neither speak for that nor keep it open."""
        self._closed = True
        self._sending, self._receiving = threading.Lock(), threading.Lock()
        self._sock.close()
        if self._left_in is not None:
            self._left_in.close()
        self._pool.leave()


def _leave_all() -> None:
    for channel in list(_CHANNELS):
        channel._leave()


# A handler may fork, and must not answer twice then. Other threads may have held locks at that moment.
os.register_at_fork(after_in_child=_leave_all)
