"""The inference request and response of the REST protocol, with the binary tensor data extension.

Decoding makes views of the body wherever tensors come as bytes; encoding hands out views of the tensors. The
texts of the errors are Triton's; where Triton answers 500 to malformed JSON, this server answers 400.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.base64_texts import (
    BASE64,
    CONTENT_TYPE,
    check_bytes,
    decode_base64_data,
    raw_base64,
)
from kserve_v2.json_data.large import BASE64_TEXTS, TEXTS, Gaps, is_large, shown, shown_at_once
from kserve_v2.json_data.tensors import (
    decode_json_data,
    decode_plain_input,
    with_literals,
)
from kserve_v2.json_data.text import leading_object_bytes, parse_json
from kserve_v2.memory.large_texts import LargeTexts, written_raw
from kserve_v2.memory.large_texts import is_large as has_many_texts
from kserve_v2.memory.regions import PARAMETERS, REGION, RegionPart, SharedMemoryRegions
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.answer_text import Parts
from kserve_v2.net.limits import check_dimensions, check_id
from kserve_v2.rest.file_kinds import kind_of_file
from kserve_v2.rest.members import boolean, optional, string, unsigned
from kserve_v2.rest.parameters import decode_parameters
from kserve_v2.rest.raw_request import decode_raw_request
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import Slices
from kserve_v2.tensors.announced import AnnouncedInput, datatype_by_name, named_twice
from kserve_v2.tensors.classification import classify
from kserve_v2.tensors.datatypes import BF16, BY_DTYPE, BYTES, FP16
from kserve_v2.tensors.raw import decode_raw_tensor, encode_raw_tensor

# Members of an input's parameters that say where its data is, if it is not in `data`.
_PARAMETER_SOURCES = ("binary_data_size", REGION)

_NOT_BLANK = re.compile(rb"\S")

# More digits than any body's length has, sign included.
_MAX_LENGTH_DIGITS = 20

Body = bytes | bytearray | memoryview

TextsByPlace = Mapping[tuple[int, int], LargeTexts]
"""Raw BYTES tensors by where they begin behind the JSON, and their size in bytes."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """How one output is to be sent: as bytes behind the JSON, or in it as `base64`, and reduced to its `classification`
    highest values (0: whole); or not at all, but put into `shared_memory`.
    """

    binary: bool = False
    classification: int = 0
    shared_memory: RegionPart | None = None
    base64: bool = False


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """How the outputs of one answer are to be sent: those named, and all others."""

    named: Mapping[str, OutputFormat] = field(default_factory=dict)
    default: OutputFormat = OutputFormat()


ALL_JSON = ResponseFormat()
ALL_BINARY = ResponseFormat(default=OutputFormat(binary=True))


class EncodedResponse(NamedTuple):
    """An answer's body in parts: JSON, and binary tensors behind it. `json_bytes`: how much of it is JSON, 0 if all is.
    `headers`: of the model's own.
    """

    parts: Parts
    json_bytes: int = 0
    headers: Sequence[tuple[bytes, bytes]] = ()


def decode_request(
    body: Body,
    header_length: bytes | None,
    signature: ModelSignature,
    model_version: str,
    regions: SharedMemoryRegions,
    document: Any = None,
    texts: TextsByPlace = MappingProxyType({}),
) -> tuple[InferRequest, ResponseFormat]:
    """Decode the body of an inference request. `document`: what `json_data.large.parse_large` has made of its JSON.
    `texts`: raw tensors behind the JSON that have been read.

    `header_length`: value of the Inference-Header-Content-Length header, None where there is none and all is
    JSON; without any JSON the body is a raw request. `regions`: where tensors in shared memory are. Raises
    InvalidArgumentError that names the member or input, and as `SharedMemoryRegions.part`.
    """
    json_length = len(body) if header_length is None else _json_length(header_length, len(body))
    if json_length == 0:
        return decode_raw_request(body, signature, model_version), ALL_BINARY
    if document is None:
        try:
            document = parse_json(body, json_length)
        except InvalidArgumentError as error:
            raise _explained(error, body, header_length) from None
    elif isinstance(document, InvalidArgumentError):
        raise _explained(document, body, header_length)
    if not isinstance(document, dict) or "inputs" not in document:
        raise InvalidArgumentError(
            "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
            f"{_written_for(document, signature)}"
        )
    inputs, outputs = document["inputs"], document.get("outputs")
    if isinstance(inputs, list):
        signature.check_counts(len(inputs), len(outputs) if isinstance(outputs, list) else 0)
    request = InferRequest(signature.model_name, {}, model_version, string(document, "id", default=""))
    check_id(request.id)
    parameters = document.get("parameters")
    binary = parameters is not None and decode_parameters(parameters, request)
    response_format = ALL_BINARY if binary else ALL_JSON
    _decode_inputs(inputs, memoryview(body)[json_length:], request, regions, texts)
    if outputs is not None:
        named = _decode_outputs(outputs, request, regions)
        if named:
            request.requested_outputs, response_format = tuple(named), ResponseFormat(named)
    return request, response_format


def _written_for(document: Any, signature: ModelSignature) -> str:
    """Which operation takes what `infer` does not."""
    if not isinstance(document, dict):
        return ""
    if "instances" in document:
        return " (/v1/models/MODEL:predict takes instances)"
    named = next((f"'{each}'" for each in document if each in signature.inputs), "")
    return f" ({named} is an input: /v2/models/MODEL/generate takes inputs by their names)" if named else ""


def _json_length(header: bytes, body_length: int) -> int:
    if not header.removeprefix(b"-").isdigit() or len(header) > _MAX_LENGTH_DIGITS:
        raise InvalidArgumentError(
            f"Unable to parse Inference-Header-Content-Length, got: {header.decode('latin-1')}"
        )
    length = int(header)
    if not 0 <= length <= body_length:
        raise InvalidArgumentError(
            f"inference header size should be in range (0, {body_length}), got: {length}"
        )
    return length


def _explained(error: InvalidArgumentError, body: Body, header_length: bytes | None) -> InvalidArgumentError:
    """An error of the JSON parser, with what is likely to be behind it where tensors may follow the JSON."""
    size = len(body)
    if header_length is not None:
        hint = f"Inference-Header-Content-Length says that {int(header_length)} of the body's {size} bytes are JSON"
        return InvalidArgumentError(f"{error.message} ({hint})") if int(header_length) < size else error
    kind = kind_of_file(body)
    if kind:
        # Most likely somebody wants to send it as it is.
        return InvalidArgumentError(
            f"{error.message} (the body looks like {kind}; infer takes JSON: /v2/models/MODEL/generate takes files "
            "with their Content-Type, and forms)"
        )
    end = leading_object_bytes(body)
    if not end or not _NOT_BLANK.search(body, end):
        return error
    return InvalidArgumentError(
        f"{error.message} (the JSON ends at {end}, and {size - end} bytes follow it: if they are binary tensors, the "
        f"header 'Inference-Header-Content-Length: {end}' is missing)"
    )


def _decode_inputs(
    inputs: Any,
    binary: memoryview,
    request: InferRequest,
    regions: SharedMemoryRegions,
    texts: TextsByPlace,
) -> None:
    """Add the inputs to the request. `binary` is what follows the JSON: the raw tensors in the order of
    `inputs`. `texts`: those that have been read.
    """
    if not isinstance(inputs, list):
        raise InvalidArgumentError("Unable to parse 'inputs': attempt to access JSON non-array as array")
    offset = 0
    for item in inputs:
        plain = decode_plain_input(item)
        if plain is not None and item["name"] not in request.inputs:
            request.inputs[item["name"]] = plain
            continue
        source = _data_source(item, regions)
        announced = _announced_input(item, request)
        if source == "data":
            array = decode_json_data(announced, item["data"])
        elif source == BASE64:
            array = decode_base64_data(announced, item["data"])
        elif source == REGION:
            part = _region_part(item["parameters"], announced.name, regions)
            assert part is not None  # noqa: S101 - it names one
            array = decode_raw_tensor(announced, part.read())
        else:
            size = unsigned(item["parameters"]["binary_data_size"], "binary_data_size")
            missing = offset + size - len(binary)
            if missing > 0:
                raise InvalidArgumentError(
                    f"unexpected size for input '{announced.name}', expecting {missing} additional bytes "
                    f"for model '{request.model_name}'"
                )
            read = texts.get((offset, size)) if announced.datatype is BYTES else None
            data = binary[offset : offset + size]
            array = decode_raw_tensor(announced, data) if read is None else read.tensor(announced)
            offset += size
        request.inputs[announced.name] = array
    if offset != len(binary):
        raise InvalidArgumentError(f"unexpected additional input data for model '{request.model_name}'")


def _announced_input(item: Mapping[str, Any], request: InferRequest) -> AnnouncedInput:
    name = string(item, "name")
    datatype = datatype_by_name(string(item, "datatype"), name)
    shape = item.get("shape")
    if not isinstance(shape, list):
        problem = "JSON non-array as array" if "shape" in item else "non-existing object member 'shape'"
        raise InvalidArgumentError(f"Unable to parse 'shape': attempt to access {problem}")
    for size in shape:
        unsigned(size, "shape")
    check_dimensions(shape, name)
    if name in request.inputs:
        raise named_twice("input", name, request.id)
    return AnnouncedInput(name, datatype, shape, request.model_name, request.id)


def _data_source(item: Any, regions: SharedMemoryRegions) -> str:
    """Which member says where an input's data is; exactly one of them is there. "base64" for `data` in that form."""
    parameters = item.get("parameters") if isinstance(item, dict) else None
    if not isinstance(parameters, dict):
        parameters = {}
    found = ["data"] if isinstance(item, dict) and item.get("data") is not None else []
    found += [name for name in _PARAMETER_SOURCES if parameters.get(name) is not None]
    if parameters and REGION not in found:
        # It must not say where in a region, either.
        _region_part(parameters, str(item.get("name")), regions)
    if len(found) != 1:
        set_fields = " ".join(f"'{name}'" for name in found)
        raise InvalidArgumentError(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
            f"'shared_memory_region' in 'parameters'. But {f'set {set_fields}' if set_fields else 'no field is set'}"
        )
    (source,) = found
    if parameters.get(CONTENT_TYPE) != BASE64:
        return source
    if source == "data":
        return BASE64
    raise raw_base64(source, str(item.get("name")))


def _region_part(
    parameters: Mapping[str, Any], tensor: str, regions: SharedMemoryRegions
) -> RegionPart | None:
    """Where a tensor lies in shared memory, if it does. Raises as `SharedMemoryRegions.announced`."""

    def read(name: str) -> Any:
        return string(parameters, name) if name == REGION else unsigned(parameters[name], name)

    return regions.announced([name for name in PARAMETERS if parameters.get(name) is not None], tensor, read)


def _decode_outputs(
    outputs: Any, request: InferRequest, regions: SharedMemoryRegions
) -> dict[str, OutputFormat]:
    """The outputs that are asked for by name, and how each is to be sent; an empty list asks for all."""
    if not isinstance(outputs, list):
        raise InvalidArgumentError("Unable to parse 'outputs': attempt to access JSON non-array as array")
    named: dict[str, OutputFormat] = {}
    for item in outputs:
        name = string(item if isinstance(item, dict) else {}, "name")
        if name in named:
            raise named_twice("output", name, request.id)
        named[name] = _decode_output_format(item.get("parameters"), name, regions)
    return named


def _decode_output_format(parameters: Any, name: str, regions: SharedMemoryRegions) -> OutputFormat:
    if not isinstance(parameters, dict):
        return OutputFormat()
    binary = boolean(optional(parameters, "binary_data", False), "binary_data")
    classification = unsigned(optional(parameters, "classification", 0), "classification", "set")
    encoded = parameters.get(CONTENT_TYPE) == BASE64
    if binary and encoded:
        raise InvalidArgumentError(
            f"Output can't set both 'binary_data' and '{CONTENT_TYPE}' to '{BASE64}' (output '{name}')"
        )
    if parameters.get(REGION) is not None and (binary or classification or encoded):
        other = "binary_data" if binary else "classification" if classification else CONTENT_TYPE
        raise InvalidArgumentError(f"Output can't set both '{REGION}' and '{other}' (output '{name}')")
    return OutputFormat(binary, classification, _region_part(parameters, name, regions), encoded)


def encode_response(
    response: InferResponse,
    response_format: ResponseFormat,
    labels: Mapping[str, Sequence[str]],
    *,
    batched: bool,
    said: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Slices[EncodedResponse]:
    """Encode an answer as the request asked for it, in one slice unless it is large. Outputs that shared memory takes
    are written there.

    `labels`: label texts by output, for classification. `batched`: whether axis 0 is a batch. `said`: further
    parameters by output. Raises
    InvalidArgumentError for an output that cannot be sent as it was asked for, InternalError for one that does
    not fit into its shared memory.
    """
    gaps = Gaps()
    entries: list[dict[str, Any]] = []
    binary: list[bytes | memoryview] = []
    for name, whole in response.outputs.items():
        output_format = response_format.named.get(name, response_format.default)
        array = whole
        if output_format.classification:
            count = output_format.classification
            array = yield from classify(whole, count, labels.get(name, ()), batched=batched)
        datatype = BY_DTYPE[array.dtype]
        entry: dict[str, Any] = {"name": name, "datatype": datatype.name, "shape": array.shape}
        if output_format.binary:
            pieces = (yield from written_raw(array)) if has_many_texts(array) else (encode_raw_tensor(array),)
            size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
            entry["parameters"] = {"binary_data_size": size}
            if size:
                binary += pieces
        elif output_format.shared_memory is not None:
            output_format.shared_memory.write(encode_raw_tensor(array), name)
        else:
            as_json = TEXTS
            if output_format.base64:
                check_bytes(array, name)
                entry["parameters"], as_json = {CONTENT_TYPE: BASE64}, BASE64_TEXTS
            elif datatype is FP16 or datatype is BF16:
                raise InvalidArgumentError(
                    f"sending {datatype.name} data via JSON is not supported. "
                    f"Please use the binary data format for output '{name}'"
                )
            flat = array.reshape(-1)
            large = is_large(flat)
            entry["data"] = (
                (yield from shown(flat, name, gaps, as_json)) if large else shown_at_once(flat, name, as_json)
            )
        if name in said:
            entry["parameters"] = said[name] | entry.get("parameters", {})
        entries.append(entry)
    document: dict[str, Any] = {"id": response.id} if response.id else {}
    document["model_name"] = response.model_name
    document["model_version"] = response.model_version
    if response.parameters:
        document["parameters"] = with_literals(response.parameters)
    document["outputs"] = entries
    text = gaps.fill(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
    return EncodedResponse([*text, *binary], sum(map(len, text))) if binary else EncodedResponse(text)
