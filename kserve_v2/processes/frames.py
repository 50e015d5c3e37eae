"""Frames between two processes: bytes to frames and back, without I/O.

A frame is a head and a payload. A payload that is large comes in pieces, between which other frames may stand; the
reader puts it together where it is used, and hands it on as one. Both ends are ours, and of one version.
"""

import struct
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from kserve_v2.tensors.raw import aligned_memory

Payload = bytes | memoryview
"""What comes; a large one is a view."""

Parts = Sequence[bytes | memoryview]
"""What is sent, in pieces, so that large ones need not be copied together."""

PIECE_BYTES = 128 * 1024
"""The most that goes in one frame."""

JOIN_BYTES = 16 * 1024
"""Up to this size, what is sent is copied into one piece."""

HEAD = struct.Struct("<IIBB")
"""Length of the payload, number of the exchange, step and kind."""

# How large the payload is that follows in pieces, which of its bytes is to be aligned, and the frame that it is.
_LARGE = struct.Struct("<QQBB")

_READ_BYTES = 2 * PIECE_BYTES


class Step(IntEnum):
    """What a frame does in its exchange."""

    ASK = 1
    ANSWER = 2
    FAIL = 3
    CANCEL = 4
    MESSAGE = 5
    END = 6
    CREDIT = 7
    NOTE = 8
    LARGE = 9
    PIECE = 10


# Members of an enumeration are slower to find, and to compare.
_PIECE, _LARGE_STEP = int(Step.PIECE), int(Step.LARGE)


class _Incoming:
    """A large payload on its way. It is not `wanted` if there is no room for it."""

    __slots__ = ("kind", "missing", "step", "wanted", "whole")

    def __init__(self, size: int, aligned_at: int, step: int, kind: int) -> None:
        self.whole = aligned_memory(size, aligned_at=aligned_at)
        self.missing = self.whole
        self.step = step
        self.kind = kind
        self.wanted = True


class Owner(Protocol):
    """Who is told what a reader finds. None of this raises."""

    def take(self, step: int, kind: int, number: int, payload: Payload) -> None:
        """A frame is there."""
        ...

    def large_begins(self, step: int, number: int, size: int) -> bool:
        """A payload of `size` bytes begins. Returns whether it is wanted."""
        ...

    def large_ends(self, size: int) -> None:
        """One that was wanted is there, and is handed over next; or the rest of it does not come."""
        ...


class FrameReader:
    """Says where the next bytes are to be read to, and finds frames in them."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        # How much of the buffer is filled. A frame begins where it does.
        self._filled = 0
        self._incoming: dict[int, _Incoming] = {}
        # While a piece is read to its place: its number, and how much of it is missing.
        self._number = 0
        self._piece_bytes = 0

    def place(self) -> memoryview:
        """Where the next bytes belong."""
        if self._piece_bytes:
            return self._incoming[self._number].missing[: self._piece_bytes]
        return self._view[self._filled :]

    def filled(self, size: int) -> None:
        """So many bytes have been read to `place`."""
        if self._piece_bytes:
            self._piece_bytes -= size
            self._advance(self._number, size)
            return
        start, end = 0, self._filled + size
        buffer, view, take = self._buffer, self._view, self._owner.take
        while end - start >= HEAD.size:
            length, number, step, kind = HEAD.unpack_from(buffer, start)
            begin = start + HEAD.size
            stop = begin + length
            if step == _PIECE:
                start = self._read_piece(number, begin, stop, end)
                continue
            if stop > end:
                break
            payload = bytes(view[begin:stop])
            start = stop
            if step == _LARGE_STEP:
                self._begin(number, *_LARGE.unpack(payload))
            else:
                take(step, kind, number, payload)
        self._filled = end - start
        if start and self._filled:
            buffer[: self._filled] = buffer[start:end]

    def _begin(self, number: int, size: int, aligned_at: int, step: int, kind: int) -> None:
        incoming = self._incoming[number] = _Incoming(size, aligned_at, step, kind)
        incoming.wanted = self._owner.large_begins(step, number, size)

    def _read_piece(self, number: int, begin: int, stop: int, end: int) -> int:
        """As much of a piece as has come. Returns where that ends."""
        there = min(stop, end)
        size = there - begin
        self._incoming[number].missing[:size] = self._view[begin:there]
        self._number, self._piece_bytes = number, stop - there
        self._advance(number, size)
        return there

    def _advance(self, number: int, size: int) -> None:
        incoming = self._incoming[number]
        incoming.missing = incoming.missing[size:]
        if incoming.missing:
            return
        del self._incoming[number]
        if incoming.wanted:
            self._owner.large_ends(len(incoming.whole))
            self._owner.take(incoming.step, incoming.kind, number, incoming.whole)

    def forget(self, number: int) -> None:
        """The other side sends no more of a large payload. It says so between two pieces."""
        incoming = self._incoming.pop(number, None)
        if incoming is not None and incoming.wanted:
            self._owner.large_ends(len(incoming.whole))

    def forget_all(self) -> None:
        """The other side is gone."""
        self._piece_bytes = 0
        for number in list(self._incoming):
            self.forget(number)


class _Outgoing:
    """A frame that waits for its turn, in pieces if it is large."""

    __slots__ = ("_announcement", "_kind", "_number", "_parts", "_size", "_step")

    def __init__(self, step: int, kind: int, number: int, parts: Parts, aligned_at: int | None) -> None:
        self._step = step
        self._kind = kind
        self._number = number
        self._parts = deque(memoryview(part) for part in parts if len(part))
        self._size = sum(map(len, self._parts))
        self._announcement = b""
        if self._size > PIECE_BYTES:
            # The last tensor of a message ends where the message does.
            place = self._size if aligned_at is None else aligned_at
            payload = _LARGE.pack(self._size, place, step, kind)
            self._announcement = HEAD.pack(len(payload), number, Step.LARGE, 0) + payload
            self._step = Step.PIECE

    def next(self) -> tuple[list[bytes | memoryview], bool]:
        """What is to be sent next, and whether that is the last of it."""
        size = min(self._size, PIECE_BYTES)
        self._size -= size
        head = HEAD.pack(size, self._number, self._step, self._kind)
        found: list[bytes | memoryview] = [self._announcement + head]
        self._announcement = b""
        while size:
            part = self._parts.popleft()
            if len(part) > size:
                self._parts.appendleft(part[size:])
                part = part[:size]
            size -= len(part)
            found.append(part)
        return found, not self._size


class Turns:
    """Frames that are sent in pieces, or after such a one of the same exchange: a piece of each in turn."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[_Outgoing]] = {}
        self._turns: deque[int] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, number: int) -> bool:
        return number in self._waiting

    def add(self, step: int, kind: int, number: int, parts: Parts, aligned_at: int | None) -> None:
        """One more: the byte at `aligned_at` comes to be where memory is aligned, if it is large; else its end."""
        outgoing = _Outgoing(step, kind, number, parts, aligned_at)
        if number in self._waiting:
            self._waiting[number].append(outgoing)
        else:
            self._waiting[number] = deque((outgoing,))
            self._turns.append(number)

    def forget(self, number: int) -> bool:
        """Send no more of an exchange. Returns whether there was any."""
        if number not in self._waiting:
            return False
        del self._waiting[number]
        self._turns.remove(number)
        return True

    def next(self) -> list[bytes | memoryview]:
        """What is to be sent next, if there is anything."""
        number = self._turns.popleft()
        waiting = self._waiting[number]
        piece, ended = waiting[0].next()
        if ended:
            waiting.popleft()
        if waiting:
            self._turns.append(number)
        else:
            del self._waiting[number]
        return piece
