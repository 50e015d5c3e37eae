"""Requests and responses between the server and models: as JSON, or as tensors."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    TensorData,
)
from pydantic import ValidationError

from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.messages import Tensors
from kserve_v2.tensors.datatypes import BY_DTYPE, BY_NAME, BYTES, Array

Json = dict[str, Any]

# How many of the things that are wrong with a request its client is told.
_MOST_PROBLEMS = 5


def request_from_json(body: bytes) -> InferenceRequest:
    """The request of a body. Raises InvalidArgumentError that names what is wrong."""
    try:
        return InferenceRequest.model_validate(_read(body))
    except ValidationError as error:
        raise InvalidArgumentError("; ".join(_problems(error))) from None


def _read(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        try:
            # It takes NaN and the infinities, and integers of any size.
            return json.loads(body)
        except (ValueError, RecursionError):
            raise InvalidArgumentError(f"failed to parse the request JSON buffer: {problem}") from None


def _problems(error: ValidationError) -> list[str]:
    found = [
        f"{_place(each['loc'])}: {each['msg']}"
        for each in error.errors(include_url=False, include_context=False)
    ]
    more = len(found) - _MOST_PROBLEMS
    return found[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])


def _place(path: Iterable[str | int]) -> str:
    """`inputs[0].datatype`"""
    text = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
    return text.removeprefix(".") or "the request"


def response_to_json(response: InferenceResponse) -> bytes:
    """The body that a response is. Raises InternalError where it has something that JSON has not."""
    try:
        return orjson.dumps(response.model_dump(), default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, UnicodeDecodeError) as error:
        raise InternalError(f"the model's answer has no form in JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


# --- tensors ----------------------------------------------------------------------------------------------------------


def request_from_tensors(
    tensors: Tensors, request_id: str, parameters: Mapping[str, Any], outputs: Iterable[str], told: Json
) -> InferenceRequest:
    """The request that some tensors are. `told`: what is said of each; see `kserve_v2.verbatim.TENSORS`. Raises
    InvalidArgumentError for parameters that mean something else than they say.
    """
    said = told.get("inputs", {})
    inputs = []
    for name, array in tensors.items():
        # Nothing is checked again: it comes from the server.
        made = RequestInput.model_construct(
            name=name,
            shape=list(array.shape),
            datatype=BY_DTYPE[array.dtype].name,
            data=TensorData.model_construct(root=array.ravel().tolist()),
        )
        if said.get(name):
            made.parameters = _parameters(said[name], f"input '{name}'")
        inputs.append(made)
    request = InferenceRequest.model_construct(inputs=inputs)
    if request_id:
        request.id = request_id
    if parameters:
        request.parameters = _parameters(parameters, "the request")
    asked = told.get("outputs", {})
    names = list(outputs)
    if names:
        request.outputs = [
            RequestOutput(name=name, parameters=_parameters(asked[name], f"output '{name}'"))
            if asked.get(name)
            else RequestOutput(name=name)
            for name in names
        ]
    return request


def _parameters(given: Mapping[str, Any], of: str) -> Parameters:
    try:
        return Parameters(**given)
    except ValidationError as error:
        raise InvalidArgumentError(f"{of}: parameters: {'; '.join(_problems(error))}") from None


def response_to_tensors(response: InferenceResponse) -> tuple[dict[str, Array], Json]:
    """The tensors of a response, and what is said of them. Raises InternalError for what is no tensor."""
    arrays: dict[str, Array] = {}
    said: Json = {}
    for output in response.outputs:
        if output.name in arrays:
            raise InternalError(f"the model's answer has two outputs '{output.name}'")
        arrays[output.name] = _array(output)
        if output.parameters is not None:
            said[output.name] = output.parameters.model_dump()
    return arrays, {"outputs": said, "version": response.model_version or "", "id": response.id or ""}


def _array(output: ResponseOutput) -> Array:
    datatype = BY_NAME[str(output.datatype)]
    data = getattr(output.data, "root", output.data)
    try:
        if datatype is BYTES:
            return _bytes_array(data, output.shape)
        if isinstance(data, list):
            data = [np.nan if each is None else each for each in data]
        return np.ascontiguousarray(np.array(data).astype(datatype.dtype, copy=False).reshape(output.shape))
    except (TypeError, ValueError, OverflowError) as error:
        raise InternalError(
            f"output '{output.name}' is no tensor of {datatype.name} {list(output.shape)}: {error}"
        ) from error


def _bytes_array(data: Any, shape: list[int]) -> Array:
    elements = [each if isinstance(each, bytes) else str(each).encode() for each in _flat(data)]
    count = int(np.prod(shape))
    if len(elements) == 1 and count > 1 and len(elements[0]) % count == 0:
        # One buffer for all of them, as arrays of bytes are.
        size = len(elements[0]) // count
        elements = [elements[0][start : start + size] for start in range(0, len(elements[0]), size)]
    array = np.empty(len(elements), BYTES.dtype)
    array[:] = elements
    return array.reshape(shape)


def _flat(data: Any) -> Iterable[Any]:
    if isinstance(data, list | tuple | np.ndarray):
        for each in data:
            yield from _flat(each)
    else:
        yield data
