"""Predictions: a row to the model of ours that a version is, and back."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from kserve_v2.errors import ExitingError, NotLoadedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.log import Access
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.scheduling.failures import known
from kserve_v2.scheduling.replies import infer, stream
from kserve_v2.torchserve.rows import Answer, Failure, Row, answer_of, failure_of, request_of
from kserve_v2.torchserve_api.catalog import OUR_VERSION, Registration
from kserve_v2.torchserve_api.counters import Counters
from kserve_v2.torchserve_api.errors import TorchServeError, no_worker
from kserve_v2.torchserve_api.registry import Registry
from kserve_v2.tracing.trace import Trace

_UNAVAILABLE = "ServiceUnavailableException"
_MISSING = "ModelNotFoundException"


class Predictor:
    """Has requests answered. On the event loop."""

    def __init__(self, service: InferenceService, registry: Registry, counters: Counters) -> None:
        self._service, self._registry, self._counters = service, registry, counters

    async def predict(
        self,
        name: str,
        version: str,
        row: Row,
        access: Access | None = None,
        trace: Trace | None = None,
    ) -> tuple[Answer, AsyncGenerator[Answer, None] | None]:
        """The answer of a version, and what comes behind it, if the model answers in parts: whoever does not read that
        to its end closes it. Raises TorchServeError for what is none.
        """
        found = self._registry.find(name, version)
        self._counters.asked(name, version)
        timing = _Timing(self._counters, name, version, access)
        try:
            model, request = await self._acquire(found, row)
            if trace is not None:
                model.begin_trace(request, trace)
            if not model.decoupled:
                response = await infer(model, request)
                answer = answer_in(response)
                timing.end(response)
                return answer, None
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            raise told(error, found, version) from None
        parts = _parts(model, request, found, timing)
        first = await anext(parts, None)
        return (Answer(b"") if first is None else first), parts

    async def ask(self, name: str, row: Row, trace: Trace | None = None) -> Answer | Failure:
        """The whole answer at once, of a step of a workflow. `trace`: the step's own."""
        try:
            last, more = await self.predict(name, "", row, None, trace)
            body = bytearray(last.body)
            if more is not None:
                async with aclosing(more):
                    async for last in more:
                        body += last.body
        except TorchServeError as error:
            return Failure(error.code, error.kind, error.message)
        return Answer(bytes(body), last.content_type, last.status, last.reason, last.headers)

    async def _acquire(self, found: Registration, row: Row) -> tuple[LoadedModel, InferRequest]:
        """The model that answers, and the request, which is checked. Raises as the service does."""
        if not found.workers:
            raise no_worker(found.name)
        size = sum(len(field.value) for field in row.fields)
        while True:
            try:
                model = self._service.acquire(found.key, OUR_VERSION)
                request = request_of(row, found.key, OUR_VERSION)
                return self._service.check(model, request), request
            except NotLoadedError as error:
                missing = error.model_name
            await self._service.demand(missing, size)


@dataclass(slots=True)
class _Timing:
    """How long a request takes."""

    counters: Counters
    name: str
    version: str
    access: Access | None
    begun_ns: int = field(default_factory=time.monotonic_ns)

    def end(self, last: InferResponse) -> None:
        """It has ended well."""
        if self.access is not None:
            self.access.executed(last)
        self.counters.predicted(self.name, self.version, self.begun_ns, time.monotonic_ns(), last)


async def _parts(
    model: LoadedModel, request: InferRequest, found: Registration, timing: _Timing
) -> AsyncGenerator[Answer, None]:
    """The parts of an answer. Raises TorchServeError."""
    last: InferResponse | None = None
    try:
        async with aclosing(stream(model, request)) as responses:
            async for last in responses:
                yield answer_in(last)
    except Exception as error:  # noqa: BLE001 - as above
        raise told(error, found, timing.version) from None
    if last is not None:
        timing.end(last)


def answer_in(response: InferResponse) -> Answer:
    """The answer that a response is. Raises TorchServeError for what the handler has asked to be told, and the error
    that a part is.
    """
    if response.error is not None:
        raise response.error
    answer = answer_of(response)
    if isinstance(answer, Failure):
        raise TorchServeError(answer.code, answer.message, answer.type)
    return answer


def told(error: Exception, found: Registration, version: str) -> TorchServeError:
    """What a client is told of a request to a version that has come to nothing."""
    if isinstance(error, TorchServeError):
        return error
    if isinstance(error, ExitingError):
        return TorchServeError(503, error.message)
    failure = failure_of(known(error, "TorchServe's API"), found.name)
    if failure.type in (_UNAVAILABLE, _MISSING):
        # It is registered: then it is its workers that are missing.
        return no_worker(found.name, version)
    return TorchServeError(failure.code, failure.message, failure.type)
