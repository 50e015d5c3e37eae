"""One version of a model: its class, and the objects that answer."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mlserver.context import model_context
from mlserver.errors import MLServerError
from mlserver.model import MLModel
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters
from mlserver.utils import extract_headers, generate_uuid, insert_headers

from kserve_v2.backend import Placement, StreamedResponse
from kserve_v2.errors import (
    AlreadyExistsError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ServingError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.tensors.datatypes import BYTES
from kserve_v2.verbatim import BODY, HEADERS, STATUS, TENSORS

from .batches import Batch, CannotJoinError
from .payloads import request_from_json, request_from_tensors, response_to_json, response_to_tensors

logger = logging.getLogger(__name__)

# How many requests, or batches of them, one object works on at a time.
_MAX_CONCURRENCY = 256

_KINDS: dict[int, type[ServingError]] = {
    400: InvalidArgumentError,
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: AlreadyExistsError,
    422: InvalidArgumentError,
    429: OverloadedError,
    501: UnsupportedError,
    503: UnavailableError,
}
_SERVER_ERROR = 500

_SERVER_NAME = "mlserver"


def read_settings(file: Path, model_name: str) -> ModelSettings:
    """The settings of a file, with what its folder says where it says nothing."""
    settings = ModelSettings.parse_file(file)
    settings.name = settings.name or model_name
    if settings.parameters is None:
        settings.parameters = ModelParameters()
    settings.parameters.uri = settings.parameters.uri or str(file.parent)
    return settings


def streams(kind: type[Any]) -> bool:
    """Whether a class answers any number of times."""
    return kind.predict_stream is not MLModel.predict_stream


class LoadedMLModel:
    """A version. Each of its instances is an object of its class."""

    separates_requests: Literal[True] = True
    adds_instances: Literal[True] = True

    def __init__(self, settings: ModelSettings, kind: type[Any], *, decoupled: bool) -> None:
        self._settings = settings
        self._kind = kind
        self._decoupled = decoupled

    def instance(self, placement: Placement) -> "Instance":
        """Make an object, and load it. Raises what its code raises."""
        return (StreamsInstance if self._decoupled else BatchInstance)(self._settings, self._kind)

    def close(self) -> None:
        """Nothing is left of it."""


class Instance:
    """An object of a model's class. All of its code runs on one loop, from its load to its end."""

    fresh_outputs: Literal[True] = True
    max_concurrency = _MAX_CONCURRENCY

    def __init__(self, settings: ModelSettings, kind: type[Any]) -> None:
        self.event_loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.event_loop)
        try:
            self._model: Any = self.event_loop.run_until_complete(
                _loaded(settings.model_copy(deep=True), kind)
            )
            self.said_metadata = self.event_loop.run_until_complete(_metadata(self._model))
        except BaseException as error:
            self.event_loop.close()
            known = as_client_error(error)
            if known is not None:
                raise known from error
            raise

    def close(self) -> None:
        """Unload it, if it was never executed."""
        try:
            self.event_loop.run_until_complete(self.close_async())
        finally:
            self.event_loop.close()

    async def close_async(self) -> None:
        """Unload it."""
        with model_context(self._model.settings):
            self._model.ready = not await self._model.unload()

    async def _predict_one(self, tensors: Tensors, request: InferRequest) -> Tensors:
        """The answer to one request. Raises ServingError for what its client is told."""
        if "route" in _packed(request):
            return await self._answer_route(tensors, request)
        payload = _payload(tensors, request)
        with model_context(self._model.settings):
            response = await self._model.predict(payload)
        return _answer(response, payload, request, self._model, in_json=BODY in tensors)

    @cached_property
    def _routes(self) -> Any:
        # FastAPI takes long to import, and few models have paths of their own.
        return import_module(".routes", __package__).ModelRoutes(self._model)

    async def _answer_route(self, tensors: Tensors, request: InferRequest) -> Tensors:
        packed = _packed(request)
        with model_context(self._model.settings):
            status, found, body = await self._routes.answer(
                packed["route"], packed["headers"], tensors[BODY].item()
            )
        request.response_parameters = {STATUS: status, HEADERS: told(found)}
        return {BODY: _body(body)}


class BatchInstance(Instance):
    """One that answers each request once."""

    async def execute_async(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> list[Tensors | BaseException]:
        """The outcome of each request of a batch."""
        if len(requests) > 1:
            joined = await self._execute_joined(tensors, requests)
            if joined is not None:
                return joined
        return [await self._outcome(each, request) for each, request in zip(tensors, requests, strict=True)]

    async def _outcome(self, tensors: Tensors, request: InferRequest) -> Tensors | BaseException:
        try:
            return await self._predict_one(tensors, request)
        except Exception as error:  # noqa: BLE001 - whatever a model raises
            return as_client_error(error) or error

    async def _execute_joined(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> list[Tensors | BaseException] | None:
        """The answers to requests that fit together; None if they do not, or if one of them may be what is wrong."""
        if any("route" in _packed(request) for request in requests):
            return None
        try:
            payloads = [_payload(each, request) for each, request in zip(tensors, requests, strict=True)]
            batch = Batch(payloads)
        except (ServingError, CannotJoinError):
            return None
        try:
            with model_context(self._model.settings):
                answers = batch.split(await self._model.predict(batch.merged))
            return [
                _answer(answer, payload, request, self._model, in_json=BODY in each)
                for answer, payload, request, each in zip(answers, payloads, requests, tensors, strict=True)
            ]
        except Exception:  # noqa: BLE001 - each is executed by itself, and gets its own error
            return None


class StreamsInstance(Instance):
    """One that answers a request any number of times, if its client takes that; once if not."""

    def streams_async(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> list[AsyncIterator[StreamedResponse]]:
        """What is answered to each request of a batch."""
        return [self._stream(each, request) for each, request in zip(tensors, requests, strict=True)]

    async def _stream(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[StreamedResponse]:
        try:
            if request.packed is not None and "stream" not in request.packed:
                answer = await self._predict_one(tensors, request)
                yield StreamedResponse(answer, final=True, parameters=request.response_parameters)
                return
            payload, in_json = _payload(tensors, request), BODY in tensors
            responses = self._model.predict_stream(_one(payload))
            try:
                with model_context(self._model.settings):
                    async for response in responses:
                        answer = _answer(response, payload, request, self._model, in_json=in_json)
                        yield StreamedResponse(answer, parameters=request.response_parameters)
            finally:
                await responses.aclose()
        except Exception as error:
            known = as_client_error(error)
            if known is None:
                raise
            raise known from error


async def _one(payload: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    yield payload


async def _loaded(settings: ModelSettings, kind: type[Any]) -> Any:
    with model_context(settings):
        model = kind(settings)
        model.ready = await model.load()
    if not model.ready:
        raise InvalidArgumentError(
            f"load() of {kind.__name__} returned {model.ready!r}: the model is not ready. It has to return True"
        )
    return model


async def _metadata(model: Any) -> str:
    """What a model says of itself, once it is loaded; see `kserve_v2.backend.SaysMetadata`. A model that cannot say it
    is served all the same.
    """
    try:
        with model_context(model.settings):
            said = await model.metadata()
        return json.dumps(
            {
                "platform": said.platform,
                "inputs": [_tensor(each) for each in said.inputs or ()],
                "outputs": [_tensor(each) for each in said.outputs or ()],
            }
        )
    except Exception:
        logger.exception(
            "model '%s': metadata() has failed: clients are shown what its settings say", model.settings.name
        )
        return ""


def _tensor(said: Any) -> Mapping[str, Any]:
    parameters = {} if said.parameters is None else said.parameters.model_dump()
    return {"name": said.name, "datatype": str(said.datatype), "shape": said.shape, "parameters": parameters}


# --- what goes to a model and comes from it ---------------------------------------------------------------------------


def _packed(request: InferRequest) -> Mapping[str, Any]:
    return request.packed or {}


def _payload(tensors: Tensors, request: InferRequest) -> InferenceRequest:
    packed = _packed(request)
    if BODY in tensors:
        payload = request_from_json(tensors[BODY].item())
    else:
        payload = request_from_tensors(
            tensors, request.id, request.parameters, request.requested_outputs, packed.get("tensors", {})
        )
    if payload.id is None:
        payload.id = request.id or generate_uuid()
    events = _events("request", request.model_name, payload.id)
    return insert_headers(payload, {**packed.get("headers", {}), **events})


def _answer(
    response: Any, payload: InferenceRequest, request: InferRequest, model: Any, *, in_json: bool
) -> Tensors:
    """What the server takes for an answer. Headers and the like are put into the request's response parameters."""
    if not isinstance(response, InferenceResponse):
        raise InternalError(
            f"the model answered with {type(response).__name__}, expected an InferenceResponse"
        )
    response.id = payload.id
    headers = {**(extract_headers(response) or {}), **_events("response", model.name, payload.id)}
    if response.parameters is None:
        response.parameters = Parameters()
    request.response_parameters = {HEADERS: told(headers.items())}
    if in_json and "stream" in _packed(request):
        # An event has no headers.
        response.parameters.headers = headers
    if in_json:
        return {BODY: _body(response_to_json(response))}
    return _by_tensors(response, request)


def _by_tensors(response: InferenceResponse, request: InferRequest) -> Tensors:
    arrays, said = response_to_tensors(response)
    if "tensors" in _packed(request):
        request.response_parameters[TENSORS] = json.dumps(said)
    else:
        # Nobody is there who knows what to do with them.
        request.response_parameters = {}
    for name, value in (response.parameters.model_dump() if response.parameters else {}).items():
        # Names that begin so are the server's, and a model may repeat what its client has sent.
        if isinstance(value, bool | int | float | str) and not name.startswith("\0"):
            request.response_parameters[name] = value
    return arrays


def _body(content: bytes) -> "np.ndarray[Any, Any]":
    array = np.empty(1, BYTES.dtype)
    array[0] = content
    return array


def _events(kind: str, model: str, request_id: str | None) -> dict[str, str]:
    """The headers of CloudEvents that MLServer gives."""
    server = os.environ.get("MLSERVER_SERVER_NAME", _SERVER_NAME)
    headers = {
        "Ce-Specversion": "0.3",
        "Ce-Source": f"io.seldon.serving.deployment.{server}",
        "Ce-Type": f"io.seldon.serving.inference.{kind}",
        "Ce-Modelid": model,
        "Ce-Inferenceservicename": server,
        "Ce-Endpoint": model,
    }
    return headers | ({"Ce-Id": request_id, "Ce-Requestid": request_id} if request_id else {})


def as_client_error(error: BaseException) -> ServingError | None:
    """The error that the client is told; None for one that is the model's own."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, MLServerError):
        known = _KINDS.get(error.status_code)
        if known is None:
            known = InternalError if error.status_code >= _SERVER_ERROR else InvalidArgumentError
        return known(str(error))
    return None


def told(headers: Iterable[tuple[str, Any]]) -> str:
    """Headers as the server takes them."""
    return json.dumps([(str(name), str(value)) for name, value in headers])
