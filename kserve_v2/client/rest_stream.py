"""`generate_stream`: a request as a flat JSON object, and its answers as server-sent events.

An event says what the values of an output are, and not its shape: that comes from the model's metadata, and where that
leaves a choice, it is an error.
"""

import json
from collections.abc import Iterator
from math import prod
from typing import Any

from kserve_v2.client.description import ModelInfo, TensorInfo
from kserve_v2.client.errors import ConnectionLostError, NoServerError
from kserve_v2.client.request import Request
from kserve_v2.client.rest_codec import flat_array, numbers
from kserve_v2.client.result import InferResult
from kserve_v2.errors import UnknownError, UnsupportedError, shape_text
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, Array
from kserve_v2.tensors.json_request import text_or_base64

_OWN_MEMBERS = ("model_name", "model_version", "id")


def encode_generate(request: Request, info: ModelInfo) -> bytes:
    """The body. Raises UnsupportedError for what `generate_stream` cannot carry."""
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    if request.classes:
        raise UnsupportedError("streams of classes come over gRPC only: give a grpc:// URL")
    for name in request.parameters:
        if name.startswith("sequence_"):
            raise UnsupportedError("streams of sequences come over gRPC only: give a grpc:// URL")
    if request.parameters:
        document["parameters"] = dict(request.parameters)
    for name, array in request.inputs.items():
        if name in ("id", "parameters"):
            raise UnsupportedError(f"an input called '{name}' streams over gRPC only: give a grpc:// URL")
        document[name] = _value(array, info.inputs.get(name), info)
    return json.dumps(document).encode()


def _plain_bytes(value: Any) -> Any:
    """Texts, and what kserve-v2 reads as bytes that are none."""
    if isinstance(value, list):
        return [_plain_bytes(each) for each in value]
    return text_or_base64(value)


def _value(array: Array, tensor: TensorInfo | None, info: ModelInfo) -> Any:
    """Flat where the server cannot but find the shape again, nested otherwise, which Triton does not take."""
    if tensor is None or _found_again(array.shape, tensor.shape, info):
        array = array.reshape(-1)
    return _plain_bytes(array.tolist()) if array.dtype == BYTES.dtype else numbers(array)


def _found_again(shape: tuple[int, ...], wanted: tuple[int, ...], info: ModelInfo) -> bool:
    """Whether there is one shape alone with so many elements, if a batch is one row."""
    if info.batched:
        if shape[:1] != (1,):
            return wanted.count(-1) == 1
        wanted = wanted[1:]
    return wanted.count(-1) <= 1


class EventReader:
    """Makes answers of the data of events. `request`: which outputs are wanted, and how many rows there are."""

    def __init__(self, info: ModelInfo, request: Request) -> None:
        self._info = info
        self._wanted = frozenset(request.outputs)
        self._rows = next((array.shape[0] for array in request.inputs.values() if array.ndim), 1)

    def read(self, data: bytes) -> InferResult:
        """One answer. Raises the error that an event is."""
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise NoServerError("an event of the server is no object of JSON")
        if set(document) == {"error"}:
            raise UnknownError(str(document["error"]))
        outputs: dict[str, Array] = {}
        parameters: dict[str, Any] = {}
        try:
            for name, value in document.items():
                tensor = self._info.outputs.get(name)
                if tensor is not None:
                    if not self._wanted or name in self._wanted:
                        outputs[name] = self._array(value, tensor)
                elif name not in _OWN_MEMBERS:
                    parameters[name] = value
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise NoServerError(f"an event of the server cannot be read: {error}") from error
        own = {name: str(document.get(name) or "") for name in _OWN_MEMBERS}
        return InferResult(outputs, parameters=parameters, **own)

    def _array(self, value: Any, tensor: TensorInfo) -> Array:
        flat = flat_array(value, BY_NAME[tensor.datatype], tensor.name)
        if isinstance(value, list) and value and isinstance(value[0], list):
            shape = _nested_shape(value)
            lacks_batch = self._info.batched and len(shape) == len(tensor.shape) - 1
            return flat.reshape((1, *shape) if lacks_batch else shape)
        return flat.reshape(self._shape(flat.size, tensor))

    def _shape(self, count: int, tensor: TensorInfo) -> tuple[int, ...]:
        """The one shape that an output of so many elements can have."""
        shape = list(tensor.shape)
        if self._info.batched and shape:
            shape[0] = self._rows
        fixed = prod(size for size in shape if size != -1)
        unknown = shape.count(-1)
        if unknown == 1 and fixed and count % fixed == 0:
            return tuple(count // fixed if size == -1 else size for size in shape)
        if count == fixed and (not unknown or count == 1):
            return tuple(1 if size == -1 else size for size in shape)
        raise ValueError(
            f"output '{tensor.name}' has {count} elements, which is no shape of {shape_text(tensor.shape)} alone: ask "
            "for it over gRPC"
        )


def _nested_shape(value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


class EventSplitter:
    """Cuts what comes into the data of events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of the events that are complete with this."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for each in lines:
            line = each.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data.clear()

    def finish(self, url: str) -> None:
        """The answer is over. Raises ConnectionLostError if it ends within an event."""
        if self._rest or self._data:
            raise ConnectionLostError(f"the answer of {url} ends within an event")
