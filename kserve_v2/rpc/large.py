"""Large BYTES tensors in messages, and integers in typed contents, read in slices: protobuf would make objects of them
in one go. What is wrong with a message is left to protobuf, and to those who decode it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.large_texts import SLICE_ELEMENTS, Gathered, LargeTexts, read_raw
from kserve_v2.memory.regions import REGION
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.received import LARGE_BYTES as NOT_SMALL_BYTES
from kserve_v2.rpc.received import MAX_PARTS, RawContents, Received, TypedContents, receive
from kserve_v2.scheduling.slices import LARGE_BYTES, Room, Slices, any_room, at_once
from kserve_v2.tensors.datatypes import BOOL, BY_NAME, BYTES, INT32, INT64, UINT32, UINT64, Datatype
from kserve_v2.tensors.varints import Integers, count_varints, read_packed

_INPUTS = pb.ModelInferRequest.INPUTS_FIELD_NUMBER
_DATATYPE = pb.ModelInferRequest.InferInputTensor.DATATYPE_FIELD_NUMBER
_CONTENTS = pb.ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER
_TEXTS = pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER
_TEXT = wire.tag(_TEXTS)

# Fields of integers, by their numbers, and the datatypes that hold all that can be in them.
_INTEGERS = {
    pb.InferTensorContents.DESCRIPTOR.fields_by_name[datatype.contents_field].number: datatype
    for datatype in (BOOL, INT32, INT64, UINT32, UINT64)
}

# Fewer integers are protobuf's.
_MANY_BYTES = 1024

# From here on, a length takes more than one byte.
_LONG = 0x80

_PIECE_BYTES = 64 * 1024

# What protobuf gets in the place of texts that were read: the field is filled.
_EMPTY_TEXT = wire.head(_TEXTS, 0)


class _Packed(NamedTuple):
    """Integers that are the only contents of an input: the field in whose parts they are, and the input's datatype,
    which may be another one than the field is for, or none.
    """

    field: int
    parts: Sequence[memoryview]
    datatype: Datatype | None


class _Place(NamedTuple):
    """An input: where it is in a message, and its contents in the input. `packed`: None for texts."""

    part: wire.Part
    contents: wire.Part
    packed: _Packed | None


_Places = Mapping[int, _Place]
"""By the number of the input."""


def are_read_here(contents_bytes: int, message_bytes: int) -> bool:
    """Whether so many bytes of integers in a message of so many are read here, and not by protobuf."""
    return contents_bytes >= _MANY_BYTES and message_bytes >= NOT_SMALL_BYTES


def receive_large(data: Serialized, room: Room) -> Received | Slices[Received]:
    """As `receive`, and raises as that; or what reads a large message in slices. `room`: for what comes of it."""
    if len(data) < NOT_SMALL_BYTES:
        return receive(data)
    typed = _typed(data)
    if typed:
        # What is not large may well be read in one go, but not by protobuf.
        is_large = len(data) >= LARGE_BYTES
        return _read_typed(data, typed, room) if is_large else at_once(_read_typed(data, typed, any_room))
    received = receive(data)
    large = (isinstance(content, memoryview) and len(content) >= LARGE_BYTES for content in received.raw)
    if any(large) and any(tensor.datatype == BYTES.name for tensor in received.message.inputs):
        return _read_raw(received, room)
    return received


def _read_raw(received: Received, room: Room) -> Slices[Received]:
    raw: list[RawContents] = []
    # Contents are for the inputs that lie in no region; whether they are, is checked where they are decoded.
    tensors = iter([tensor for tensor in received.message.inputs if REGION not in tensor.parameters])
    for content in received.raw:
        tensor = next(tensors, None)
        of_texts = tensor is not None and tensor.datatype == BYTES.name
        if of_texts and isinstance(content, memoryview) and len(content) >= LARGE_BYTES:
            raw.append((yield from read_raw(content, room)) or content)
        else:
            raw.append(content)
    return received._replace(raw=raw)


# --- typed contents -----------------------------------------------------------------------------------------------


def _typed(data: Serialized) -> _Places:
    """Inputs that may have large typed contents of BYTES, or of integers, and nothing else in these."""
    view = memoryview(data)
    found: dict[int, _Place] = {}
    inputs = [part for part in wire.parts(data, MAX_PARTS) or () if part.field == _INPUTS]
    for number, part in enumerate(inputs):
        if part.end - part.start < _MANY_BYTES or not wire.is_short(data, part):
            continue
        tensor = view[part.start : part.end]
        fields = wire.parts(tensor, MAX_PARTS) or ()
        all_contents = [each for each in fields if each.field == _CONTENTS]
        if len(all_contents) != 1 or not wire.is_short(tensor, all_contents[0]):
            continue
        contents = all_contents[0]
        size = contents.end - contents.start
        if size >= LARGE_BYTES and tensor[contents.start] == _TEXT:
            found[number] = _Place(part, contents, None)
        elif size >= _MANY_BYTES:
            named = [bytes(tensor[each.start : each.end]) for each in fields if each.field == _DATATYPE]
            packed = _packed(tensor[contents.start : contents.end], b"".join(named[-1:]))
            if packed is not None:
                found[number] = _Place(part, contents, packed)
    return found


def _packed(contents: memoryview, datatype: bytes) -> _Packed | None:
    """Contents that are packed fields of integers of one kind; else None."""
    if contents[0] >> 3 not in _INTEGERS:
        return None
    parts = wire.parts(contents, MAX_PARTS)
    if not parts or len({each.field for each in parts}) > 1:
        return None
    if not all(wire.is_short(contents, each) for each in parts):
        return None
    content = [contents[each.start : each.end] for each in parts]
    return _Packed(parts[0].field, content, BY_NAME.get(datatype.decode(errors="replace")))


def _read_typed(data: Serialized, places: _Places, room: Room) -> Slices[Received]:
    view = memoryview(data)
    typed: dict[int, TypedContents] = {}
    others: list[bytes | memoryview] = []
    copied = 0
    for number, (part, contents, packed) in places.items():
        tensor = view[part.start : part.end]
        read: TypedContents | None
        if packed is None:
            read, left = (yield from _read_elements(tensor[contents.start : contents.end], room)), _EMPTY_TEXT
        else:
            read, left = yield from _read_integers(packed, room)
        if read is None:
            continue
        typed[number] = read
        filled = wire.head(_CONTENTS, len(left)) + left
        short = b"".join((tensor[: contents.length_at - 1], filled, tensor[contents.end :]))
        others += (view[copied : part.length_at - 1], wire.head(_INPUTS, len(short)), short)
        copied = part.end
    if not typed:
        return receive(data)
    others.append(view[copied:])
    return receive(b"".join(others))._replace(data=data, typed=typed)


def _read_integers(packed: _Packed, room: Room) -> Slices[tuple[Integers | None, bytes]]:
    """The integers of a tensor, None if there is no room for them, and what protobuf gets in their place."""
    sent = _INTEGERS[packed.field]
    datatype = packed.datatype
    if datatype is None or datatype.contents_field != sent.contents_field:
        datatype = sent
    count = yield from count_varints(packed.parts)
    if not room(count * datatype.item_size):
        return None, b""
    try:
        read = yield from read_packed(packed.parts, count, sent.dtype, datatype.dtype)
    except ValueError:
        # Protobuf refuses the message, if nothing else does.
        return Integers(np.empty(0, datatype.dtype), fit=False), wire.head(packed.field, 1) + b"\x80"
    return read, wire.head(packed.field, 1) + b"\0"


def _read_elements(data: memoryview, room: Room) -> Slices[LargeTexts | None]:
    """The elements of a repeated field; None if there is something else, or no room for them."""
    gathered = Gathered()
    at, size = 0, len(data)
    while at < size:
        elements, read = _elements(bytes(data[at : at + _PIECE_BYTES]))
        if not read:
            # It may be longer than a piece, and then what was copied is enough to know how long.
            elements, read = _elements(bytes(data[at : at + _first_bytes(data, at)]))
        if not read or not room(gathered.add(elements)):
            return None
        at += read
        yield
    return LargeTexts((yield from gathered.in_one()))


def _first_bytes(data: memoryview, at: int) -> int:
    """How many bytes the element at `at` takes, with what stands before it; 0 if it is none."""
    try:
        length, start = wire.read_varint(data, at + 1)
    except IndexError:
        return 0
    return start + length - at


def _elements(piece: bytes) -> tuple[list[bytes], int]:
    """The elements that end in a piece, and where the last one does; none where protobuf may know better."""
    elements: list[bytes] = []
    offset, size = 0, len(piece)
    while offset < size - 1 and len(elements) < 2 * SLICE_ELEMENTS:
        length, start = piece[offset + 1], offset + 2
        if length >= _LONG:
            try:
                length, start = wire.read_varint(piece, offset + 1)
            except IndexError:
                break
            if piece[offset:start] != wire.head(_TEXTS, length):
                return [], 0
        end = start + length
        if piece[offset] != _TEXT:
            return [], 0
        if end > size:
            break
        elements.append(piece[start:end])
        offset = end
    return elements, offset
