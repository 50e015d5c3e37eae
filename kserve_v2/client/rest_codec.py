"""Inference requests and their answers over REST, with binary tensors where the server has them."""

import base64
import json
from typing import Any

import numpy as np

from kserve_v2.client.errors import NoServerError
from kserve_v2.client.exchange import HttpAnswer
from kserve_v2.client.request import Request
from kserve_v2.client.result import InferResult
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BF16, BY_NAME, BYTES, FP32, Array, Datatype, datatype_of
from kserve_v2.tensors.raw import decode_raw_tensor, encode_raw_tensor
from kserve_v2.tensors.strings import flat_bytes

HEADER_LENGTH = "Inference-Header-Content-Length"
JSON = {"Content-Type": "application/json"}


def encode_request(request: Request, *, binary: bool) -> tuple[bytes, dict[str, str]]:
    """Body and headers. `binary`: whether tensors go, and are to come, as bytes. Raises InvalidArgumentError for what
    JSON cannot carry.
    """
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    parameters: dict[str, Any] = dict(request.parameters)
    outputs = [_wanted_output(name, request, binary=binary) for name in request.outputs]
    if binary and not outputs:
        parameters["binary_data_output"] = True
    if parameters:
        document["parameters"] = parameters
    parts: list[bytes | memoryview] = []
    document["inputs"] = inputs = []
    for name, array in request.inputs.items():
        entry: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": datatype_of(array).name,
        }
        if binary:
            raw = encode_raw_tensor(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            parts.append(raw)
        else:
            entry["data"] = json_data(array.reshape(-1), name)
        inputs.append(entry)
    if outputs:
        document["outputs"] = outputs
    text = json.dumps(document).encode()
    if not binary:
        return text, JSON
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return b"".join((text, *parts)), headers


def _wanted_output(name: str, request: Request, *, binary: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {"binary_data": True} if binary else {}
    if name in request.classes:
        parameters["classification"] = request.classes[name]
    return {"name": name, "parameters": parameters} if parameters else {"name": name}


def json_data(array: Array, name: str) -> list[Any]:
    """A tensor as lists. Raises InvalidArgumentError for bytes that are no text."""
    if array.dtype != BYTES.dtype:
        return numbers(array)
    try:
        return [element.decode() for element in array.flat]
    except UnicodeDecodeError:
        raise InvalidArgumentError(
            f"input '{name}' has bytes that are no UTF-8, and this server takes JSON only: ask it over gRPC"
        ) from None


def numbers(array: Array) -> list[Any]:
    """A tensor of numbers as lists."""
    listed: Any = (array.astype(FP32.dtype) if array.dtype == BF16.dtype else array).tolist()
    return list(listed)


def decode_answer(answer: HttpAnswer) -> InferResult:
    """Raises NoServerError for an answer that is none."""
    length = answer.headers.get(HEADER_LENGTH.lower())
    try:
        end = len(answer.body) if length is None else int(length)
        document = json.loads(answer.body[:end])
        return _result(document, memoryview(answer.body)[end:])
    except (ServingError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise NoServerError(f"the answer of {answer.url} cannot be read: {error}") from error


def _result(document: dict[str, Any], binary: memoryview) -> InferResult:
    outputs: dict[str, Array] = {}
    offset = 0
    model = str(document.get("model_name") or "")
    for item in document.get("outputs") or ():
        name = str(item["name"])
        announced = AnnouncedInput(name, BY_NAME[item["datatype"]], list(map(int, item["shape"])), model, "")
        size = (item.get("parameters") or {}).get("binary_data_size")
        if size is None:
            outputs[name] = of_json(item["data"], announced)
        else:
            if offset + size > len(binary):
                raise ValueError(f"it ends before the {size} bytes of output '{name}'")
            outputs[name] = decode_raw_tensor(announced, binary[offset : offset + size])
            offset += size
    return InferResult(
        outputs,
        id=str(document.get("id") or ""),
        model_name=model,
        model_version=str(document.get("model_version") or ""),
        parameters=document.get("parameters") or {},
    )


def of_json(data: Any, announced: AnnouncedInput) -> Array:
    """A tensor of an answer in JSON. Raises ValueError for elements that are none, or another number of them."""
    return flat_array(data, announced.datatype, announced.name).reshape(announced.shape)


def flat_array(data: Any, datatype: Datatype, name: str) -> Array:
    """The elements of JSON `data`, nested in any way. Raises ValueError as `of_json`."""
    elements: list[Any] = []
    _flatten(data, elements)
    if datatype is BYTES:
        return flat_bytes([as_bytes(element) for element in elements])
    if None in elements:
        raise ValueError(
            f"output '{name}' has a null among its numbers, which can be NaN or infinite: ask for it over gRPC"
        )
    with np.errstate(over="ignore"):
        return np.array(elements, datatype.dtype)


def as_bytes(element: Any) -> bytes:
    """An element of BYTES: a text, or what kserve-v2 writes for bytes that are none."""
    return base64.b64decode(element["b64"]) if isinstance(element, dict) else bytes(element.encode())


def _flatten(data: Any, elements: list[Any]) -> None:
    if isinstance(data, list):
        for each in data:
            _flatten(each, elements)
    else:
        elements.append(data)
