"""What the requests in flight may hold of memory: one budget for the whole server.

A body, or a message, is counted as it grows, and its tensors for as long as they wait for their model or are in it.
Both are given back when they are over, however that comes about. What is executed where it was decoded, within one turn
of the event loop, is not counted: there is never more of it than was read in that turn. Nor is what is smaller than
COUNTED_BYTES as long as it is being read: a connection, or a stream, has only one such message at a time, and costs as
much itself.

All of this happens on the event loop's thread.
"""

import mmap
from collections.abc import Mapping

import numpy as np

from kserve_v2.errors import OverloadedError, ResourceExhaustedError, ServingError
from kserve_v2.memory.large_texts import OBJECT_BYTES, content_bytes_of
from kserve_v2.tensors.datatypes import Array

COUNTED_BYTES = 16 * 1024
"""What is smaller is not counted while it is read."""


class InflightBytes:
    """The budget. `used`: bytes that are counted now; `refused`: how many requests there was no room for."""

    __slots__ = ("limit", "refused", "used")

    def __init__(self, limit: int) -> None:
        """`limit`: how many bytes may be in flight at a time."""
        self.limit = limit
        self.used = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"<InflightBytes {self.used} of {self.limit}, refused {self.refused}>"

    def take(self, size: int) -> None:
        """Count `size` more. Raises OverloadedError if there is no room, ResourceExhaustedError if there never is."""
        if self.used + size > self.limit:
            raise self.refusal(size)
        self.used += size

    def hold(self, size: int) -> None:
        """Count `size` more, or less, of what is there already, whether there is room or not."""
        self.used += size

    def give(self, size: int) -> None:
        """Count `size` less."""
        self.used -= size

    @property
    def exceeded(self) -> bool:
        """Whether more is in flight than may be."""
        return self.used > self.limit

    def has_room(self, size: int) -> bool:
        """Whether `size` more may be taken."""
        return self.used + size <= self.limit

    def refusal(self, size: int) -> ServingError:
        """The error for a request that would take `size` more than there is; it is counted."""
        self.refused += 1
        if size > self.limit:
            return ResourceExhaustedError(
                f"the request takes {size} bytes of memory, which is more than all requests in flight may take "
                f"together ({self.limit} bytes, --max-inflight-bytes)"
            )
        return OverloadedError(
            f"the server has no room for the request: requests in flight take {self.used} bytes, and may take "
            f"{self.limit} (--max-inflight-bytes); try again later"
        )


class Share:
    """What one request has of the budget, `size` bytes, and gives back as a whole."""

    __slots__ = ("_inflight", "size")

    def __init__(self, inflight: InflightBytes) -> None:
        self._inflight = inflight
        self.size = 0

    def take(self, size: int) -> None:
        """As `InflightBytes.take`."""
        self._inflight.take(size)
        self.size += size

    def hold(self, size: int) -> None:
        """As `InflightBytes.hold`."""
        self._inflight.hold(size)
        self.size += size

    def hold_if_room(self, size: int) -> bool:
        """Count `size` more if there is room. Returns whether there is."""
        if not self._inflight.has_room(size):
            return False
        self.hold(size)
        return True

    def give_back(self) -> None:
        """The request is over, or its share is counted elsewhere."""
        self._inflight.give(self.size)
        self.size = 0


def tensor_bytes(tensors: Mapping[str, Array]) -> int:
    """The memory that tensors hold; what lies in a client's shared memory is not the server's."""
    total = 0
    for array in tensors.values():
        size = array.nbytes
        if array.dtype.kind == "O":
            texts = len(array.item()) if array.size == 1 else content_bytes_of(array)
            if texts is None:
                texts = sum(map(len, array.reshape(-1).tolist()))
            size += array.size * OBJECT_BYTES + texts
        elif size >= COUNTED_BYTES and is_mapped(array):
            size = 0
        total += size
    return total


def is_mapped(array: Array) -> bool:
    """Whether an array lies in memory that clients share: they can write to it at any time."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    # numpy looks through views of Python's.
    return isinstance(base, mmap.mmap)
