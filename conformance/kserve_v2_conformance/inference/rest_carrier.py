"""Inference over REST: tensors in JSON, or as bytes behind it."""

import json
from dataclasses import dataclass
from typing import Any

from kserve_v2_conformance.datatypes import DATATYPES
from kserve_v2_conformance.exchange import show_body
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse, Outcome, SeenOutput
from kserve_v2_conformance.rest import HEADER_LENGTH, RestAnswer, RestClient
from kserve_v2_conformance.target import model_path
from kserve_v2_conformance.tensors import (
    Tensor,
    UnreadableTensor,
    flatten,
    from_json,
    from_raw,
    to_json,
    to_raw,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as it is sent."""

    path: str
    body: bytes
    headers: dict[str, str]


def json_object(request: InferRequest) -> Json:
    """The request object, with all tensors in JSON."""
    body = _head(request)
    body["inputs"] = [_input(each, request) | {"data": to_json(each)} for each in request.inputs]
    if request.outputs is not None:
        body["outputs"] = [_output(name, request, {}) for name in request.outputs]
    return body


def encode_json(request: InferRequest) -> Encoded:
    """All tensors in JSON. NaN and infinities are bare literals."""
    return Encoded(
        _path(request), json.dumps(json_object(request)).encode(), {"Content-Type": "application/json"}
    )


def encode_binary(request: InferRequest) -> Encoded:
    """All inputs as bytes, and all outputs asked for as bytes."""
    body = _head(request)
    blobs = [to_raw(each) for each in request.inputs]
    body["inputs"] = [
        _with_parameters(_input(each, request), {"binary_data_size": len(blob)})
        for each, blob in zip(request.inputs, blobs, strict=True)
    ]
    if request.outputs:
        body["outputs"] = [_output(name, request, {"binary_data": True}) for name in request.outputs]
    else:
        body = _with_parameters(body, {"binary_data_output": True})
        if request.outputs is not None:
            body["outputs"] = []
    return encode_mixed(_path(request), body, blobs)


def encode_mixed(path: str, body: Json, blobs: list[bytes]) -> Encoded:
    """A JSON object and the bytes behind it."""
    header = json.dumps(body).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return Encoded(path, b"".join([header, *blobs]), headers)


def _path(request: InferRequest) -> str:
    return f"{model_path(request.model, request.version)}/infer"


def _head(request: InferRequest) -> Json:
    head: Json = {}
    if request.id:
        head["id"] = request.id
    if request.parameters is not None:
        head["parameters"] = dict(request.parameters)
    return head


def _input(tensor: Tensor, request: InferRequest) -> Json:
    entry: Json = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    return _with_parameters(entry, request.input_parameters)


def _output(name: str, request: InferRequest, parameters: Json) -> Json:
    return _with_parameters({"name": name}, {**request.output_parameters, **parameters})


def _with_parameters(entry: Json, parameters: Json) -> Json:
    if not parameters:
        return entry
    return entry | {"parameters": {**entry.get("parameters", {}), **parameters}}


def send(rest: RestClient, encoded: Encoded) -> RestAnswer:
    """Send an encoded request."""
    return rest.send("POST", encoded.path, encoded.body, encoded.headers)


def read(answer: RestAnswer, checks: Checks) -> Outcome:
    """The outcome of an answer; what is wrong with its form is noted. Raises UnreadableAnswer."""
    if answer.status != 200:
        return read_failure(answer, checks)
    body = answer.object()
    if "outputs" not in body and "error" in body:
        checks.that("REST-ERROR-001", "status of an error", False, "400 or another error status", "200")
        return Failure("200", str(body["error"]), blames_client=False)
    if "outputs" in body and answer.header_length is None:
        checks.equal("REST-INFER-025", "content type", answer.content_type, "application/json")
    return _response(answer, body, checks)


def read_failure(answer: RestAnswer, checks: Checks) -> Failure:
    """The error of an answer; what is wrong with its form is noted."""
    is_error = checks.that(
        "REST-ERROR-001", "status", answer.status >= 400, "an error status", str(answer.status)
    )
    checks.that(
        "REST-ERROR-002",
        f"body of an answer {answer.status}",
        answer.error is not None,
        'an object {"error": string}',
        show_body(answer.body) or "nothing",
    )
    if answer.error is not None:
        checks.that(
            "REST-ERROR-004", "error", bool(answer.error.strip()), "a description", repr(answer.error)
        )
        checks.equal("REST-ERROR-005", "content type", answer.content_type, "application/json")
    return Failure(
        str(answer.status),
        answer.error or "",
        blames_client=is_error and (answer.status < 500 or answer.status == 501),
    )


def _response(answer: RestAnswer, body: Json, checks: Checks) -> InferResponse:
    _check_parameters(body, "response", checks)
    empty = [name for name in ("id", "model_version", "parameters") if body.get(name, "") is None]
    checks.equal("REST-INFER-029", "members that are null", empty, [])
    listed = body.get("outputs")
    if not checks.has_type("REST-INFER-008", "outputs", listed, list):
        raise UnreadableAnswer("the response has no array of outputs")
    binary = answer.body[answer.header_length :] if answer.header_length is not None else b""
    outputs: list[SeenOutput] = []
    for entry in listed or []:
        seen, binary = _read_output(entry, binary, checks)
        outputs.append(seen)
    if answer.header_length is not None:
        checks.equal("REST-BIN-002", "bytes behind the last output", len(binary), 0)
    parameters = body.get("parameters")
    return InferResponse(
        body.get("model_name"),
        body.get("model_version"),
        body.get("id"),
        tuple(outputs),
        parameters if isinstance(parameters, dict) else {},
    )


def _check_parameters(entry: Json, what: str, checks: Checks) -> None:
    values = {} if entry.get("parameters") is None else entry["parameters"]
    plain = isinstance(values, dict) and all(
        isinstance(each, str | int | float | bool) for each in values.values()
    )
    checks.that(
        "REST-INFER-013",
        f"parameters of the {what}",
        plain,
        "strings, numbers and booleans",
        json.dumps(values),
    )


def _read_output(entry: object, binary: bytes, checks: Checks) -> tuple[SeenOutput, bytes]:
    """One output, and the bytes that are left for those after it."""
    if not isinstance(entry, dict):
        raise UnreadableAnswer(f"an output is no object: {entry!r}")
    _check_parameters(entry, f"output {entry.get('name')}", checks)
    checks.has_type("REST-INFER-008", "name of an output", entry.get("name"), str)
    name, datatype, shape = str(entry.get("name")), entry.get("datatype"), _shape(entry.get("shape"))
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    form, data = "json", entry.get("data")
    if isinstance(size, int) and "data" not in entry:
        form, data, binary = "binary", binary[:size], binary[size:]
    elif "data" not in entry:
        form = "none"
    tensor, problem = None, ""
    if form == "none":
        problem = "it has no data"
    elif datatype not in DATATYPES or shape is None:
        problem = f"its datatype is {datatype!r} and its shape {entry.get('shape')!r}"
    else:
        if DATATYPES[datatype].is_integer and form == "json":
            fractions = [each for each in flatten(data) if isinstance(each, float)]
            checks.equal("REST-DATA-008", f"elements of output {name} with a fraction", fractions[:3], [])
        try:
            values = from_raw(datatype, data) if isinstance(data, bytes) else from_json(datatype, data)
            tensor = Tensor(name, datatype, shape, values)
        except UnreadableTensor as error:
            problem = str(error)
    return SeenOutput(name, datatype, shape, tensor, problem, form), binary


def _shape(value: object) -> tuple[int, ...] | None:
    """A shape, or None if it is no array of unsigned integers."""
    if not isinstance(value, list):
        return None
    whole = all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in value)
    return tuple(value) if whole else None
