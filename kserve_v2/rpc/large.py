"""Large BYTES tensors in messages, read in slices: raw contents, and typed ones, of which protobuf would make objects
in one go. What is wrong with a message is left to protobuf, and to those who decode it.
"""

from collections.abc import Mapping

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.large_texts import SLICE_ELEMENTS, Gathered, LargeTexts, read_raw
from kserve_v2.memory.regions import REGION
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.received import MAX_PARTS, RawContents, Received, receive
from kserve_v2.scheduling.slices import LARGE_BYTES, Room, Slices
from kserve_v2.tensors.datatypes import BYTES

_INPUTS = pb.ModelInferRequest.INPUTS_FIELD_NUMBER
_CONTENTS = pb.ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER
_TEXTS = pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER
_TEXT = wire.tag(_TEXTS)

# From here on, a length takes more than one byte.
_LONG = 0x80

_PIECE_BYTES = 64 * 1024

# In the place of typed contents that were read: the field is filled.
_FILLED = wire.head(_TEXTS, 0)

_Places = Mapping[int, tuple[wire.Part, wire.Part]]
"""Inputs by their number: where each is in a message, and its contents in the input."""


def receive_large(data: Serialized, room: Room) -> Received | Slices[Received]:
    """As `receive`, and raises as that; or what reads a large message in slices. `room`: for what comes of it."""
    if len(data) < LARGE_BYTES:
        return receive(data)
    typed = _typed(data)
    if typed:
        return _read_typed(data, typed, room)
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
    """Inputs that may have large typed contents of BYTES, and nothing else in these."""
    view = memoryview(data)
    found: dict[int, tuple[wire.Part, wire.Part]] = {}
    inputs = [part for part in wire.parts(data, MAX_PARTS) or () if part.field == _INPUTS]
    for number, part in enumerate(inputs):
        if part.end - part.start < LARGE_BYTES or not wire.is_short(data, part):
            continue
        tensor = view[part.start : part.end]
        contents = [each for each in wire.parts(tensor, MAX_PARTS) or () if each.field == _CONTENTS]
        if len(contents) != 1 or contents[0].end - contents[0].start < LARGE_BYTES:
            continue
        if wire.is_short(tensor, contents[0]) and tensor[contents[0].start] == _TEXT:
            found[number] = part, contents[0]
    return found


def _read_typed(data: Serialized, places: _Places, room: Room) -> Slices[Received]:
    view = memoryview(data)
    texts: dict[int, LargeTexts] = {}
    others: list[bytes | memoryview] = []
    copied = 0
    for number, (part, contents) in places.items():
        tensor = view[part.start : part.end]
        read = yield from _read_elements(tensor[contents.start : contents.end], room)
        if read is None:
            continue
        texts[number] = read
        filled = wire.head(_CONTENTS, len(_FILLED)) + _FILLED
        short = b"".join((tensor[: contents.length_at - 1], filled, tensor[contents.end :]))
        others += (view[copied : part.length_at - 1], wire.head(_INPUTS, len(short)), short)
        copied = part.end
    if not texts:
        return receive(data)
    others.append(view[copied:])
    return receive(b"".join(others))._replace(data=data, typed=texts)


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
