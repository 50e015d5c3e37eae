"""What the tensors of a message are: names, datatypes and shapes, as bytes and back.

Most messages of a model are like the one before, so that both ways are remembered.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import byte_tensors
from .datatypes import BYTES, DTYPES, ITEM_SIZES, NAMES, NUMBERS
from .messages import Array, MessageError, ProtocolError
from .places import SIZE
from .recent import Recent

# Tensors that travel together begin at multiples of this, which suits every datatype.
ALIGNMENT = 8
# What travels in the message itself, and from what size on a tensor gets a block of memory to itself.
INLINE_BYTES = 16 * 1024

MAX_DIMENSIONS = 32  # numpy 1 has no more
_MAX_NAME = 65535
# So that nothing overflows in numpy either.
_MAX_BYTES = 2**62
_MAX_REMEMBERED = 4096

_COUNT = struct.Struct("<I")
_TENSOR = struct.Struct("<HBB")  # bytes of the name, datatype, dimensions
_SHAPES = [struct.Struct(f"<{dimensions}q") for dimensions in range(MAX_DIMENSIONS + 1)]


class Tensor(NamedTuple):
    """One tensor of a message. `dtype` is None where this interpreter has none for the datatype. `size`: its bytes on
    the way; -1 of BYTES, whose elements say. `offset`: where it lies if the head is `inline`, and has no texts.
    """

    name: str
    number: int
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    elements: int
    size: int
    offset: int


class Head(NamedTuple):
    """The tensors of one message. `inline`: all of them travel in the message itself, one after the other, unless texts
    among them are too long. `texts`: how many tensors are BYTES. `size`: the bytes of the others, with `padding` behind
    each, which is None behind texts: there it depends on them.
    """

    encoded: bytes
    groups: list[list[Tensor]]
    inline: bool
    texts: int
    size: int
    padding: list[bytes | None]

    def pack(self, groups: Sequence[Mapping[str, Array]]) -> tuple[bytes, bytes] | None:
        """The places and the data of tensors that have this head, which is `inline`; None where they may be too long to
        travel in the message.
        """
        sizes: list[bytes] = []
        parts: list[bytes] = []
        paddings = iter(self.padding)
        room = INLINE_BYTES - self.size
        for group in groups:
            for array in group.values():
                padding = next(paddings)
                if padding is not None:
                    parts += (array.tobytes(), padding)
                    continue
                packed = byte_tensors.pack_few(array, room)
                if packed is None:
                    return None
                padding = bytes(-len(packed) % ALIGNMENT)
                room -= len(packed) + len(padding)
                sizes.append(SIZE.pack(len(packed)))
                parts += (packed, padding)
        return (b"".join(sizes), b"".join(parts)) if room >= 0 else None

    def unpack(self, places: memoryview, inline: memoryview) -> list[dict[str, Array]]:
        """Arrays of what `pack` has made. Raises ProtocolError for anything else."""
        if self.texts:
            return self._unpack_texts(places, inline)
        if places or len(inline) != self.size:
            raise ProtocolError(f"tensors of {self.size} bytes in {len(inline)}")
        array, data = np.ndarray, bytearray(inline)
        return [{t.name: array(t.shape, t.dtype, data, t.offset) for t in group} for group in self.groups]

    def _unpack_texts(self, places: memoryview, inline: memoryview) -> list[dict[str, Array]]:
        sizes = SIZE.iter_unpack(places)
        data = bytearray(inline) if self.texts < len(self.padding) else b""
        groups: list[dict[str, Array]] = []
        end, most = 0, len(inline)
        for tensors in self.groups:
            group: dict[str, Array] = {}
            for tensor in tensors:
                offset, size = end, tensor.size
                if size < 0:
                    (size,) = next(sizes)
                end += size + -size % ALIGNMENT
                if end > most:
                    raise ProtocolError(f"tensor '{tensor.name}' is cut off")
                if tensor.number == BYTES:
                    text = bytes(inline[offset : offset + size])
                    group[tensor.name] = byte_tensors.unpack(tensor.name, text, tensor.elements, tensor.shape)
                else:
                    group[tensor.name] = np.ndarray(tensor.shape, tensor.dtype, data, offset)
            groups.append(group)
        if end != most:
            raise ProtocolError(f"{most - end} bytes behind the last tensor")
        return groups


class Heads:
    """The heads of a channel's messages."""

    def __init__(self) -> None:
        self._made: Recent[Any, Head] = Recent(128)
        self._read: Recent[bytes, Head] = Recent(128)

    def of(self, groups: Sequence[Mapping[str, Array]]) -> Head:
        """The head for these tensors. Raises MessageError for what is none of the protocol's."""
        try:
            key = tuple(
                [tuple([(name, array.dtype, array.shape) for name, array in g.items()]) for g in groups]
            )
            head = self._made.get(key)
        except (AttributeError, TypeError):
            head = None
            key = None
        if head is None:
            head = make(groups)
            if key is not None and len(head.encoded) <= _MAX_REMEMBERED:
                self._made.put(key, head)
        return head

    def read(self, encoded: bytes) -> Head:
        """The head that the other side has written. Raises ProtocolError."""
        head = self._read.get(encoded)
        if head is None:
            head = read(encoded)
            if len(encoded) <= _MAX_REMEMBERED:
                self._read.put(encoded, head)
        return head


def make(groups: Sequence[Mapping[str, Array]]) -> Head:
    """The head for these tensors. Raises MessageError for what is none of the protocol's."""
    parts = [_COUNT.pack(len(groups))]
    tensors: list[list[Tensor]] = []
    for group in groups:
        parts.append(_COUNT.pack(len(group)))
        tensors.append([])
        for name, array in group.items():
            number = _datatype(name, array)
            encoded = name.encode("utf-8", "surrogatepass")
            if len(encoded) > _MAX_NAME:
                raise MessageError(f"a tensor's name has {len(encoded)} bytes, more than {_MAX_NAME}")
            parts += (_TENSOR.pack(len(encoded), number, array.ndim), encoded)
            parts.append(_SHAPES[array.ndim].pack(*array.shape))
            tensors[-1].append(_tensor(name, number, array.shape))
    return _head(b"".join(parts), tensors)


def _datatype(name: object, array: object) -> int:
    if not isinstance(name, str):
        raise MessageError(f"a tensor's name is {type(name).__name__}, expected str")
    if not isinstance(array, np.ndarray):
        raise MessageError(f"tensor '{name}' is {type(array).__name__}, expected a numpy array")
    number = NUMBERS.get(array.dtype)
    if number is None:
        raise MessageError(
            f"tensor '{name}' is an array of {array.dtype}, which is none of the datatypes {', '.join(NAMES)}"
        )
    if array.ndim > MAX_DIMENSIONS:
        raise MessageError(f"tensor '{name}' has {array.ndim} dimensions, more than {MAX_DIMENSIONS}")
    return number


def read(encoded: bytes) -> Head:
    """The head that the other side has written. Raises ProtocolError."""
    try:
        groups, offset = _read_groups(encoded)
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(f"the tensors of a message are described wrongly: {error}") from error
    if offset != len(encoded):
        raise ProtocolError(f"{len(encoded) - offset} bytes behind the description of the tensors")
    return _head(encoded, groups)


def _read_groups(encoded: bytes) -> tuple[list[list[Tensor]], int]:
    (group_count,) = _COUNT.unpack_from(encoded, 0)
    groups, offset = [], _COUNT.size
    for _ in range(group_count):
        (tensor_count,) = _COUNT.unpack_from(encoded, offset)
        offset += _COUNT.size
        group: dict[str, Tensor] = {}
        for _ in range(tensor_count):
            tensor, offset = _read_tensor(encoded, offset)
            if tensor.name in group:
                raise ProtocolError(f"two tensors '{tensor.name}' in one group")
            group[tensor.name] = tensor
        groups.append(list(group.values()))
    return groups, offset


def _read_tensor(encoded: bytes, offset: int) -> tuple[Tensor, int]:
    name_size, number, dimensions = _TENSOR.unpack_from(encoded, offset)
    offset += _TENSOR.size
    name = encoded[offset : offset + name_size].decode("utf-8", "surrogatepass")
    offset += name_size
    if number >= len(NAMES):
        raise ProtocolError(f"tensor '{name}' has the datatype number {number}, which there is not")
    if dimensions > MAX_DIMENSIONS:
        raise ProtocolError(f"tensor '{name}' has {dimensions} dimensions, more than {MAX_DIMENSIONS}")
    shape = _SHAPES[dimensions].unpack_from(encoded, offset)
    if any(size < 0 for size in shape):
        raise ProtocolError(f"tensor '{name}' has the shape {list(shape)}")
    return _tensor(name, number, shape), offset + _SHAPES[dimensions].size


def _tensor(name: str, number: int, shape: tuple[int, ...]) -> Tensor:
    elements = math.prod(shape)
    # What numpy would have to hold if the dimensions that are 0 were not.
    extent = math.prod(filter(None, shape)) * max(1, ITEM_SIZES[number])
    if extent > _MAX_BYTES:
        raise ProtocolError(f"tensor '{name}' has the shape {list(shape)}, which is too large")
    size = -1 if number == BYTES else elements * ITEM_SIZES[number]
    return Tensor(name, number, DTYPES[number], shape, elements, size, 0)


def _head(encoded: bytes, groups: list[list[Tensor]]) -> Head:
    inline, size, texts = True, 0, 0
    placed: list[list[Tensor]] = []
    padding: list[bytes | None] = []
    for group in groups:
        placed.append([])
        for tensor in group:
            placed[-1].append(tensor._replace(offset=size))
            if tensor.number == BYTES:
                texts += 1
                padding.append(None)
                continue
            behind = bytes(-tensor.size % ALIGNMENT)
            padding.append(behind)
            size += tensor.size + len(behind)
            inline = inline and size <= INLINE_BYTES and tensor.dtype is not None
    return Head(encoded, placed, inline, texts, size, padding)
