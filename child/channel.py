"""One end of the channel between the server and a model's process: whole messages over a stream socket, and their
tensors, if they are not small, in shared memory.

A send blocks while the other side does not read. So two sides must not both send a lot at the same time and only then
read: either they take turns, as a request and its reply do, or each of them has a thread that reads all the time and
never waits for a send.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from . import frames
from .fields import decode, encode
from .heads import Head, Heads
from .incoming import Incoming
from .memory import CreateMemory, create
from .messages import Array, ChannelClosed, Kind, Message, MessageError, ProtocolError
from .outgoing import Outgoing
from .places import NOTICE, Notice
from .segments import Pool, Segment
from .tending import TENDER, Notices, Tender

# Memory that has not been used for so long is given back to the system.
IDLE_S = 5.0
# Of fields, the description of tensors and their places, together.
MAX_BYTES = frames.MAX_FRAME - 64 * 1024

_OWN_KIND = 0
_KINDS = {int(kind): kind for kind in Kind}
# With these, and before the first byte, a message fails, and not the channel.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}


class Channel:
    """Sends from any thread; one thread receives at a time."""

    @classmethod
    def pair(cls) -> tuple[socket.socket, socket.socket]:
        """The two ends of a new channel, neither of them inherited by a process unless it is told to."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def __init__(
        self, sock: socket.socket, *, create_memory: CreateMemory = create, tender: Tender | None = TENDER
    ) -> None:
        """Takes the socket. `tender` calls `tend`; None: somebody else does."""
        sock.setblocking(True)
        self._sock = sock
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._closed = False
        self._tender = tender
        self._watched = False
        self._heads = Heads()
        self._pool = Pool(create_memory)
        self._notices = Notices(TENDER if tender is None else tender)
        self._incoming = Incoming(self._pool, self._notices)
        self._frames = frames.FrameReader(sock)
        # What `tend` has sent of a frame was not all of it.
        self._unsent = b""
        # Who listens on the descriptor is to read the next message.
        self._expected = False
        # What `tend` has found.
        self._found: deque[Message | MessageError | ChannelClosed] = deque()

    def send(
        self,
        kind: Kind,
        number: int = 0,
        fields: Mapping[str, Any] | None = None,
        groups: Sequence[Mapping[str, Array]] = (),
        *,
        give: bool = False,
    ) -> None:
        """Send a message, all of it. Blocks while the other side does not read.

        `give`: the arrays are not looked at any more after this, and nobody else has the mappings. Then an array that
        was received, large, unchanged in place and held by nobody else, goes back as it is; it is copied otherwise.

        Raises ChannelClosed, and MessageError for what cannot be sent: nothing has been sent then.
        """
        encoded = encode(fields) if fields else b""
        head = self._heads.of(groups) if groups else None
        self._sending.acquire()
        try:
            if head is None or head.inline:
                described, inline = (b"", b"") if head is None else (head.encoded, head.pack(groups))
                self._write(kind, number, encoded, described, b"", inline)
            else:
                self._write_large(kind, number, encoded, head, groups, give=give)
        finally:
            self._sending.release()
            if self._closed:
                self._dispose()

    def _write_large(
        self,
        kind: int,
        number: int,
        fields: bytes,
        head: Head,
        groups: Sequence[Mapping[str, Array]],
        *,
        give: bool,
    ) -> None:
        outgoing = Outgoing(head, groups, self._pool, self._notices if give else None)
        try:
            segments = outgoing.announcements()
            self._write(kind, number, fields, head.encoded, outgoing.places, outgoing.inline, segments)
        except BaseException:
            outgoing.undo()
            raise
        outgoing.commit()
        if len(self._pool):
            self._watch()

    def _write(
        self,
        kind: int,
        number: int,
        fields: bytes,
        head: bytes,
        places: bytes,
        inline: bytes,
        segments: Sequence[Segment] = (),
    ) -> None:
        if self._closed:
            raise ChannelClosed("this side has closed the channel")
        size = len(fields) + len(head) + len(places)
        if size > MAX_BYTES:
            raise MessageError(f"a message has {size} bytes beside its tensors, more than {MAX_BYTES}")
        announced = [frames.SEGMENT.pack(segment.number, segment.size) for segment in segments]
        notices = self._notices.take(frames.MAX_NOTICES) if self._notices else []
        data = self._unsent + frames.pack(kind, number, notices, announced, fields, head, places, inline)
        try:
            sent = frames.start(self._sock, data, [segment.descriptor for segment in segments])
        except OSError as error:
            self._notices.put_back(notices)
            if error.errno in _SHORTAGES:
                raise MessageError(f"a message could not be sent: {error}") from error
            raise ChannelClosed(f"the other side is gone: {error}") from error
        self._unsent = b""
        for segment in segments:
            segment.announced = True
        try:
            frames.finish(self._sock, data, sent)
        except BaseException as error:
            # Half a message has been sent, and no other can follow.
            self.close()
            if isinstance(error, OSError):
                raise ChannelClosed(f"the other side is gone: {error}") from error
            raise

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. Raises TimeoutError when none has come in `timeout` seconds, ChannelClosed, ProtocolError,
        and MessageError for one whose tensors this side cannot have.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._receiving.acquire()
        try:
            self._expected = False
            if self._found:
                found = self._found.popleft()
                if isinstance(found, Message):
                    return found
                raise found
            while True:
                message = self._next(deadline)
                if message is not None:
                    return message
        finally:
            self._receiving.release()
            if self._closed:
                self._dispose()

    def expect(self) -> None:
        """Call this before a message is sent whose reply is awaited by listening on `fileno`: what comes next is left
        on the socket until somebody receives it.
        """
        with self._receiving:
            self._expected = True

    def _next(self, deadline: float | None) -> Message | None:
        """None: a message about memory alone."""
        if self._closed:
            raise ChannelClosed("this side has closed the channel")
        try:
            return self._take(self._frames.next(deadline))
        except ProtocolError:
            self.close()
            raise

    def _take(self, frame: frames.Frame) -> Message | None:
        if frame.segments:
            self._incoming.announce(list(frames.SEGMENT.iter_unpack(frame.segments)), frame.descriptors)
            self._watch()
        if frame.notices:
            for notice, about in NOTICE.iter_unpack(frame.notices):
                self._take_notice(notice, about)
        if frame.kind == _OWN_KIND:
            return None
        kind = _KINDS.get(frame.kind)
        if kind is None:
            raise ProtocolError(f"a message of the kind {frame.kind}, which there is not")
        fields = decode(frame.fields) if frame.fields else {}
        if not frame.head:
            if frame.places or frame.inline:
                raise ProtocolError("data of tensors that are not described")
            return Message(kind, frame.number, fields, [])
        try:
            head = self._heads.read(bytes(frame.head))
            return Message(kind, frame.number, fields, self._incoming.read(head, frame.places, frame.inline))
        except MessageError as error:
            error.kind, error.number, error.fields = kind, frame.number, fields
            raise

    def _take_notice(self, notice: int, about: int) -> None:
        if notice == Notice.RELEASE:
            self._pool.release(about)
        elif notice == Notice.DROP:
            self._incoming.drop(about)
        elif notice == Notice.UNMAPPED:
            self._pool.unmapped(about)
        else:
            raise ProtocolError(f"a notice of the kind {notice}, which there is not")

    def _watch(self) -> None:
        if self._tender is None:
            return
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
                self._flush()
            finally:
                self._sending.release()
        if self._closed:
            self._dispose()
            return False
        return bool(self._notices) or bool(self._unsent) or len(self._pool) > 0

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

    def _flush(self) -> None:
        while (self._notices or self._unsent) and not self._closed:
            notices = self._notices.take(frames.MAX_NOTICES)
            data = self._unsent + (frames.pack(_OWN_KIND, 0, notices) if notices else b"")
            try:
                sent = frames.start(self._sock, data, wait=False)
            except BlockingIOError:
                self._notices.put_back(notices)
                return
            except OSError:
                return  # who receives will be told
            self._unsent = data[sent:]
            if self._unsent:
                return

    def fileno(self) -> int:
        """The socket's descriptor. Something may have been read from it already: only `receive(0)` knows."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end; wakes whoever is blocked in `receive` or `send`, with ChannelClosed. Arrays stay valid."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._dispose()

    def _dispose(self) -> None:
        """Close the descriptors as soon as nobody uses them: whoever does comes here after that."""
        if not self._sending.acquire(False):
            return
        try:
            if not self._receiving.acquire(False):
                return
            try:
                self._frames.close()
                self._incoming.close()
                self._pool.close()
                self._sock.close()
            finally:
                self._receiving.release()
        finally:
            self._sending.release()
