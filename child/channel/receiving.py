"""The receiving half of a channel's end. Its owner sees to it that one thread uses it at a time."""

from __future__ import annotations

import socket

from . import fields
from .frames import SEGMENT, Frame, FrameReader
from .heads import Heads
from .incoming import Incoming
from .messages import ChannelClosed, Kind, Message, MessageError, ProtocolError
from .outbox import LeftOutbox
from .places import NOTICE, Notice
from .segments import Pool
from .sending import OWN_KIND
from .tending import Notices

_KINDS = {int(kind): kind for kind in Kind}


class Receiver:
    """Reads messages from a socket, tensors from shared memory, and does what the notices say."""

    def __init__(
        self, sock: socket.socket, pool: Pool, notices: Notices, outbox: LeftOutbox | None = None
    ) -> None:
        """`outbox`: where to find what the other side has not sent any more."""
        self._pool = pool
        self._outbox = outbox
        self._frames = FrameReader(sock)
        self._heads = Heads()
        self._incoming = Incoming(pool, notices)
        self.has_segments = False
        """Whether there is memory of the other side's to give back."""

    @property
    def has_next(self) -> bool:
        """Whether there is a message that need not be waited for."""
        return self._frames.has_next

    def next(self, deadline: float | None) -> Message | None:
        """The next message; None for one about memory alone. Raises TimeoutError at `deadline`, ChannelClosed,
        ProtocolError, and MessageError for one whose tensors this side cannot have.
        """
        frame = self._next_frame(deadline)
        # Those that are gone make room for those that are new.
        try:
            if frame.notices:
                self._take_notices(frame.notices)
        finally:
            if frame.segments:
                self.has_segments = True
                self._incoming.announce(list(SEGMENT.iter_unpack(frame.segments)), frame.descriptors)
        if frame.kind == OWN_KIND:
            return None
        return self._message(frame)

    def _next_frame(self, deadline: float | None) -> Frame:
        try:
            return self._frames.next(deadline)
        except ProtocolError:
            raise
        except ChannelClosed:
            # Only after all that was sent.
            outbox, self._outbox = self._outbox, None
            if outbox is None:
                raise
            self._frames.go_on_with(outbox.left())
            return self._frames.next(deadline)

    def _message(self, frame: Frame) -> Message:
        kind = _KINDS.get(frame.kind)
        if kind is None:
            raise ProtocolError(f"a message of the kind {frame.kind}, which there is not")
        message = Message(kind, frame.number, fields.decode(frame.fields) if frame.fields else {})
        if frame.head:
            head = self._heads.read(bytes(frame.head))
            try:
                message.groups = self._incoming.read(head, frame.places, frame.inline)
            except MessageError as error:
                error.kind, error.number, error.fields = kind, frame.number, message.fields
                raise
        elif frame.places or frame.inline:
            raise ProtocolError("data of tensors that are not described")
        return message

    def _take_notices(self, notices: memoryview) -> None:
        for notice, about in NOTICE.iter_unpack(notices):
            if notice == Notice.RELEASE:
                self._pool.release(about)
            elif notice == Notice.DROP:
                self._incoming.drop(about)
            elif notice == Notice.UNMAPPED:
                self._pool.unmapped(about)
            else:
                raise ProtocolError(f"a notice of the kind {notice}, which there is not")

    def close(self) -> None:
        """Let go of what has come and has not been taken."""
        self._frames.close()
        self._incoming.close()
