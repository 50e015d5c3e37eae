"""The inference request and response of the REST protocol, with the binary tensor data extension.

Decoding makes views of the body wherever tensors come as bytes; encoding hands out views of the tensors. The
texts of the errors are Triton's; where Triton answers 500 to malformed JSON, this server answers 400.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kserve_v2.announced_input import AnnouncedInput, datatype_by_name
from kserve_v2.classification import classify
from kserve_v2.datatypes import BY_DTYPE, BY_NAME
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.raw_tensor import decode_raw_tensor, encode_raw_tensor
from kserve_v2.rest.json_tensor import (
    decode_json_data,
    decode_plain_numbers,
    encode_json_data,
    with_literals,
)
from kserve_v2.signature import request_prefix

# Parameters that steer the answer's encoding, and never reach a model.
_BINARY_DATA_OUTPUT = "binary_data_output"


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """How one output is to be sent: as bytes behind the JSON, and reduced to its `classification` highest
    values (0: whole).
    """

    binary: bool = False
    classification: int = 0


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """How the outputs of one answer are to be sent: those named, and all others."""

    named: Mapping[str, OutputFormat] = field(default_factory=dict)
    default: OutputFormat = OutputFormat()


ALL_JSON = ResponseFormat()
ALL_BINARY = ResponseFormat(default=OutputFormat(binary=True))


@dataclass(frozen=True, slots=True)
class EncodedResponse:
    """An answer's body in parts, and the length of its JSON part if binary tensors follow it (else None)."""

    parts: tuple[bytes | memoryview, ...]
    header_length: int | None


def parse_json(text: bytes | bytearray | memoryview) -> Any:
    """Parse JSON. NaN and infinities are accepted as bare literals. Raises InvalidArgumentError that says
    where it fails.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_unusual_json(bytes(text))


def _parse_unusual_json(text: bytes) -> Any:
    try:
        document = json.loads(text)
        if b"\\u" in text:
            # An escape can spell half a surrogate pair, which no answer could repeat.
            json.dumps(document, ensure_ascii=False).encode()
        return document  # noqa: TRY300 - every other way out of here is an error
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at {error.pos}" if text.strip() else "The document is empty. at 0"
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8 at {error.start}"
    except UnicodeEncodeError:
        reason = "The surrogate pair in string is invalid."
    except RecursionError:
        reason = "JSON nesting depth exceeds maximum allowed limit"
    except ValueError:
        # Python refuses to read integers of thousands of digits.
        reason = "Number too big to be stored in double."
    raise InvalidArgumentError(f"failed to parse the request JSON buffer: {reason}")


def decode_request(
    body: bytes | bytearray, header_length: bytes | None, model_name: str, model_version: str
) -> tuple[InferRequest, ResponseFormat]:
    """Decode the body of an inference request.

    `header_length`: value of the Inference-Header-Content-Length header, None where there is none and all is
    JSON. Raises InvalidArgumentError that names the member or input.
    """
    json_length = len(body) if header_length is None else _json_length(header_length, len(body))
    view = memoryview(body)
    document = parse_json(view[:json_length])
    if not isinstance(document, dict) or "inputs" not in document:
        raise InvalidArgumentError(
            "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
        )
    request = InferRequest(model_name, {}, model_version, _string(document, "id", default=""))
    parameters = document.get("parameters")
    if parameters is not None or "parameters" in document:
        request.parameters, binary = _decode_parameters(parameters)
        response_format = ALL_BINARY if binary else ALL_JSON
    else:
        response_format = ALL_JSON
    _decode_inputs(document["inputs"], view[json_length:], request)
    outputs = document.get("outputs")
    if outputs is not None or "outputs" in document:
        request.requested_outputs, response_format = _decode_outputs(outputs, response_format, request)
    return request, response_format


def _json_length(header: bytes, body_length: int) -> int:
    try:
        length = int(header)
    except ValueError:
        raise InvalidArgumentError(
            f"Unable to parse Inference-Header-Content-Length, got: {header.decode('latin-1')}"
        ) from None
    if not 0 <= length <= body_length:
        raise InvalidArgumentError(
            f"inference header size should be in range (0, {body_length}), got: {length}"
        )
    return length


def _string(document: Mapping[str, Any], member: str, default: str | None = None) -> str:
    value = document.get(member, default)
    if isinstance(value, str):
        return value
    if member in document:
        raise InvalidArgumentError(f"Unable to parse '{member}': attempt to access JSON non-string as string")
    raise InvalidArgumentError(
        f"Unable to parse '{member}': attempt to access non-existing object member '{member}'"
    )


def _decode_parameters(parameters: Any) -> tuple[dict[str, ParameterValue], bool]:
    """The request's own parameters, and whether outputs are binary unless they say otherwise."""
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("failed to get request params.: attempt to get members for non-object")
    decoded: dict[str, ParameterValue] = {}
    for name, value in parameters.items():
        if name.startswith("triton_"):
            raise InvalidArgumentError(
                "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."
            )
        if not isinstance(value, str | bool | int | float):
            raise InvalidArgumentError(
                f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
            )
        decoded[name] = value
    return decoded, _boolean(decoded.pop(_BINARY_DATA_OUTPUT, False), _BINARY_DATA_OUTPUT)


def _boolean(value: Any, member: str) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidArgumentError(f"Unable to parse '{member}': attempt to access JSON non-boolean as boolean")


def _unsigned(value: Any, member: str) -> int:
    if type(value) is int and value >= 0:
        return value
    raise InvalidArgumentError(
        f"Unable to parse '{member}': attempt to access JSON non-unsigned-integer as unsigned-integer"
    )


def _decode_inputs(inputs: Any, binary: memoryview, request: InferRequest) -> None:
    """Add the inputs to the request. `binary` is what follows the JSON: the raw tensors in the order of
    `inputs`.
    """
    if not isinstance(inputs, list):
        raise InvalidArgumentError("Unable to parse 'inputs': attempt to access JSON non-array as array")
    offset = 0
    for item in inputs:
        if _decode_plain_input(item, request):
            continue
        data, size = _data_source(item)
        announced = _announced_input(item, request)
        if size is None:
            request.inputs[announced.name] = decode_json_data(announced, data)
            continue
        missing = offset + size - len(binary)
        if missing > 0:
            raise InvalidArgumentError(
                f"unexpected size for input '{announced.name}', expecting {missing} additional bytes "
                f"for model '{request.model_name}'"
            )
        request.inputs[announced.name] = decode_raw_tensor(announced, binary[offset : offset + size])
        offset += size
    if offset != len(binary):
        raise InvalidArgumentError(f"unexpected additional input data for model '{request.model_name}'")


def _decode_plain_input(item: Any, request: InferRequest) -> bool:
    """Add an input of the most usual form. False for any other, right or wrong."""
    if type(item) is not dict or "parameters" in item:
        return False
    name, datatype_name = item.get("name"), item.get("datatype")
    if type(name) is not str or type(datatype_name) is not str or name in request.inputs:
        return False
    datatype = BY_NAME.get(datatype_name)
    array = decode_plain_numbers(item.get("data"), datatype, item.get("shape")) if datatype else None
    if array is None:
        return False
    request.inputs[name] = array
    return True


def _announced_input(item: Mapping[str, Any], request: InferRequest) -> AnnouncedInput:
    name = _string(item, "name")
    datatype = datatype_by_name(_string(item, "datatype"), name)
    shape = item.get("shape")
    if not isinstance(shape, list):
        problem = "JSON non-array as array" if "shape" in item else "non-existing object member 'shape'"
        raise InvalidArgumentError(f"Unable to parse 'shape': attempt to access {problem}")
    for size in shape:
        _unsigned(size, "shape")
    if name in request.inputs:
        raise InvalidArgumentError(f"{request_prefix(request.id)}input '{name}' already exists in request")
    return AnnouncedInput(name, datatype, shape, request.model_name, request.id)


def _data_source(item: Any) -> tuple[Any, int | None]:
    """An input's JSON data, or the size of its binary data; exactly one of them is there."""
    parameters = item.get("parameters") if isinstance(item, dict) else None
    if not isinstance(parameters, dict):
        parameters = {}
    if "shared_memory_region" in parameters:
        raise InvalidArgumentError("shared memory regions are not supported: send the tensor's data instead")
    has_data = isinstance(item, dict) and "data" in item
    if has_data == ("binary_data_size" in parameters):
        found = "set 'data' 'binary_data_size'" if has_data else "no field is set"
        raise InvalidArgumentError(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
            f"'shared_memory_region' in 'parameters'. But {found}"
        )
    if has_data:
        return item["data"], None
    return None, _unsigned(parameters["binary_data_size"], "binary_data_size")


def _decode_outputs(
    outputs: Any, default: ResponseFormat, request: InferRequest
) -> tuple[tuple[str, ...], ResponseFormat]:
    """The outputs that are asked for by name, and how each is to be sent; an empty list asks for all."""
    if not isinstance(outputs, list):
        raise InvalidArgumentError("Unable to parse 'outputs': attempt to access JSON non-array as array")
    named: dict[str, OutputFormat] = {}
    for item in outputs:
        name = _string(item if isinstance(item, dict) else {}, "name")
        if name in named:
            raise InvalidArgumentError(
                f"{request_prefix(request.id)}output '{name}' already exists in request"
            )
        named[name] = _decode_output_format(item.get("parameters"))
    return tuple(named), ResponseFormat(named) if named else default


def _decode_output_format(parameters: Any) -> OutputFormat:
    if not isinstance(parameters, dict):
        return OutputFormat()
    if "shared_memory_region" in parameters:
        raise InvalidArgumentError(
            "shared memory regions are not supported: take the output from the response instead"
        )
    return OutputFormat(
        binary=_boolean(parameters.get("binary_data", False), "binary_data"),
        classification=_unsigned(parameters.get("classification", 0), "classification"),
    )


def encode_response(
    response: InferResponse,
    response_format: ResponseFormat,
    labels: Mapping[str, Sequence[str]],
    *,
    batched: bool,
) -> EncodedResponse:
    """Encode an answer as the request asked for it.

    `labels`: label texts by output, for classification. `batched`: whether axis 0 is a batch. Raises
    InvalidArgumentError for an output that cannot be sent as it was asked for.
    """
    entries: list[dict[str, Any]] = []
    binary: list[bytes | memoryview] = []
    for name, whole in response.outputs.items():
        output_format = response_format.named.get(name, response_format.default)
        array = whole
        if output_format.classification:
            array = classify(whole, output_format.classification, labels.get(name, ()), batched=batched)
        entry: dict[str, Any] = {"name": name, "datatype": BY_DTYPE[array.dtype].name, "shape": array.shape}
        if output_format.binary:
            raw = encode_raw_tensor(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            if len(raw):
                binary.append(raw)
        else:
            entry["data"] = encode_json_data(array, name)
        entries.append(entry)
    header = _dump(_document(response, entries))
    return EncodedResponse((header, *binary), len(header) if binary else None)


def _document(response: InferResponse, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {"id": response.id} if response.id else {}
    document["model_name"] = response.model_name
    document["model_version"] = response.model_version
    if response.parameters:
        document["parameters"] = response.parameters
    document["outputs"] = outputs
    return document


def _dump(document: dict[str, Any]) -> bytes:
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for NaN and the infinities, and nothing else in an answer is null: look closer only
    # where one is.
    if b"null" in text:
        for entry in document["outputs"]:
            if "data" in entry:
                entry["data"] = with_literals(entry["data"])
        text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return text
