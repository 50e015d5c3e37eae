"""Inference requests and their answers over gRPC. Tensors go as raw bytes, and come as whatever a server sends."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.client.errors import NoServerError
from kserve_v2.client.request import ParameterValue, Request
from kserve_v2.client.result import InferResult
from kserve_v2.errors import ServingError
from kserve_v2.protobuf_json import set_parameter
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, Array, datatype_of
from kserve_v2.tensors.raw import decode_raw_tensor, encode_raw_tensor
from kserve_v2.tensors.strings import flat_bytes

FINAL_RESPONSE = "triton_final_response"
"""Response parameter of streams: whether it is the last one."""

WANT_EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
"""Request parameter: end a stream of responses with one that says so, if the last one does not."""


def encode_request(request: Request) -> pb.ModelInferRequest:
    """The message of a request."""
    message = pb.ModelInferRequest(model_name=request.model, model_version=request.version, id=request.id)
    for name, value in request.parameters.items():
        set_parameter(message.parameters[name], value)
    for name, array in request.inputs.items():
        message.inputs.add(name=name, datatype=datatype_of(array).name, shape=array.shape)
        message.raw_input_contents.append(bytes(encode_raw_tensor(array)))
    for name in request.outputs:
        output = message.outputs.add(name=name)
        if name in request.classes:
            output.parameters["classification"].int64_param = request.classes[name]
    return message


def decode_answer(message: pb.ModelInferResponse) -> InferResult:
    """Raises NoServerError for an answer that makes no sense."""
    try:
        return _result(message)
    except (ServingError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise NoServerError(f"the server's answer cannot be read: {error}") from error


def _result(message: pb.ModelInferResponse) -> InferResult:
    raw = iter(message.raw_output_contents)
    is_raw = bool(message.raw_output_contents)
    outputs: dict[str, Array] = {}
    for output in message.outputs:
        announced = AnnouncedInput(
            output.name, BY_NAME[output.datatype], list(output.shape), message.model_name, ""
        )
        if is_raw:
            data = next(raw, None)
            if data is None:
                raise ValueError(f"output '{output.name}' has no contents")
            outputs[output.name] = decode_raw_tensor(announced, data)
        else:
            outputs[output.name] = _typed(announced, output.contents)
    return InferResult(
        outputs,
        id=message.id,
        model_name=message.model_name,
        model_version=message.model_version,
        parameters=_parameters(message.parameters),
    )


def _typed(announced: AnnouncedInput, contents: Any) -> Array:
    """An output in typed contents, as servers may have it."""
    datatype = announced.datatype
    if not datatype.contents_field:
        raise ValueError(f"output '{announced.name}' is {datatype.name}, which has to come as raw bytes")
    values = getattr(contents, datatype.contents_field)
    if datatype is BYTES:
        return flat_bytes(list(values)).reshape(announced.shape)
    return np.array(values, datatype.dtype).reshape(announced.shape)


def _parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, ParameterValue]:
    found: dict[str, ParameterValue] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None and name != FINAL_RESPONSE:
            found[name] = getattr(parameter, kind)
    return found
