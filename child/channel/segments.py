"""The writer's side of shared memory: segments, and the blocks in them that hold tensors.

A block is the writer's until a message names it, then the reader's, who gives it back. A segment lies still when none
of its blocks is anybody's, and is dropped when that has lasted.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

import numpy as np

from .memory import Contents, CreateMemory, create, write
from .messages import Array, MessageError, ProtocolError

# Of each direction of a channel: each costs descriptors on both sides.
MAX_SEGMENTS = 64
ALIGNMENT = 64
_LEAST_BYTES = 1 << 20
# Segments get larger the more there are, so that their number suffices for any amount of memory.
_GROWTH = 8


class Segment:
    """One piece of memory. `announced`: the reader has been sent its descriptor."""

    def __init__(self, number: int, descriptor: int, size: int) -> None:
        self.number = number
        self.descriptor = descriptor
        self.size = size
        self.announced = False
        self.idle_since: float | None = None
        self._free = [(0, size)]  # offset and size, by offset; no two of them adjoin
        self._contents: Contents | None = None
        self._written = 0

    @property
    def is_idle(self) -> bool:
        """Whether all of it is free."""
        return self._free == [(0, self.size)]

    def fitting(self, size: int) -> int | None:
        """The size of its smallest gap that is large enough."""
        return min((gap for _, gap in self._free if gap >= size), default=None)

    def take(self, size: int) -> int:
        """The offset of a new block, in the smallest gap that fits."""
        index = min((gap, index) for index, (_, gap) in enumerate(self._free) if gap >= size)[1]
        offset, gap = self._free[index]
        self._free[index : index + 1] = [(offset + size, gap - size)] if gap > size else []
        self.idle_since = None
        return offset

    def give_back(self, offset: int, size: int) -> None:
        """Free what `take` has taken."""
        index = bisect_left(self._free, (offset, 0))
        if index < len(self._free) and self._free[index][0] == offset + size:
            size += self._free.pop(index)[1]
        if index and sum(self._free[index - 1]) == offset:
            index -= 1
            before, gap = self._free.pop(index)
            offset, size = before, gap + size
        self._free.insert(index, (offset, size))

    def write(self, array: Array, offset: int) -> None:
        """Copy an array into a block, in C order. Raises OSError."""
        end = offset + array.nbytes
        mapped = self._mapped() if end <= self._written else None
        if mapped is not None:
            target = mapped[offset:end].view(array.dtype).reshape(array.shape)
            np.copyto(target, array)
            return
        # New pages come cheaper, and with an error if there are none, when the system writes them itself.
        write(self.descriptor, array, offset)
        self._written = max(self._written, end)

    def _mapped(self) -> Array | None:
        try:
            return self.contents().mapped
        except OSError:
            return None

    def contents(self) -> Contents:
        """What the other side has made of it, for blocks that come back. Raises OSError."""
        if self._contents is None:
            self._contents = Contents(os.dup(self.descriptor), self.size)
        return self._contents

    def close(self) -> None:
        """Close the descriptor."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class Block:
    """A part of a segment."""

    __slots__ = ("number", "offset", "segment", "size")

    def __init__(self, number: int, segment: Segment, offset: int, size: int) -> None:
        self.number = number
        self.segment = segment
        self.offset = offset
        self.size = size


class Pool:
    """All segments of one direction of a channel. Any thread may use it; no finalizer waits for its lock."""

    def __init__(self, create_memory: CreateMemory = create) -> None:
        self._create = create_memory
        self._lock = threading.Lock()
        self._segments: dict[int, Segment] = {}
        self._lent: dict[int, Block] = {}
        self._numbers = itertools.count(1)
        self.returned: deque[Block] = deque()
        """Blocks that were taken back and are not used any more; finalizers append."""

    def allocate(self, size: int) -> Block:
        """A block of at least `size` bytes, lent from now on. Raises MessageError where there is no memory."""
        size += -size % ALIGNMENT
        with self._lock:
            self._collect()
            fitting = [(gap, n) for n, s in self._segments.items() if (gap := s.fitting(size)) is not None]
            segment = self._segments[min(fitting)[1]] if fitting else self._new_segment(size)
            block = Block(next(self._numbers), segment, segment.take(size), size)
            self._lent[block.number] = block
            return block

    def _new_segment(self, size: int) -> Segment:
        if len(self._segments) >= MAX_SEGMENTS:
            held = sum(segment.size for segment in self._segments.values())
            raise MessageError(
                f"tensors in {MAX_SEGMENTS} segments of {held} bytes in all have not been given back"
            )
        size = max(size, _LEAST_BYTES, sum(segment.size for segment in self._segments.values()) // _GROWTH)
        size += -size % mmap.PAGESIZE
        try:
            descriptor = self._create(size)
        except (OSError, OverflowError) as error:
            raise MessageError(f"no shared memory of {size} bytes for tensors: {error}") from error
        segment = Segment(next(self._numbers), descriptor, size)
        self._segments[segment.number] = segment
        return segment

    def release(self, number: int) -> None:
        """The reader does not need a block any more. Raises ProtocolError if it has none of that number."""
        block = self.take_back(number)
        with self._lock:
            block.segment.give_back(block.offset, block.size)

    def take_back(self, number: int) -> Block:
        """The reader has sent a block back, which is ours until it is put into `returned`. Raises ProtocolError."""
        with self._lock:
            block = self._lent.pop(number, None)
        if block is None:
            raise ProtocolError(f"block {number} is given back, which is not lent")
        return block

    def undo(self, block: Block) -> None:
        """A block is not going to be sent."""
        with self._lock:
            if self._lent.pop(block.number, None) is not None:
                block.segment.give_back(block.offset, block.size)

    def unmapped(self, number: int) -> None:
        """The reader could not map a segment: it is to be announced again."""
        with self._lock:
            segment = self._segments.get(number)
            if segment is not None:
                segment.announced = False

    def drop_idle(self, now: float, idle_s: float) -> list[Segment]:
        """Close what has been idle for that long. The reader is to be told of those that were announced."""
        with self._lock:
            self._collect()
            dropped = []
            for segment in [segment for segment in self._segments.values() if segment.is_idle]:
                if segment.idle_since is None:
                    segment.idle_since = now
                if now - segment.idle_since >= idle_s:
                    del self._segments[segment.number]
                    segment.close()
                    dropped.append(segment)
            return dropped

    def _collect(self) -> None:
        while self.returned:
            block = self.returned.popleft()
            block.segment.give_back(block.offset, block.size)

    def __len__(self) -> int:
        return len(self._segments)

    def segments(self) -> Iterator[Segment]:
        """Those there are."""
        with self._lock:
            return iter(list(self._segments.values()))

    def leave(self) -> None:
        """As `close`, in a copy of the process, where somebody may have had the lock who is not there."""
        self._lock = threading.Lock()
        self.close()

    def close(self) -> None:
        """Close all descriptors. What is mapped stays as long as there are arrays over it."""
        with self._lock:
            for segment in self._segments.values():
                segment.close()
            self._segments.clear()
            self._lent.clear()
