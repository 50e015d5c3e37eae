"""The forms of `ModelInferRequest`: what differs is the field `id`, and the contents of the inputs, raw or typed. See
`kserve_v2.forms`.
"""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.forms import Data, Form, Forms, Gap, Place, bare, raw_reader
from kserve_v2.messages import InferRequest
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.codec import ALIKE, decode_contents
from kserve_v2.rpc.large import are_read_here
from kserve_v2.rpc.status import parse
from kserve_v2.rpc.wire import Part, parts, read_varint, tag
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import FP32, FP64, Array, datatype_of

_ID = pb.ModelInferRequest.ID_FIELD_NUMBER
_INPUTS = pb.ModelInferRequest.INPUTS_FIELD_NUMBER
_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_CONTENTS = pb.ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER

# A request is decoded each time if it has more fields than this, or so much before typed contents.
_MAX_PARTS = 64
_MAX_DESCRIBED_BYTES = 256

# The fewest bytes that a field takes: its tag and its length.
_MIN_FIELD_BYTES = 2
_MORE = 0x80
_MODEL_NAME = tag(pb.ModelInferRequest.MODEL_NAME_FIELD_NUMBER)

RpcForm = Form[None]


def key_of(data: Serialized) -> bytes:
    """What to look a message up by: the model's name, or most of it, if that comes first, as usual."""
    if len(data) < _MIN_FIELD_BYTES or data[0] != _MODEL_NAME:
        return b""
    return bytes(data[: data[1] + _MIN_FIELD_BYTES])


def note(
    forms: Forms[None],
    data: Serialized,
    message: pb.ModelInferRequest,
    request: InferRequest,
    signature: ModelSignature,
) -> None:
    """Note the form of a message, which is `request`, checked against `signature`."""
    if not message.parameters:
        make = partial(form_of, data, message, request, signature)
        forms.note(key_of(data), data, request, signature, make)


def form_of(
    data: Serialized, message: pb.ModelInferRequest, request: InferRequest, signature: ModelSignature
) -> RpcForm | None:
    """The form of a valid message, which is `request`. None where more than the id and the tensors can matter, or means
    something that the same bytes need not mean again: parameters, fields that protobuf would merge; and for a message
    with much else in it.
    """
    found = parts(data, _MAX_PARTS)
    if found is None or message.parameters or len(message.inputs) != len(request.inputs):
        return None
    if any(tensor.parameters for tensor in message.inputs) or any(
        each.parameters for each in message.outputs
    ):
        return None
    ids = [part for part in found if part.field == _ID]
    raw = [part for part in found if part.field == _RAW]
    if len(ids) > 1 or (raw and any(tensor.HasField("contents") for tensor in message.inputs)):
        return None
    places = [_Varying(part.length_at, part.end, _delimited, None, _text) for part in ids]
    tensors = raw or [part for part in found if part.field == _INPUTS]
    if len(tensors) != len(request.inputs):
        return None
    for part, (name, array) in zip(tensors, request.inputs.items(), strict=True):
        of_input = _raw(part, name, array) if raw else _typed(data, part, name, array)
        if of_input is None:
            return None
        places.append(of_input)
    gaps, position = [], 0
    for start, end, place, name_of, read in sorted(places, key=itemgetter(0)):
        before = bytes(data[position:start])
        gaps.append(Gap(before, len(before), place, name_of, read))
        position = end
    return Form(tuple(gaps), bytes(data[position:]), bare(request), signature, None)


class _Varying(NamedTuple):
    """A part of a message that may differ: where it is, and the rest of its gap."""

    start: int
    end: int
    place: int | Place
    name: str | None
    read: Callable[[Data], Any]


def _raw(part: Part, name: str, array: Array) -> _Varying:
    return _Varying(part.start, part.end, array.nbytes, name, raw_reader(array.dtype, array.shape))


def _typed(data: Serialized, part: Part, name: str, array: Array) -> _Varying | None:
    """The typed contents of an input, if all of them are at its end. Their length varies, and with it the input's."""
    found = parts(data[part.start : part.end], _MAX_PARTS)
    fields = [each.field for each in found or ()]
    if not found or fields[-1] != _CONTENTS or fields.count(_CONTENTS) != 1:
        return None
    before = bytes(data[part.start : part.start + found[-1].length_at])
    size = len(before)
    if size > _MAX_DESCRIBED_BYTES:
        return None
    datatype, shape = datatype_of(array), array.shape
    announced = AnnouncedInput(name, datatype, shape, "", "")
    # Floats are on the wire what they are in memory, if they are all that there is.
    head = wire.head(ALIKE[datatype], array.nbytes) if datatype in (FP32, FP64) else b""
    floats_at, whole = len(head), len(head) + array.nbytes

    def place(data: Data, position: int) -> tuple[int, int]:
        start, end = _delimited(data, position)
        position = start + size
        if data[start:position] != before:
            raise ValueError
        contents = _delimited(data, position)
        if contents[1] != end or (not head and are_read_here(contents[1] - contents[0], len(data))):
            raise ValueError
        return contents

    def read(data: Data) -> Array:
        if head and len(data) == whole and data[:floats_at] == head:
            return np.ndarray(shape, datatype.dtype, data, floats_at).copy()
        return decode_contents(announced, parse(data, pb.InferTensorContents))

    return _Varying(part.length_at, part.end, place, name, read)


def _delimited(data: Data, position: int) -> tuple[int, int]:
    """A gap whose length stands before it."""
    size = data[position]
    start = position + 1
    if size >= _MORE:
        size, start = read_varint(data, position)
    return start, start + size


def _text(data: Data) -> str:
    return str(data, "utf-8")
