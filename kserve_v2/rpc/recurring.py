"""The forms of `ModelInferRequest`: what differs is the field `id`, and the raw contents of the inputs, or their typed
contents where each element takes the same number of bytes. See `kserve_v2.forms`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.forms import MAX_PREFIXED, PREFIXED, Data, Form, Forms, Gap, bare, raw_reader
from kserve_v2.messages import InferRequest
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.wire import Part, parts, tag
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BOOL, FP32, FP64, Array

_Tensor = pb.ModelInferRequest.InferInputTensor

_ID = pb.ModelInferRequest.ID_FIELD_NUMBER
_INPUTS = pb.ModelInferRequest.INPUTS_FIELD_NUMBER
_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_CONTENTS = _Tensor.CONTENTS_FIELD_NUMBER

# The fields of typed contents whose elements are as long in a message as in an array.
_TYPED = {
    datatype.name: pb.InferTensorContents.DESCRIPTOR.fields_by_name[datatype.contents_field].number
    for datatype in (FP32, FP64, BOOL)
}

# A request is decoded each time if it has more fields than this.
_MAX_PARTS = 64

# The fewest bytes that a field takes: its tag and its length.
_MIN_FIELD_BYTES = 2
_ID_TAG = tag(_ID)
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
    tensors = _tensors(data, found, message)
    ids = [part for part in found if part.field == _ID]
    if tensors is None or len(ids) > 1:
        return None
    named: list[tuple[Part, str | None]] = [(part, None) for part in ids]
    named += zip(tensors, request.inputs, strict=True)
    gaps, position = [], 0
    for part, name in sorted(named):
        length, start = part.end - part.start, part.start
        read: Callable[[Data], Any] = _text
        if name is not None:
            array = request.inputs[name]
            read = _reader(array, typed=part.field != _RAW)
        elif data[start - 2] == _ID_TAG and length == data[start - 1] <= MAX_PREFIXED:
            # A length in more bytes than it needs would be another one with another last byte.
            length, start = PREFIXED, start - 1
        before = bytes(data[position:start])
        gaps.append(Gap(before, len(before), length, name, read))
        position = part.end
    return Form(tuple(gaps), bytes(data[position:]), bare(request), signature, None)


def _tensors(data: Serialized, found: list[Part], message: pb.ModelInferRequest) -> list[Part] | None:
    """Where the contents of the inputs are, in their order. None if there are not just as many."""
    tensors = [part for part in found if part.field == _RAW]
    if not tensors:
        inputs = (part for part in found if part.field == _INPUTS)
        typed = (
            _typed(data, part, each.datatype) for part, each in zip(inputs, message.inputs, strict=False)
        )
        tensors = [part for part in typed if part is not None]
    elif any(tensor.HasField("contents") for tensor in message.inputs):
        return None
    return tensors if len(tensors) == len(message.inputs) else None


def _typed(data: Serialized, tensor: Part, datatype: str) -> Part | None:
    """Where the typed contents of an input are; None if not all of them are in one place."""
    place: Part | None = tensor
    for field in (_CONTENTS, _TYPED.get(datatype)):
        inner = parts(data[place.start : place.end], _MAX_PARTS) if place is not None else None
        of_field = [part for part in inner or () if part.field == field]
        if place is None or len(of_field) != 1:
            return None
        _, start, end = of_field[0]
        place = Part(tensor.field, place.start + start, place.start + end)
    return place


def _reader(like: Array, *, typed: bool) -> Callable[[Data], Array]:
    """Reads the contents of a tensor."""
    raw = raw_reader(like.dtype, like.shape)

    def read(data: Data) -> Array:
        # Models get an array of their own, as of all typed contents.
        array = raw(data).copy()
        if like_booleans and array.view(np.uint8).max(initial=0) > 1:
            # It has a byte of a longer number.
            raise ValueError
        return array

    like_booleans = like.dtype == BOOL.dtype
    return read if typed else raw


def _text(data: Data) -> str:
    return str(data, "utf-8")
