"""The questions of `protocol` over REST."""

import base64
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from kserve_v2.client.description import Json, ModelInfo
from kserve_v2.client.errors import InvitedError, NoServerError, of_http_status
from kserve_v2.client.exchange import HttpAnswer, HttpExchange, HttpStream
from kserve_v2.client.protocol import FILE_PREFIX
from kserve_v2.client.request import Request
from kserve_v2.client.rest_codec import JSON, decode_answer, encode_request
from kserve_v2.client.rest_stream import EventReader, encode_generate
from kserve_v2.client.result import InferResult
from kserve_v2.errors import InvalidArgumentError


class RestProtocol:
    """See `ServerProtocol`."""

    asks_for_extensions = True

    def live(self) -> HttpExchange[bool]:
        """Whether the server answers."""
        return HttpExchange("GET", "/v2/health/live", _is_ok)

    def ready(self, model: str, version: str) -> HttpExchange[bool]:
        """Whether a model is ready; "" for the server."""
        path = f"{_model_path(model, version)}/ready" if model else "/v2/health/ready"
        return HttpExchange("GET", path, _is_ok)

    def server_metadata(self) -> HttpExchange[Json]:
        """Name, version and extensions."""
        return HttpExchange("GET", "/v2", _object)

    def model_metadata(self, model: str, version: str) -> HttpExchange[Json]:
        """Inputs and outputs."""
        return HttpExchange("GET", _model_path(model, version), _object)

    def config(self, model: str, version: str) -> HttpExchange[Json]:
        """The configuration."""
        return HttpExchange("GET", f"{_model_path(model, version)}/config", _object)

    def statistics(self, model: str, version: str) -> HttpExchange[list[Json]]:
        """Counters and durations."""
        path = f"{_model_path(model, version)}/stats" if model else "/v2/models/stats"
        return HttpExchange("GET", path, _read_member("model_stats"))

    def index(self, *, ready: bool) -> HttpExchange[list[Json]]:
        """The models of the repository."""
        body = json.dumps({"ready": True} if ready else {}).encode()
        return HttpExchange("POST", "/v2/repository/index", _objects, body, JSON)

    def load(self, model: str, config: str | None, files: Mapping[str, bytes]) -> HttpExchange[None]:
        """Load a model."""
        parameters: dict[str, str] = {} if config is None else {"config": config}
        for path, content in files.items():
            parameters[FILE_PREFIX + path] = base64.b64encode(content).decode()
        return self._control(model, "load", {"parameters": parameters} if parameters else {})

    def unload(self, model: str, *, dependents: bool) -> HttpExchange[None]:
        """Unload a model."""
        return self._control(
            model, "unload", {"parameters": {"unload_dependents": True}} if dependents else {}
        )

    def _control(self, model: str, what: str, document: Json) -> HttpExchange[None]:
        path = f"/v2/repository/models/{quoted(model)}/{what}"
        return HttpExchange("POST", path, _nothing, json.dumps(document).encode(), JSON)

    def release(self, model: str, change: Json | None) -> HttpExchange[Json]:
        """What versions answer."""
        path = f"/v2/repository/models/{quoted(model)}/release"
        if change is None:
            return HttpExchange("GET", path, _object)
        return HttpExchange("POST", path, _object, json.dumps(change).encode(), JSON)

    def infer(self, request: Request, *, binary: bool) -> HttpExchange[InferResult]:
        """One request, one answer."""
        body, headers = encode_request(request, binary=binary)
        path = f"{_model_path(request.model, request.version)}/infer"
        return HttpExchange("POST", path, _result, body, headers)

    def stream(self, request: Request, info: ModelInfo) -> HttpStream[InferResult]:
        """One request, any number of answers."""
        path = f"{_model_path(request.model, request.version)}/generate_stream"
        reader = EventReader(info, request)
        return HttpStream(path, encode_generate(request, info), reader.read)


def quoted(name: str) -> str:
    """A name as a part of a path. Raises InvalidArgumentError for one that cannot be."""
    if name in ("", ".", ".."):
        raise InvalidArgumentError(f"expected a model's name, got {name!r}")
    return quote(name, safe="")


def _model_path(model: str, version: str) -> str:
    path = f"/v2/models/{quoted(model)}"
    return f"{path}/versions/{quoted(version)}" if version else path


# --- answers -------------------------------------------------------------------------------------------------------


def check(answer: HttpAnswer) -> None:
    """Raises the error that an answer is. InvitedError only for what the server has not done and wants to be asked
    again: a server that has begun with it says nothing of that.
    """
    if 200 <= answer.status < 300:
        return
    error = of_http_status(answer.status, _message(answer))
    after_s = _seconds(answer.headers.get("retry-after", ""))
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and after_s is not None:
        raise InvitedError(error, after_s)
    raise error


def _seconds(text: str) -> float | None:
    """Of a Retry-After; None for a date, or nothing."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


# What a server of something else says of the protocol's paths and methods; a v2 server gives a reason.
_UNKNOWN_PATHS = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_DOUBT = ", without a reason: is that a v2 server?"


def _message(answer: HttpAnswer) -> str:
    """Why a server has refused; it says so in JSON, whoever else answers may not."""
    text = answer.body.removeprefix(b"data: ")
    try:
        document = json.loads(text)
        if isinstance(document, dict):
            # Those of servers that are made with FastAPI, and of Triton's.
            for name in ("error", "detail", "message"):
                said = document.get(name)
                if said:
                    return said if isinstance(said, str) else json.dumps(said)
    except ValueError:
        pass
    if answer.status in range(300, 400) and "location" in answer.headers:
        return f"{answer.url} leads to {answer.headers['location']}, which is not followed: give that one"
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    said = f"the answer of {answer.url} is {answer.status} {phrase}".rstrip()
    return f"{said}{_DOUBT}" if answer.status in _UNKNOWN_PATHS else said


def _is_ok(answer: HttpAnswer) -> bool:
    if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE):
        return False
    check(answer)
    return True


def _nothing(answer: HttpAnswer) -> None:
    check(answer)


def _json(answer: HttpAnswer) -> Any:
    check(answer)
    try:
        return json.loads(answer.body)
    except ValueError:
        raise _no_server(answer, "it is no JSON") from None


def _object(answer: HttpAnswer) -> Json:
    document = _json(answer)
    if not isinstance(document, dict):
        raise _no_server(answer, "it is no object of JSON")
    return document


def _objects(answer: HttpAnswer) -> list[Json]:
    document = _json(answer)
    if not isinstance(document, list) or not all(isinstance(each, dict) for each in document):
        raise _no_server(answer, "it is no list of objects")
    return document


def _read_member(name: str) -> Callable[[HttpAnswer], list[Json]]:
    def read(answer: HttpAnswer) -> list[Json]:
        found = _object(answer).get(name)
        if not isinstance(found, list):
            raise _no_server(answer, f"it has no '{name}'")
        return found

    return read


def _result(answer: HttpAnswer) -> InferResult:
    check(answer)
    return decode_answer(answer)


def _no_server(answer: HttpAnswer, why: str) -> NoServerError:
    return NoServerError(f"the answer of {answer.url} is none of a v2 server: {why}")
