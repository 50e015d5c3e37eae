"""What a load generator sends again and again, and the answer that it has to get every time."""

import http.client
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle
from typing import TypeVar
from urllib.parse import urlsplit

import grpc
import numpy as np
import numpy.typing as npt
import orjson

from benchmarks.load.varied import headers_of
from kserve_v2._generated import grpc_service_pb2 as pb

Array = npt.NDArray[np.generic]

INFER_METHOD = "/inference.GRPCInferenceService/ModelInfer"
HEADER_LENGTH = "Inference-Header-Content-Length"
_DATATYPES = {"int32": "INT32", "float32": "FP32"}
_CONTENTS = {"int32": "int_contents", "float32": "fp32_contents"}
_PROBE_SECONDS = 30


class LoadError(RuntimeError):
    """An answer was missing or wrong: the measurement means nothing."""


class NoAnswerError(LoadError):
    """A run ended without any answer, right or wrong."""


@dataclass(frozen=True, slots=True)
class RestExchange:
    """One HTTP/1.1 request and the body of its answer."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytes = b""

    @property
    def requests(self) -> Sequence["RestExchange"]:
        """What is sent, in turn."""
        return (self,)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    @property
    def wire(self) -> bytes:
        """The whole request as it goes over the socket."""
        host, port = self.address
        lines = [f"POST {urlsplit(self.url).path} HTTP/1.1", f"Host: {host}:{port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


@dataclass(frozen=True)
class VariedRest(RestExchange):
    """Requests that differ: it, and `others` to the same server, again and again, each with headers of its own of this
    `kind` (see `load.varied`).
    """

    kind: str = "identical"
    others: tuple[RestExchange, ...] = ()

    @classmethod
    def of(cls, exchanges: Sequence[RestExchange], kind: str) -> "VariedRest":
        """So many requests, made to differ."""
        first, *others = exchanges
        return cls(first.url, first.body, first.headers, first.answer, kind, tuple(others))

    @cached_property
    def _requests(self) -> tuple[RestExchange, ...]:
        messages = (RestExchange(self.url, self.body, self.headers, self.answer), *self.others)
        own = headers_of(self.kind)
        return tuple(
            replace(message, headers={**message.headers, **headers})
            for message, headers, _ in zip(
                cycle(messages), cycle(own), range(max(len(own), len(messages))), strict=False
            )
        )

    @property
    def requests(self) -> Sequence[RestExchange]:
        """What is sent, in turn."""
        return self._requests


@dataclass(frozen=True, slots=True)
class GrpcExchange:
    """One unary call of ModelInfer: the serialized message and the serialized answer."""

    target: str
    message: bytes
    answer: bytes = b""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.target.rpartition(":")
        return host, int(port)


@dataclass(frozen=True, slots=True)
class VariedGrpc(GrpcExchange):
    """The same call again and again, each time with metadata of its own of this `kind` (see `load.varied`). `never`: as
    fields that are never indexed; otherwise each of them goes into the connection's compression table.
    """

    kind: str = "identical"
    never: bool = False


ExchangeT = TypeVar("ExchangeT", RestExchange, GrpcExchange)
"""Generators and what they send go in pairs."""


def framed(message: bytes) -> bytes:
    """A message with gRPC's prefix: not compressed, and its length."""
    return struct.pack(">BI", 0, len(message)) + message


def rest_json(
    url: str, model: str, inputs: Mapping[str, Array], request_id: str = "", **parameters: int
) -> RestExchange:
    """An inference request all in JSON, and the answer that the server at `url` gives now."""
    tensors = [{**_describe(name, array), "data": array.ravel().tolist()} for name, array in inputs.items()]
    members = ({"id": request_id} if request_id else {}) | {"inputs": tensors}
    body = orjson.dumps(members | ({"parameters": parameters} if parameters else {}))
    return _probe_rest(_infer_url(url, model), body, {"Content-Type": "application/json"})


def rest_strings(url: str, model: str, strings: Sequence[str]) -> RestExchange:
    """As `rest_json`, with one input `INPUT` of strings."""
    tensor = {"name": "INPUT", "datatype": "BYTES", "shape": [len(strings)], "data": strings}
    body = orjson.dumps({"inputs": [tensor]})
    return _probe_rest(_infer_url(url, model), body, {"Content-Type": "application/json"})


def rest_binary(url: str, model: str, inputs: Mapping[str, Array]) -> RestExchange:
    """A request by the binary tensor data extension, outputs in binary too, and its answer now."""
    tensors = [
        {**_describe(name, array), "parameters": {"binary_data_size": array.nbytes}}
        for name, array in inputs.items()
    ]
    header = orjson.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}})
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    body = header + b"".join(array.tobytes() for array in inputs.values())
    return _probe_rest(_infer_url(url, model), body, headers)


def grpc_raw(target: str, model: str, inputs: Mapping[str, Array]) -> GrpcExchange:
    """A call with raw contents, and the answer that the server at `target` gives now."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return _probe_grpc(target, request.SerializeToString())


def grpc_typed(target: str, model: str, inputs: Mapping[str, Array]) -> GrpcExchange:
    """A call with typed contents, and the answer that the server at `target` gives now."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        tensor = request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        getattr(tensor.contents, _CONTENTS[array.dtype.name]).extend(array.ravel().tolist())
    return _probe_grpc(target, request.SerializeToString())


def _probe_grpc(target: str, message: bytes) -> GrpcExchange:
    with bytes_channel(target) as channel:
        answer = bytes_call(channel)(message, timeout=_PROBE_SECONDS)
    return GrpcExchange(target, message, answer)


def bytes_channel(target: str) -> grpc.Channel:
    """A channel without limits on the size of messages."""
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(target, options=unlimited)


def bytes_call(channel: grpc.Channel) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """ModelInfer on serialized messages: the client's protobuf work stays out of the measurement."""
    return channel.unary_unary(INFER_METHOD, request_serializer=bytes, response_deserializer=bytes)


def check_rest_json(exchange: RestExchange, outputs: Mapping[str, Array]) -> None:
    """Raise LoadError unless the answer holds these outputs."""
    got = {tensor["name"]: tensor["data"] for tensor in orjson.loads(exchange.answer)["outputs"]}
    _check(got, {name: array.ravel().tolist() for name, array in outputs.items()})


def check_grpc_raw(exchange: GrpcExchange, outputs: Mapping[str, Array]) -> None:
    """Raise LoadError unless the answer holds these outputs."""
    answer = pb.ModelInferResponse.FromString(exchange.answer)
    names: Sequence[str] = [tensor.name for tensor in answer.outputs]
    got = dict(zip(names, answer.raw_output_contents, strict=True))
    _check(got, {name: array.tobytes() for name, array in outputs.items()})


def _check(got: Mapping[str, object], expected: Mapping[str, object]) -> None:
    if got != expected:
        raise LoadError(f"wrong answer: expected {str(expected)[:200]}, got {str(got)[:200]}")


def _infer_url(url: str, model: str) -> str:
    return f"{url}/v2/models/{model}/infer"


def _describe(name: str, array: Array) -> dict[str, object]:
    return {"name": name, "datatype": _DATATYPES[array.dtype.name], "shape": list(array.shape)}


def _probe_rest(url: str, body: bytes, headers: Mapping[str, str]) -> RestExchange:
    exchange = RestExchange(url, body, headers)
    connection = http.client.HTTPConnection(*exchange.address, timeout=_PROBE_SECONDS)
    try:
        connection.request("POST", urlsplit(url).path, body, dict(headers))
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise LoadError(f"{url} answered {response.status}: {answer[:200]!r}")
    return RestExchange(url, body, headers, answer)
