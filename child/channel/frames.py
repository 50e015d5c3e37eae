"""Messages as bytes on a stream socket, with the descriptors that some of them bring.

A frame is a header, notices about memory, the segments whose descriptors come along, the fields as JSON, the head that
describes the tensors, where their data is, and the data that travels inline.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from .messages import ChannelClosed, ProtocolError
from .places import NOTICE
from .segments import MAX_SEGMENTS

# Bytes behind the header, kind, segments, notices, number, bytes of fields, of the head, and of the places of data.
HEADER = struct.Struct("<IBBHQIII")
SEGMENT = struct.Struct("<QQ")

MAX_NOTICES = 1024
# Fields are for people and parameters; tensors that do not fit travel in blocks.
MAX_FRAME = 64 << 20

_BUFFER = 64 * 1024
_DESCRIPTOR_BYTES = socket.CMSG_SPACE(MAX_SEGMENTS * array.array("i").itemsize)
_CLOSE_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_NO_SIGNAL: int = getattr(socket, "MSG_NOSIGNAL", 0)
# Enumerations compute slowly.
_CLOSE_ON_EXEC, _NO_SIGNAL, _TRUNCATED = int(_CLOSE_ON_EXEC), int(_NO_SIGNAL), int(socket.MSG_CTRUNC)
_AT_ONCE = int(socket.MSG_DONTWAIT)


class Frame(NamedTuple):
    """A message as it came. The parts are valid until the next one is read. `descriptors`: those of `segments`, which
    are the taker's to close; None where the system could not hand them over.
    """

    kind: int
    number: int
    notices: memoryview
    segments: memoryview
    descriptors: list[int] | None
    fields: memoryview
    head: memoryview
    places: memoryview
    inline: memoryview


def pack(
    kind: int,
    number: int,
    notices: Sequence[bytes] = (),
    segments: Sequence[bytes] = (),
    fields: bytes = b"",
    head: bytes = b"",
    places: bytes = b"",
    inline: bytes = b"",
) -> bytes:
    """A frame."""
    body = b"".join((*notices, *segments, fields, head, places, inline))
    counts = (len(segments), len(notices), number, len(fields), len(head), len(places))
    return HEADER.pack(len(body), kind, *counts) + body


def start(sock: socket.socket, data: bytes, descriptors: Sequence[int] = (), *, wait: bool = True) -> int:
    """Send what can be sent at once, at least one byte and the descriptors. Returns the number of bytes. Raises
    OSError: nothing has been sent then.
    """
    flags = _NO_SIGNAL if wait else _NO_SIGNAL | socket.MSG_DONTWAIT
    while True:
        try:
            if not descriptors:
                return sock.send(data, flags)
            return sock.sendmsg(
                [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))], flags
            )
        except BlockingIOError:  # noqa: PERF203 - it is rare
            if not wait:
                raise
            await_room(sock)


def await_room(sock: socket.socket) -> None:
    """Wait until more can be sent. An event loop that has watched a socket may have left it not to block by itself."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    poll.poll()


def finish(sock: socket.socket, data: bytes, sent: int) -> None:
    """Send the rest. Raises OSError."""
    while sent < len(data):
        try:
            sent += sock.send(memoryview(data)[sent:], _NO_SIGNAL)
        except BlockingIOError:  # noqa: PERF203 - it is rare
            await_room(sock)


class FrameReader:
    """Reads frames from a socket, one thread at a time. What has come of one that is not complete stays for later."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        # Of each message that brought descriptors: what came, and whether that was all. None has been taken yet.
        self._descriptors: deque[tuple[list[int], bool]] = deque()

    def next(self, deadline: float | None = None) -> Frame:
        """The next frame. Raises TimeoutError when it has not come by `deadline` of the monotonic clock, ChannelClosed,
        ProtocolError.
        """
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > _BUFFER:
                self._replace(_BUFFER)
        if self._end - self._start < HEADER.size:
            self._need(HEADER.size, deadline)
        header = HEADER.unpack_from(self._buffer, self._start)
        size, kind, segments, notices, number, fields, head, places = header
        notices *= NOTICE.size
        inline = size - notices - segments * SEGMENT.size - fields - head - places
        if size > MAX_FRAME or inline < 0 or segments > MAX_SEGMENTS or notices > MAX_NOTICES * NOTICE.size:
            raise ProtocolError(f"a message with an impossible header: {header}")
        if self._end - self._start < HEADER.size + size:
            self._need(HEADER.size + size, deadline)
        # Where each part begins, and the last one ends.
        first = self._start + HEADER.size
        second = first + notices
        third = second + segments * SEGMENT.size
        fourth = third + fields
        fifth = fourth + head
        sixth = fifth + places
        self._start = end = first + size
        view = self._view
        return Frame(
            kind,
            number,
            view[first:second],
            view[second:third],
            self._take(segments) if segments else [],
            view[third:fourth],
            view[fourth:fifth],
            view[fifth:sixth],
            view[sixth:end],
        )

    @property
    def has_next(self) -> bool:
        """Whether the next frame has been read already, all of it, and is not about memory alone."""
        come = self._end - self._start - HEADER.size
        if come < 0:
            return False
        size, kind, *_ = HEADER.unpack_from(self._buffer, self._start)
        return bool(kind) and come >= size

    def go_on_with(self, data: bytes) -> None:
        """Read this in place of what has come and has not been taken."""
        self._buffer = bytearray(data)
        self._view = memoryview(self._buffer)
        self._start, self._end = 0, len(data)

    def _take(self, segments: int) -> list[int] | None:
        if not self._descriptors:
            raise ProtocolError(f"a message announces {segments} segments and brings none")
        descriptors, complete = self._descriptors.popleft()
        if complete and len(descriptors) == segments:
            return descriptors
        _close(descriptors)
        if complete:
            raise ProtocolError(f"a message announces {segments} segments and brings {len(descriptors)}")
        return None

    def _need(self, size: int, deadline: float | None) -> None:
        how = _CLOSE_ON_EXEC if deadline is None else _CLOSE_ON_EXEC | _AT_ONCE
        while self._end - self._start < size:
            if self._start + size > len(self._buffer):
                self._replace(max(size, _BUFFER))
            try:
                count, ancillary, flags, _ = self._sock.recvmsg_into(
                    [self._view[self._end :]], _DESCRIPTOR_BYTES, how
                )
            except BlockingIOError:
                # Where it may wait for ever, see `await_room`.
                left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
                if not self._poll.poll(left_ms):
                    raise TimeoutError("no message in time") from None
                continue
            except (OSError, ValueError) as error:
                raise ChannelClosed("the channel is closed") from error
            if ancillary or flags & _TRUNCATED:
                self._keep(ancillary, complete=not flags & _TRUNCATED)
            if not count:
                raise ChannelClosed("the other side is gone")
            self._end += count

    def _replace(self, size: int) -> None:
        """Have another buffer, for what has been read so far and what is to come."""
        rest = bytes(self._view[self._start : self._end])
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _keep(self, ancillary: Sequence[tuple[int, int, bytes]], *, complete: bool) -> None:
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not _CLOSE_ON_EXEC:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
        self._descriptors.append((list(descriptors), complete))
        # They come with the first byte of a frame, and one read ends where they do: there is the frame that is being
        # completed, and at most one behind it.
        if len(self._descriptors) > 2:
            raise ProtocolError("descriptors that no message announces")

    def close(self) -> None:
        """Close the descriptors that nobody has taken."""
        while self._descriptors:
            _close(self._descriptors.popleft()[0])


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
