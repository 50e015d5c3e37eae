"""The sending half of a channel's end. Its owner sees to it that one thread uses it at a time."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence

from . import frames
from .heads import Head, Heads
from .messages import Array, ChannelClosed, MessageError
from .outbox import MOST_BYTES, Outbox
from .outgoing import Outgoing
from .segments import Pool, Segment
from .tending import Notices

OWN_KIND = 0
"""Of messages about memory alone."""

# Of fields, the description of tensors and their places, together.
MAX_BYTES = frames.MAX_FRAME - 64 * 1024

# With these, and before the first byte, a message fails, and not the channel.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}


class BrokenOffError(Exception):
    """Half a message has been sent: no other can follow."""


class Sender:
    """Writes messages to a socket, tensors to shared memory, and takes the notices along."""

    def __init__(
        self, sock: socket.socket, pool: Pool, notices: Notices, outbox: Outbox | None = None
    ) -> None:
        """`outbox`: what is to be sent later is there meanwhile."""
        self._sock = sock
        self._pool = pool
        self._notices = notices
        self._outbox = outbox
        self._heads = Heads()
        # Whole frames that are to be sent later, or the rest of one of which `flush` has sent a part.
        self._unsent = b""

    def head(self, groups: Sequence[Mapping[str, Array]]) -> Head:
        """What these tensors are; any thread. Raises MessageError."""
        return self._heads.of(groups)

    def send(
        self,
        kind: int,
        number: int,
        fields: bytes,
        head: Head | None,
        groups: Sequence[Mapping[str, Array]],
        *,
        give: bool,
        later: bool = False,
    ) -> bool:
        """Send a message. `give`, `later`: see `Channel.send`. Returns whether it uses shared memory.

        Raises MessageError and ChannelClosed: nothing has been sent; BrokenOffError: too much has.
        """
        if head is None:
            self._write(kind, number, fields, later=later)
        elif head.inline and (packed := head.pack(groups)) is not None:
            self._write(kind, number, fields, head.encoded, *packed, later=later)
        else:
            return self._send_placed(kind, number, fields, head, groups, give=give, later=later)
        return False

    def _send_placed(
        self,
        kind: int,
        number: int,
        fields: bytes,
        head: Head,
        groups: Sequence[Mapping[str, Array]],
        *,
        give: bool,
        later: bool,
    ) -> bool:
        """Send tensors of which each may be large: those of texts are seen only when they are packed."""
        outgoing = Outgoing(head, groups, self._pool, self._notices if give else None)
        try:
            segments = outgoing.announcements()
            later = later and not outgoing.uses_memory
            parts = head.encoded, outgoing.places, outgoing.inline
            self._write(kind, number, fields, *parts, segments, later=later)
        except BaseException:
            outgoing.undo()
            raise
        outgoing.commit()
        return outgoing.uses_memory

    def _write(
        self,
        kind: int,
        number: int,
        fields: bytes,
        head: bytes = b"",
        places: bytes = b"",
        inline: bytes = b"",
        segments: Sequence[Segment] = (),
        *,
        later: bool = False,
    ) -> None:
        size = len(fields) + len(head) + len(places)
        if size > MAX_BYTES:
            raise MessageError(f"a message has {size} bytes beside its tensors, more than {MAX_BYTES}")
        announced = [frames.SEGMENT.pack(each.number, each.size) for each in segments] if segments else ()
        descriptors = [each.descriptor for each in segments] if segments else ()
        notices = self._notices.take(frames.MAX_NOTICES) if self._notices.waiting else ()
        frame = frames.pack(kind, number, notices, announced, fields, head, places, inline)
        data = self._unsent + frame if self._unsent else frame
        if later and self._may_wait(frame, data, notices):
            self._unsent = data
            return
        try:
            sent = frames.start(self._sock, data, descriptors)
        except OSError as error:
            self._notices.put_back(notices)
            if error.errno in _SHORTAGES:
                raise MessageError(f"a message could not be sent: {error.strerror}") from error
            raise ChannelClosed(f"the other side is gone: {error.strerror}") from error
        self._unsent = b""
        for segment in segments:
            segment.announced = True
        if sent < len(data):
            try:
                frames.finish(self._sock, data, sent)
            except BaseException as error:
                raise BrokenOffError from error
        if self._outbox is not None:
            self._outbox.clear()

    def _may_wait(self, frame: bytes, data: bytes, notices: Sequence[bytes]) -> bool:
        """Whether a frame waits for the next; `data`: with those before it."""
        if self._outbox is None:
            return len(data) <= MOST_BYTES
        # Whoever is left an outbox may find in it what was sent as well, and notices count each time.
        return not notices and not self._outbox.is_due and self._outbox.append(frame)

    def send_kept(self) -> None:
        """Send what was to be sent later, all of it. Raises OSError."""
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            frames.finish(self._sock, unsent, 0)
            if self._outbox is not None:
                self._outbox.clear()

    def flush(self) -> None:
        """Tell the other side what there is to tell, as far as that is possible without waiting."""
        while self._notices.waiting or self._unsent:
            notices = self._notices.take(frames.MAX_NOTICES)
            data = self._unsent + (frames.pack(OWN_KIND, 0, notices) if notices else b"")
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
            if self._outbox is not None:
                self._outbox.clear()

    @property
    def is_behind(self) -> bool:
        """Whether `flush` could not do all of it."""
        return bool(self._unsent or self._notices.waiting)
