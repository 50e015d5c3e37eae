"""Inference requests as they came. Of a large one, protobuf gets all but the raw contents, which it would copy, and
nobody else would be served meanwhile.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.large_texts import LargeTexts
from kserve_v2.net.limits import MAX_FIELDS, MAX_ID_CHARACTERS, id_too_long, too_many
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.status import parse
from kserve_v2.tensors.varints import Integers

_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER

_ID = pb.ModelInferRequest.ID_FIELD_NUMBER
_TENSORS = (pb.ModelInferRequest.INPUTS_FIELD_NUMBER, pb.ModelInferRequest.OUTPUTS_FIELD_NUMBER)

# A tensor that takes no more bytes has few fields.
_FEW_FIELDS_BYTES = 256

# Of UTF-8, for the longest id.
_ID_BYTES = 4 * MAX_ID_CHARACTERS

LARGE_BYTES = 64 * 1024
"""Smaller messages are protobuf's as a whole."""

MAX_PARTS = 1024
"""Of a message with more fields, too."""

RawContents = memoryview | LargeTexts
"""As they were sent, or of a large BYTES tensor what it was read to."""

TypedContents = LargeTexts | Integers
"""What large typed contents were read to."""


class Received(NamedTuple):
    """A request. `raw`: the raw contents that are not in `message` because they are views of `data`; if there are any,
    there are no others. `typed`: by the numbers of their inputs, the typed contents that are not in `message`.
    """

    data: Serialized
    message: pb.ModelInferRequest
    raw: Sequence[RawContents] = ()
    typed: Mapping[int, TypedContents] = MappingProxyType({})


def receive(data: Serialized) -> Received:
    """Read a message. Raises InvalidArgumentError if it is none, and as `check_fields`."""
    check_fields(data, _TENSORS)
    found = wire.parts(data, MAX_PARTS) if len(data) >= LARGE_BYTES else None
    raw = [part for part in found or () if part.field == _RAW]
    # It has to be certain that protobuf would find just the same.
    if not raw or not all(wire.is_short(data, part) for part in found or ()):
        return Received(data, parse(data, pb.ModelInferRequest))
    view, position = memoryview(data), 0
    others: list[memoryview] = []
    for part in raw:
        others.append(view[position : part.length_at - 1])
        position = part.end
    others.append(view[position:])
    message = parse(b"".join(others), pb.ModelInferRequest)
    return Received(data, message, [view[part.start : part.end] for part in raw])


def check_fields(data: Serialized, tensors: Sequence[int] = ()) -> None:
    """Raise InvalidArgumentError for a large message with so many fields that to read it would take long. `tensors`:
    those of an inference request whose own fields count, too.
    """
    count, left = 0, [data] if len(data) >= LARGE_BYTES else []
    while left:
        message = left.pop()
        for field, start, end in wire.fields(message):
            count += 1
            if count > MAX_FIELDS:
                raise too_many(MAX_FIELDS, "fields in its message")
            if tensors and message is data:
                if field in tensors and end - start > _FEW_FIELDS_BYTES:
                    left.append(memoryview(data)[start:end])
                elif field == _ID and end - start > _ID_BYTES:
                    raise id_too_long(f"{end - start} bytes")
