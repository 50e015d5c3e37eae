"""Inference messages of the gRPC protocol to requests and back. Protobuf objects stop here.

Outputs always travel in `raw_output_contents`, as Triton's do. The texts of the errors are Triton's.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError, request_prefix
from kserve_v2.memory.large_texts import LargeTexts
from kserve_v2.memory.regions import RegionPart, SharedMemoryRegions
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.limits import check_dimensions, check_id, check_parameters
from kserve_v2.protobuf_json import set_parameter
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Parts
from kserve_v2.rpc.received import RawContents, TypedContents
from kserve_v2.rpc.shared_memory import region_part
from kserve_v2.scheduling.slices import at_once
from kserve_v2.scheduling.verbatim import take_said
from kserve_v2.tensors.announced import AnnouncedInput, named_twice, unknown_datatype
from kserve_v2.tensors.classification import classify
from kserve_v2.tensors.datatypes import BOOL, BY_DTYPE, BY_NAME, BYTES, FP32, FP64, Array
from kserve_v2.tensors.numbers import array_of_numbers
from kserve_v2.tensors.raw import decode_raw_tensor, encode_raw_tensor
from kserve_v2.tensors.strings import bytes_array
from kserve_v2.tensors.varints import Integers
from kserve_v2.verbatim import TENSORS

ALIKE = {
    datatype: pb.InferTensorContents.DESCRIPTOR.fields_by_name[datatype.contents_field].number
    for datatype in (BOOL, FP32, FP64)
}
"""Datatypes whose typed contents are on the wire what they are in memory, with the numbers of their fields."""

# Parameters that the server itself acts on, and the types that they may have.
_CONTROL: dict[str, tuple[str, ...]] = {
    "sequence_id": ("int64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
    "priority": ("int64_param", "uint64_param"),
    "timeout": ("int64_param",),
}

COPIED_BYTES = 64 * 1024
"""Outputs up to this size are copied into the answer; larger ones are sent without a copy."""

_RAW_OUTPUTS = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER

EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
"""Accepted on every request, with an effect on streams alone: end a decoupled model's responses with a message
of their own.
"""

OutputForms = Mapping[str, int | RegionPart]
"""The outputs that are not sent whole: how many classes are asked for, or the shared memory that takes the output."""

WHOLE: OutputForms = {}
"""All outputs are sent whole."""


def decode_request(
    message: pb.ModelInferRequest,
    regions: SharedMemoryRegions,
    raw: Sequence[RawContents] = (),
    typed: Mapping[int, TypedContents] = MappingProxyType({}),
) -> tuple[InferRequest, OutputForms]:
    """The request, and the outputs that are not to be sent whole. `raw`, `typed`: as in `received.Received`.

    Arrays of raw contents are views of their bytes, those of shared memory views of it. Raises
    InvalidArgumentError that names the tensor or parameter, and as `SharedMemoryRegions.part`.
    """
    request = InferRequest(message.model_name, {}, message.model_version, message.id)
    check_id(request.id)
    check_parameters(len(message.parameters))
    _decode_parameters(message.parameters, request)
    # Every access to an element of this field makes a new bytes object: read each once.
    given: Sequence[bytes | RawContents] = raw or message.raw_input_contents
    raw_contents: Iterator[bytes | RawContents] | None = iter(given) if given else None
    shared_name = ""
    for number, tensor in enumerate(message.inputs):
        name = tensor.name
        if name in request.inputs:
            raise named_twice("input", name, request.id)
        part = region_part(tensor.parameters, name, regions) if tensor.parameters else None
        if part is not None:
            shared_name = name
        data: bytes | RawContents | TypedContents | None = _data(tensor, part, raw_contents, request)
        if data is None and typed:
            data = typed.get(number)
        request.inputs[name] = _decode_input(tensor, data, request)
    if shared_name and raw_contents is not None:
        _check_none_left(raw_contents, shared_name, request)
    forms: OutputForms = {}
    if message.outputs:
        request.requested_outputs, forms = _decode_outputs(message.outputs, request, regions)
    return request, forms


def _data(
    tensor: pb.ModelInferRequest.InferInputTensor,
    part: RegionPart | None,
    raw_contents: Iterator[bytes | RawContents] | None,
    request: InferRequest,
) -> bytes | RawContents | None:
    """The bytes of an input, None if they are in its typed contents. `part`: of the shared memory where it lies."""
    has_contents = tensor.HasField("contents")
    of_input = f"for input tensor '{tensor.name}' for model '{request.model_name}'"
    if part is not None:
        if has_contents:
            raise InvalidArgumentError(f"unexpected 'content' provided when using shared memory {of_input}")
        return part.read()
    if has_contents:
        if raw_contents is None:
            return None
        raise InvalidArgumentError(
            f"contents field must not be specified when using raw_input_contents for '{tensor.name}' "
            f"for model '{request.model_name}'"
        )
    raw = next(raw_contents, None) if raw_contents is not None else None
    if raw is None:
        raise InvalidArgumentError(f"unable to find data {of_input} in request.")
    return raw


def _check_none_left(
    raw_contents: Iterator[bytes | RawContents], shared_name: str, request: InferRequest
) -> None:
    """Raise InvalidArgumentError if there are more raw contents than inputs that are not in shared memory: the others
    may have got what was meant for it.
    """
    left = sum(1 for _ in raw_contents)
    if left:
        raise InvalidArgumentError(
            f"unexpected 'content' provided when using shared memory for input tensor '{shared_name}' for model "
            f"'{request.model_name}': raw_input_contents has {left} more than there are inputs without a region"
        )


def _decode_input(
    tensor: pb.ModelInferRequest.InferInputTensor,
    raw: bytes | RawContents | TypedContents | None,
    request: InferRequest,
) -> Array:
    """An input from its raw bytes, or from its typed contents if there are none."""
    datatype = BY_NAME.get(tensor.datatype)
    if datatype is None:
        raise unknown_datatype(tensor.datatype, tensor.name, request_prefix(request.id))
    check_dimensions(tensor.shape, tensor.name)
    announced = AnnouncedInput(tensor.name, datatype, list(tensor.shape), request.model_name, request.id)
    if isinstance(raw, LargeTexts):
        if datatype is BYTES:
            return raw.tensor(announced)
        raw = raw.data
    if isinstance(raw, Integers):
        if raw.values.dtype == datatype.dtype:
            return raw.tensor(announced)
        # They are in another field than they should, and there is still one of them in it.
        raw = None
    if raw is None:
        return decode_contents(announced, tensor.contents)
    return decode_raw_tensor(announced, raw)


def decode_contents(announced: AnnouncedInput, contents: pb.InferTensorContents) -> Array:
    """An array of a typed contents field. Raises InvalidArgumentError if another field is filled, the count is wrong,
    or a number is out of range.
    """
    datatype = announced.datatype
    count = announced.element_count()
    number = ALIKE.get(datatype)
    if number is not None and count:
        # To ask protobuf for one element after the other takes ten times as long.
        before = wire.head(number, count * datatype.item_size)
        data = contents.SerializeToString()
        if len(data) == len(before) + count * datatype.item_size and data.startswith(before):
            return np.ndarray(announced.shape, datatype.dtype, data, len(before)).copy()
        # Some of it is in another field, or one that we do not know, or there are more of them or less.
    values: Any = ()
    for field, values in contents.ListFields():  # noqa: B007 - of the only one, or there is an error
        if field.name != datatype.contents_field:
            raise InvalidArgumentError(
                f"unexpected explicit tensor data for input tensor '{announced.name}' for model "
                f"'{announced.model_name}': {field.name} is filled, but datatype '{datatype.name}' expects "
                f"{datatype.contents_field or 'raw_input_contents'}"
            )
    if datatype is BYTES:
        return bytes_array(announced, list(values))
    if len(values) != count:
        raise announced.size_mismatch(count * datatype.item_size, len(values) * datatype.item_size)
    if not count:
        return np.empty(announced.shape, datatype.dtype)
    try:
        return array_of_numbers(values[:], datatype.dtype).reshape(announced.shape)
    except (OverflowError, struct.error):
        raise announced.out_of_range() from None


def _decode_parameters(parameters: Mapping[str, pb.InferParameter], request: InferRequest) -> None:
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if name in _CONTROL:
            _decode_control(name, kind, parameter, request)
        elif name == EMPTY_FINAL_RESPONSE:
            _expect(name, kind, "bool_param")
        elif name.startswith("triton_"):
            raise InvalidArgumentError(
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys "
                f"starting with 'triton_' are allowed: {EMPTY_FINAL_RESPONSE}"
            )
        elif kind in ("bool_param", "int64_param", "string_param", "double_param"):
            request.parameters[name] = getattr(parameter, kind)
        else:
            raise InvalidArgumentError(
                f"invalid value type for '{name}' parameter, expected int64_param, bool_param, or string_param."
            )


def _decode_control(name: str, kind: str | None, parameter: pb.InferParameter, request: InferRequest) -> None:
    """Add a parameter that is for the server. Raises InvalidArgumentError if it has another type."""
    _expect(name, kind, *_CONTROL[name])
    value = getattr(parameter, kind or "")
    if name == "priority" and value < 0:
        raise InvalidArgumentError("invalid value for 'priority', expected value >= 0.")
    if name == "sequence_id" and kind == "int64_param" and value < 0:
        # Triton makes a large positive one of it, which may be another client's.
        raise InvalidArgumentError("invalid value for 'sequence_id', expected value >= 0.")
    # Triton reads a negative number as the unsigned one with the same bits.
    request.control[name] = value % 2**64 if kind == "int64_param" else value


def _expect(name: str, kind: str | None, *expected: str) -> None:
    if kind not in expected:
        raise InvalidArgumentError(
            f"invalid value type for '{name}' parameter, expected {' or '.join(expected)}."
        )


def _decode_outputs(
    outputs: Sequence[pb.ModelInferRequest.InferRequestedOutputTensor],
    request: InferRequest,
    regions: SharedMemoryRegions,
) -> tuple[tuple[str, ...], OutputForms]:
    names: dict[str, None] = {}
    forms: dict[str, int | RegionPart] = {}
    for output in outputs:
        if output.name in names:
            raise named_twice("output", output.name, request.id)
        names[output.name] = None
        if output.parameters:
            part = region_part(output.parameters, output.name, regions)
            count = _decode_classification(output.parameters)
            if part is not None and count:
                raise InvalidArgumentError(
                    f"output can't set both 'shared_memory_region' and 'classification' (output '{output.name}')"
                )
            form = part or count
            if form:
                forms[output.name] = form
    return tuple(names), forms


def _decode_classification(parameters: Mapping[str, pb.InferParameter]) -> int:
    if "classification" not in parameters:
        return 0
    parameter = parameters["classification"]
    if parameter.WhichOneof("parameter_choice") != "int64_param":
        raise InvalidArgumentError("invalid value type for 'classification' parameter, expected int64_param")
    if parameter.int64_param <= 0:
        raise InvalidArgumentError("invalid value for 'classification' parameter, expected >= 0")
    return parameter.int64_param


def encode_response(
    response: InferResponse,
    forms: OutputForms,
    labels: Mapping[str, Sequence[str]],
    *,
    batched: bool,
    written: Mapping[str, Sequence[bytes]] = MappingProxyType({}),
) -> Parts:
    """The answer: a message, and behind it its last field, the raw contents, the large ones without a copy. Outputs
    that shared memory takes are written there. `labels`: label texts by output. `written`: outputs that are raw bytes
    already, in pieces. Of what a model says of its outputs, that for which the protocol has no form is left out.

    Raises InternalError where they do not fit.
    """
    said = take_said(response) if TENSORS in response.parameters else {}
    message = pb.ModelInferResponse(
        model_name=response.model_name, model_version=response.model_version, id=response.id
    )
    raw: list[bytes | memoryview] = []
    for name, whole in response.outputs.items():
        form = forms.get(name)
        array = whole
        if isinstance(form, int):
            array = at_once(classify(whole, form, labels.get(name, ()), batched=batched))
        # Field by field: keyword arguments cost twice the time.
        output = message.outputs.add()
        output.name = name
        output.datatype = BY_DTYPE[array.dtype].name
        output.shape.extend(array.shape)
        for key, value in said.get(name, {}).items():
            if isinstance(value, bool | int | float | str):
                set_parameter(output.parameters[key], value)
        if name in written:
            raw += (wire.head(_RAW_OUTPUTS, sum(map(len, written[name]))), *written[name])
            continue
        if isinstance(form, RegionPart):
            form.write(encode_raw_tensor(array), name)
            content: bytes | memoryview = b""
        elif array.dtype == BYTES.dtype or array.nbytes > COPIED_BYTES:
            content = encode_raw_tensor(array)
        else:
            content = array.tobytes()
        raw += (wire.head(_RAW_OUTPUTS, len(content)), content)
    for name, value in response.parameters.items():
        set_parameter(message.parameters[name], value)
    return message.SerializeToString(), *raw
