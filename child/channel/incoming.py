"""The tensors of a message that has come: arrays that are the receiver's own, in private memory or over blocks.

The other side may run anything, so nothing of what it says about memory is believed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import byte_tensors
from .datatypes import BYTES, NAMES
from .heads import ALIGNMENT, Head, Tensor
from .holders import Holder, Returns
from .memory import Contents
from .messages import Array, MessageError, ProtocolError
from .places import BUNDLE, OWN, PLACE, RETURNED, SIZE, Notice
from .segments import ALIGNMENT as BLOCK_ALIGNMENT
from .segments import MAX_SEGMENTS, Pool

Groups = list[dict[str, Array]]


# The other side may have dropped some of its own that it has not told of yet.
_MOST_SEGMENTS = 2 * MAX_SEGMENTS


class _Place(NamedTuple):
    """Where a tensor is. `contents` is None of a segment that could not be mapped."""

    holder: Holder
    contents: Contents | None
    offset: int
    size: int


class Incoming:
    """The memory of the other side's that this side sees. One thread at a time."""

    def __init__(self, pool: Pool, notices: Returns) -> None:
        """`pool`: this side's own memory, whose blocks may come back. `notices`: what is told to the other side."""
        self._pool = pool
        self._notices = notices
        # None: it was announced, and could not be mapped.
        self._segments: dict[int, Contents | None] = {}

    def announce(
        self, numbers_and_sizes: Sequence[tuple[int, int]], descriptors: Sequence[int] | None
    ) -> None:
        """Map the other side's new segments, and take their descriptors; None: they could not be handed over.

        Raises ProtocolError; what cannot be mapped fails the messages that need it.
        """
        rest = list(descriptors or ())[::-1]
        try:
            for number, size in numbers_and_sizes:
                if self._segments.get(number) is not None:
                    raise ProtocolError(f"segment {number} is announced, which there is already")
                if len(self._segments) >= _MOST_SEGMENTS and number not in self._segments:
                    raise ProtocolError(
                        f"segment {number} is announced, but there are {_MOST_SEGMENTS} already"
                    )
                self._segments[number] = _mapped(rest.pop(), size) if rest else None
                if self._segments[number] is None:
                    self._notices.append(Notice.UNMAPPED.about(number))
        finally:
            for descriptor in rest:
                os.close(descriptor)

    def drop(self, number: int) -> None:
        """The other side does not use a segment any more. Arrays over it stay what they are."""
        self._segments.pop(number, None)

    def close(self) -> None:
        """Forget all of them."""
        self._segments.clear()

    def read(self, head: Head, places: memoryview, inline: memoryview) -> Groups:
        """The tensors. Raises ProtocolError, and MessageError if this side cannot have them."""
        if head.inline and (not head.texts or len(places) == head.texts * SIZE.size):
            return head.unpack(places, inline)
        found: dict[int, _Place] = {}
        try:
            return self._read(head, places, inline, found)
        except MessageError as error:
            # A traceback would keep the blocks.
            raise error.with_traceback(None) from None
        finally:
            found.clear()

    def _read(self, head: Head, places: memoryview, inline: memoryview, found: dict[int, _Place]) -> Groups:
        records = len(places) - head.texts * SIZE.size
        if records < 0 or records % PLACE.size:
            raise ProtocolError(f"the places of tensors have {len(places)} bytes")
        sizes = SIZE.iter_unpack(places[: len(places) - records])
        for number, whose, block, segment, offset, size in PLACE.iter_unpack(places[len(places) - records :]):
            if number in found:
                raise ProtocolError(f"two places of tensor {number}")
            found[number] = self._place(whose, block, segment, offset, size)
        bundle = _Bundle(inline, found.pop(BUNDLE, None))
        groups: Groups = []
        number = 0
        for tensors in head.groups:
            groups.append({})
            for tensor in tensors:
                size = next(sizes)[0] if tensor.number == BYTES else tensor.size
                place = found.pop(number, None)
                groups[-1][tensor.name] = (
                    bundle.array(tensor, size) if place is None else _array(tensor, size, place)
                )
                number += 1
        bundle.finish()
        if found:
            raise ProtocolError(f"places of tensors that there are not: {sorted(found)}")
        return groups

    def _place(self, whose: int, number: int, segment: int, offset: int, size: int) -> _Place:
        if whose == OWN and segment in self._segments and not offset % BLOCK_ALIGNMENT:
            contents = self._segments[segment]
            holder = Holder(contents, number, Notice.RELEASE.about(number), self._notices)
            if contents is None or offset + size <= contents.size:
                return _Place(holder, contents, offset, size)
        if whose == RETURNED:
            block = self._pool.take_back(number)
            try:
                contents = block.segment.contents()
            except OSError:
                contents = None
            holder = Holder(contents, 0, block, self._pool.returned)
            if block.offset <= offset and offset + size <= block.offset + block.size:
                return _Place(holder, contents, offset, size)
        raise ProtocolError(
            f"a tensor is at {offset}, {size} bytes, of segment {segment}, which is not there"
        )


def _mapped(descriptor: int, size: int) -> Contents | None:
    try:
        return Contents(descriptor, size)
    except (OSError, ValueError, OverflowError):
        return None


def _array(tensor: Tensor, size: int, place: _Place) -> Array:
    if size != place.size:
        raise ProtocolError(f"tensor '{tensor.name}' of {size} bytes has a place of {place.size}")
    if place.contents is None:
        raise MessageError(
            f"tensor '{tensor.name}' is in shared memory that could not be mapped; too many open files?"
        )
    if tensor.number == BYTES:
        return byte_tensors.unpack(
            tensor.name, place.contents.read(place.offset, size), tensor.elements, tensor.shape
        )
    dtype = _dtype(tensor)
    if place.contents.mapped is None:
        return np.ndarray(tensor.shape, dtype, bytearray(place.contents.read(place.offset, size)))
    if place.offset % dtype.itemsize:
        raise ProtocolError(f"tensor '{tensor.name}' is at {place.offset}, which is not aligned")
    return place.holder.array(place.offset, dtype, tensor.shape)


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    if tensor.dtype is None:
        raise MessageError(
            f"tensor '{tensor.name}' is {NAMES[tensor.number]}, for which the Python package ml_dtypes is needed in "
            "the model's environment"
        )
    return tensor.dtype


class _Bundle:
    """The tensors that are in no block of their own, one after the other."""

    def __init__(self, inline: memoryview, place: _Place | None) -> None:
        if place is None:
            self._data = bytearray(inline)
        elif inline:
            raise ProtocolError("tensors both inline and in a block for all of them")
        elif place.contents is None:
            raise MessageError("tensors are in shared memory that could not be mapped; too many open files?")
        else:
            self._data = bytearray(place.contents.read(place.offset, place.size))
        self._offset = 0

    def array(self, tensor: Tensor, size: int) -> Array:
        """The next one."""
        offset = self._offset
        self._offset += size + -size % ALIGNMENT
        if self._offset > len(self._data):
            raise ProtocolError(f"tensor '{tensor.name}' is cut off")
        if tensor.number == BYTES:
            data = bytes(self._data[offset : offset + size])
            return byte_tensors.unpack(tensor.name, data, tensor.elements, tensor.shape)
        return np.ndarray(tensor.shape, _dtype(tensor), self._data, offset)

    def finish(self) -> None:
        """All of them have been taken."""
        if self._offset != len(self._data):
            raise ProtocolError(f"{len(self._data) - self._offset} bytes behind the last tensor")
