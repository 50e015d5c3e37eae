"""Whole numbers as protobuf packs them, seven bits to a byte, read by numpy: Python objects of them would take long."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import Array

# The last byte of a number is smaller than this.
_MORE = 0x80

_LONGEST = 10

# So many bytes are read, or looked at, in a slice of about a millisecond.
_SLICE_BYTES = 64 * 1024
_COUNTED_BYTES = 512 * 1024


class Integers:
    """Those of a tensor that a client has sent: `values`, flat, of the tensor's dtype. `fit`: False if there are others
    among them, which are not in its range.
    """

    def __init__(self, values: Array, *, fit: bool) -> None:
        self.values = values
        self._fit = fit

    def tensor(self, announced: AnnouncedInput) -> Array:
        """The tensor that was announced. Raises InvalidArgumentError for another count, or a number out of range."""
        count, got, item_size = announced.element_count(), self.values.size, self.values.itemsize
        if got != count:
            raise announced.size_mismatch(count * item_size, got * item_size)
        if not self._fit:
            raise announced.out_of_range()
        return self.values.reshape(announced.shape)


def read_varints(packed: memoryview) -> tuple[Array, int]:
    """The numbers that end in `packed`, modulo 2**64, and how many bytes they take. Raises ValueError if one of them
    takes more than ten.
    """
    data = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(data < _MORE)
    size = int(ends[-1]) + 1 if ends.size else 0
    if size == ends.size:
        return data[:size], size
    lengths = np.diff(ends, prepend=-1)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if longest > _LONGEST:
        raise ValueError("a number of more than ten bytes")
    low = data & (_MORE - 1)
    values: Array = low[ends].astype(np.uint64)
    for before in range(1, shortest):
        values = values << np.uint64(7) | low[ends - before]
    for before in range(shortest, longest):
        longer = np.flatnonzero(lengths > before)
        values[longer] = values[longer] << np.uint64(7) | low[ends[longer] - before]
    return values, size


def count_varints(parts: Sequence[memoryview]) -> Generator[None, None, int]:
    """How many numbers there are in packed fields, if they are right; in slices."""
    count = 0
    for part in parts:
        data = np.frombuffer(part, np.uint8)
        for at in range(0, data.size, _COUNTED_BYTES):
            count += int(np.count_nonzero(data[at : at + _COUNTED_BYTES] < _MORE))
            yield
    return count


def read_packed(
    parts: Sequence[memoryview], count: int, sent: "np.dtype[Any]", dtype: "np.dtype[Any]"
) -> Generator[None, None, Integers]:
    """The `count` numbers of packed fields, in slices. `sent`: what the fields hold, to which protobuf cuts what is
    larger; `dtype`: that of the tensor. Raises ValueError for what protobuf refuses.
    """
    values: Array = np.empty(count, dtype)
    limits = np.iinfo(dtype) if dtype.itemsize < sent.itemsize else None
    fit, filled = True, 0
    for part in parts:
        at, size = 0, len(part)
        while at < size:
            read, used = read_varints(part[at : at + _SLICE_BYTES])
            if not used:
                raise ValueError("a number that is cut off")
            some = read.astype(sent)
            if limits is not None and (some.min() < limits.min or some.max() > limits.max):
                fit = False
            values[filled : filled + some.size] = some
            filled += some.size
            at += used
            yield
    return Integers(values, fit=fit)
