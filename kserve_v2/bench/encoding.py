"""Requests as they go over the wire, made before the measurement: only their ids are put in while it runs.

An id has a fixed length, so that nothing else of the bytes depends on it. Of a model with sequences, the id is that of
the sequence, too: every request is a sequence of its own.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.bench.document import Document, Tensor
from kserve_v2.bench.errors import BenchUsageError
from kserve_v2.bench.target import Protocol, Target
from kserve_v2.protobuf_json import set_parameter
from kserve_v2.tensors.datatypes import BF16, BYTES, FP16, datatype_of
from kserve_v2.tensors.raw import encode_raw_tensor

ID_LENGTH = 16
_HEADER_LENGTH = "Inference-Header-Content-Length"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request: its bytes between the places where the id stands. `rows`: of its batch."""

    parts: tuple[bytes, ...]
    rows: int = 1

    def bytes(self, ident: bytes) -> bytes:
        """All of it, as it is sent."""
        return ident.join(self.parts)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(len, self.parts)) + ID_LENGTH * (len(self.parts) - 1)


@dataclass(frozen=True, slots=True)
class Form:
    """How requests are written down. `binary`: over REST, by the extension for binary tensor data; over gRPC tensors
    are always raw. `sequences`: see above. `batches`: whether the first dimension is that of the batch.
    """

    target: Target
    model: str
    version: str = ""
    binary: bool = True
    sequences: bool = False
    batches: bool = False


def prepare(document: Document, form: Form) -> Prepared:
    """Raises BenchUsageError for what the protocol cannot say."""
    marker = secrets.token_hex(ID_LENGTH // 2)
    parameters = dict(document.parameters)
    if form.sequences:
        parameters |= {"sequence_id": marker, "sequence_start": True, "sequence_end": True}
    over_rest = form.target.protocol is Protocol.REST
    encode = _rest if over_rest else _grpc
    content = encode(document, form, marker, parameters)
    return Prepared(tuple(content.split(marker.encode())), document.rows if form.batches else 1)


def _rest(document: Document, form: Form, marker: str, parameters: Json) -> bytes:
    """Head and body."""
    write = _binary_input if form.binary else _json_input
    written = [write(tensor) for tensor in document.inputs]
    message: Json = {"id": marker, "inputs": [entry for entry, _ in written]}
    if form.binary:
        parameters = {"binary_data_output": True, **parameters}
    if document.outputs is not None:
        message["outputs"] = document.outputs
    if parameters:
        message["parameters"] = parameters
    header = orjson.dumps(message)
    fields = {"Content-Type": "application/json"}
    if form.binary:
        fields = {"Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(header))}
    body = b"".join([header, *(raw for _, raw in written)])
    path = f"{form.target.path(form.model, form.version)}/infer"
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {form.target.authority}",
        "Accept-Encoding: identity",
        *(f"{name}: {value}" for name, value in (*fields.items(), *form.target.headers)),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _binary_input(tensor: Tensor) -> tuple[Json, bytes]:
    raw = _raw(tensor)
    # What says how the texts of `data` are to be read is not said of raw bytes.
    told = {name: value for name, value in tensor.parameters.items() if name != "content_type"}
    return {**_described(tensor), "parameters": {**told, "binary_data_size": len(raw)}}, raw


def _json_input(tensor: Tensor) -> tuple[Json, bytes]:
    datatype = datatype_of(tensor.array)
    parameters = dict(tensor.parameters)
    flat = tensor.array.ravel()
    if datatype is BYTES:
        try:
            data = [each.decode() for each in flat]
            parameters.pop("content_type", None)
        except UnicodeDecodeError:
            data = [base64.b64encode(each).decode() for each in flat]
            parameters["content_type"] = "base64"
    else:
        data = (flat.astype("float32") if datatype in (FP16, BF16) else flat).tolist()
    told = {"parameters": parameters} if parameters else {}
    return {**_described(tensor), "data": data, **told}, b""


def _described(tensor: Tensor) -> Json:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.array.shape)}


def _raw(tensor: Tensor) -> bytes:
    return bytes(encode_raw_tensor(tensor.array))


def _grpc(document: Document, form: Form, marker: str, parameters: Json) -> bytes:
    """The serialized message."""
    request = pb.ModelInferRequest(model_name=form.model, model_version=form.version, id=marker)
    _set_parameters(request.parameters, parameters)
    for tensor in document.inputs:
        entry = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        _set_parameters(entry.parameters, {n: v for n, v in tensor.parameters.items() if n != "content_type"})
        request.raw_input_contents.append(_raw(tensor))
    for wanted in document.outputs or ():
        output = request.outputs.add(name=wanted["name"])
        told: Mapping[str, Any] = wanted.get("parameters", {})
        _set_parameters(output.parameters, {n: v for n, v in told.items() if n != "binary_data"})
    return request.SerializeToString()


def _set_parameters(fields: Any, parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise BenchUsageError(f"parameter '{name}': gRPC has no form for {value!r}")
        set_parameter(fields[name], value)
