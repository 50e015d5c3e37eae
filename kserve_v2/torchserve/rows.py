"""Requests of TorchServe's APIs on their way to a model, and its answers on their way back.

To the scheduler such a request is one of one row, whose only input is the element that
`kserve_v2_child.torchserve.packing` describes; `InferRequest.packed` has what the element does not say. In the answer,
the output is the body, and parameters of the response say the rest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from kserve_v2_child.torchserve.packing import (
    CONTENT_TYPE,
    HEADERS,
    INPUT,
    MISMATCHED,
    NO_LIST,
    OUT_OF_RESOURCES,
    OUTPUT,
    REASON,
    REFUSED,
    STATUS,
    UNSUPPORTED_OUTPUT,
    Field,
    pack,
)

from kserve_v2.errors import (
    DeadlineExceededError,
    NotFoundError,
    ResourceExhaustedError,
    ServingError,
    UnavailableError,
    UnfinishedError,
)
from kserve_v2.messages import InferRequest, InferResponse

__all__ = [
    "Answer",
    "Failure",
    "Field",
    "Row",
    "answer_of",
    "failure_of",
    "request_of",
    "usual_answer",
    "usual_request",
]

INTERNAL = "InternalServerException"


@dataclass(frozen=True, slots=True)
class Row:
    """One request of TorchServe's: what a handler finds in one element of `data`, and in its context.

    `fields`: of a raw body one, named `body`. `headers`: in the spelling in which they came; of repeated ones the last
    counts. `url_path`: what stands behind the model in the path. `explain`, `describe`: which of the handler's answers
    is wanted, in place of a prediction. `id`: what the answer's `x-request-id` is. `decode`: false to leave JSON and
    texts as bytes.
    """

    fields: Sequence[Field]
    headers: Sequence[tuple[str, str]] = ()
    url_path: str = ""
    explain: bool = False
    describe: bool = False
    id: str = ""
    decode: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler has answered with, or one part of it. `content_type`: "" if there is none to be sent; that of JSON
    is there if the handler has named no other. `status`: may be an error that the handler has set, with a body all the
    same.
    """

    body: bytes
    content_type: str = ""
    status: int = 200
    reason: str = ""
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Failure:
    """What TorchServe says in place of an answer: the members of its error bodies."""

    code: int
    type: str
    message: str


def request_of(row: Row, model_name: str, model_version: str = "") -> InferRequest:
    """The request of the scheduler. It has not been checked."""
    headers = dict(row.headers)
    if row.url_path:
        headers["url_path"] = row.url_path
    if row.explain:
        headers["explain"] = "True"
    if row.describe:
        headers["describe"] = "True"
    element, packed = pack(row.fields, headers, row.id, decode=row.decode)
    array = np.empty((1, 1), np.object_)
    array[0, 0] = element
    return InferRequest(model_name, {INPUT: array}, model_version, row.id, packed=packed)


def usual_request(
    body: bytes,
    content_type: str | None,
    headers: Mapping[str, str],
    request_id: str,
    model_name: str,
    model_version: str = "",
    *,
    decode: bool,
) -> InferRequest:
    """As `request_of` makes it of a row that has one field, `body`. `headers`: all that are to be seen."""
    packed: dict[str, Any] = {
        "fields": ((INPUT, content_type, len(body)),), "headers": headers, "id": request_id
    }  # fmt: skip
    if not decode:
        packed["decode"] = False
    array = np.empty((1, 1), np.object_)
    array[0, 0] = body
    return InferRequest(model_name, {INPUT: array}, model_version, request_id, packed=packed)


def answer_of(response: InferResponse) -> Answer | Failure:
    """What came back. A Failure is one that the handler has asked for, by `PredictionException`."""
    parameters = response.parameters
    body = _body(response.outputs)
    status = int(parameters.get(STATUS, 200))
    if REFUSED in parameters:
        return Failure(status, INTERNAL, body.decode("utf-8", "replace"))
    headers: Any = json.loads(str(parameters.get(HEADERS, "[]")))
    return Answer(
        body,
        str(parameters.get(CONTENT_TYPE, "")),
        status,
        str(parameters.get(REASON, "")),
        tuple((str(name), str(value)) for name, value in headers),
    )


_JSON = "application/json"
_USUAL: Mapping[str, Any] = {CONTENT_TYPE: _JSON}


def usual_answer(response: InferResponse) -> tuple[bytes, str] | None:
    """The body, and its content type, of an answer of which nothing else is said; None for any other."""
    parameters = response.parameters
    if parameters and parameters != _USUAL:
        return None
    array = response.outputs[OUTPUT]
    body = array.item() if array.size == 1 else None
    return (body, _JSON if parameters else "") if type(body) is bytes else None


def _body(outputs: Mapping[str, Any]) -> bytes:
    """The elements one behind the other: a part of a stream may be empty."""
    array = outputs.get(OUTPUT)
    return b"" if array is None else b"".join(_bytes(array.reshape(-1).tolist()))


def _bytes(elements: Iterable[Any]) -> Iterable[bytes]:
    return (each if isinstance(each, bytes) else str(each).encode() for each in elements)


_KNOWN = (MISMATCHED, NO_LIST, UNSUPPORTED_OUTPUT)


def failure_of(error: ServingError, model: str = "") -> Failure:
    """What TorchServe would say of an error of the scheduler, or of the model."""
    if isinstance(error, UnfinishedError):
        return Failure(500, INTERNAL, "Worker died.")
    if isinstance(error, DeadlineExceededError):
        return Failure(408, "RequestTimeoutException", error.message)
    if isinstance(error, NotFoundError):
        return Failure(404, "ModelNotFoundException", f"Model not found: {model}")
    if isinstance(error, UnavailableError) or error.code.name == "OVERLOADED":
        return Failure(503, "ServiceUnavailableException", _NO_WORKER.format(model))
    if isinstance(error, ResourceExhaustedError):
        return Failure(507, INTERNAL, OUT_OF_RESOURCES)
    known = next((text for text in _KNOWN if text in error.message), "Prediction failed")
    return Failure(503, INTERNAL, known)


_NO_WORKER = (
    'Model "{}" has no worker to serve inference request. Please use scale workers API to add workers. '
    "If this is a sequence inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize"
)
