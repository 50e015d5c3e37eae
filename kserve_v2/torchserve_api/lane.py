"""Predictions of the usual form, answered without ASGI, a task or a scope; see `kserve_v2.rest.fast_lane`. Usual is a
body in one piece, not large, that is no form, for a model that gives one answer, on a connection that is to go on. All
else goes the way of ASGI, and gets the same answer there.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

import httptools

from kserve_v2.errors import NotLoadedError, ResourceExhaustedError, ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.log import Access, access_log_enabled
from kserve_v2.memory.inflight import Share
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.answer_text import JOIN_BYTES, LastParts, Parts, any_answer
from kserve_v2.net.multipart import media_type
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.net.together import Together
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.fast_call import FastCall
from kserve_v2.rest.fast_connection import FastConnection
from kserve_v2.rest.fast_lane import Demanded
from kserve_v2.rest.heads import Body, InferHead, InferHeads, Meaning, spelt_headers
from kserve_v2.rest.infer import Asked
from kserve_v2.torchserve.rows import usual_answer, usual_request
from kserve_v2.torchserve_api.answering import TOO_LARGE, Reply, of_answer, of_error, sendable
from kserve_v2.torchserve_api.answering import head as head_of
from kserve_v2.torchserve_api.app import Rules, told_unasked, too_large
from kserve_v2.torchserve_api.catalog import OUR_VERSION, Catalog, Registration
from kserve_v2.torchserve_api.errors import TorchServeError, no_worker
from kserve_v2.torchserve_api.http_rows import FORMS
from kserve_v2.torchserve_api.inference_calls import headers_of
from kserve_v2.torchserve_api.predictor import answer_in, told
from kserve_v2.torchserve_api.request_ids import new_request_id
from kserve_v2.torchserve_api.routes import Api, Call, route


class PredictionHead(InferHead):
    """What the head of a prediction says. `told`: what the handler finds as its headers. `usual`: whether it is for the
    lane.
    """

    __slots__ = ("content_type", "told", "usual")

    def __init__(self, lines: bytes, body_bytes: int, target: bytes, meaning: Meaning, *said: Any) -> None:
        super().__init__(lines, body_bytes, target, meaning, *said)
        spelt = {name.decode("latin-1"): value.decode("latin-1") for name, value in spelt_headers(lines)}
        self.told: Mapping[str, str] = headers_of(spelt, meaning[2])
        content_type = self.headers.get(b"content-type", b"")
        self.content_type = content_type.decode("latin-1") or None
        self.usual = self.keep_alive and media_type(content_type)[0].lower() not in FORMS


class PredictionHeads(InferHeads):
    """Reads heads for all connections of an address."""

    matters = InferHeads.matters | {b"content-type"}
    head = PredictionHead

    def __init__(self, apis: Collection[Api], rules: Rules, max_request_bytes: int) -> None:
        # What is larger is read in another way.
        super().__init__(min(max_request_bytes, LARGE_BYTES - 1))
        self._apis = sorted(apis, key=list(Api).index)
        self._rules = rules

    def _meaning(self, target: bytes) -> Meaning | None:
        """Model, version, and what stands behind them."""
        try:
            path = httptools.parse_url(target).path or b""
            found = route(self._apis, "POST", path.decode("latin-1"), open_protocol=self._rules.open_protocol)
        except (httptools.HttpParserInvalidURLError, TorchServeError):
            return None
        return (found.name, found.version, found.rest) if found.call is Call.PREDICT else None

    def read(self, data: bytes) -> InferHead | None:
        """As `InferHeads.read`. Forms go another way."""
        head = super().read(data)
        if head is None:
            return None
        assert isinstance(head, PredictionHead)  # noqa: S101 - see `head`
        return head if head.usual else None


class Models:
    """The models that are registered, and loaded."""

    def __init__(self, service: InferenceService, catalog: Catalog) -> None:
        self.service, self.catalog = service, catalog

    def answer_once(self, name: str, version: str) -> bool:
        """Whether a version is ready for requests, and gives one answer to each."""
        try:
            found = self.catalog.find(name, version)
            return found.workers > 0 and not self.service.acquire(found.key, OUR_VERSION).decoupled
        except (TorchServeError, ServingError):
            return False


class Prediction(Asked):
    """A request that is under way."""

    __slots__ = ("begun_ns", "found", "version")

    def __init__(self, model: LoadedModel, request: InferRequest, found: Registration, version: str) -> None:
        """`version`: as the request names it."""
        self.model, self.request = model, request
        self.found, self.version = found, version
        self.begun_ns = time.monotonic_ns()
        self.ticket = None


class PredictionLane:
    """Answers predictions for all connections of an address. None of this raises."""

    def __init__(
        self, apis: Collection[Api], rules: Rules, models: Models, max_request_bytes: int, *, decode: bool
    ) -> None:
        """`decode`: whether JSON and texts are read for handlers."""
        self.heads: InferHeads = PredictionHeads(apis, rules, max_request_bytes)
        self.inflight = models.service.inflight
        self.together = Together()
        self.log_access = False
        self._models = models
        self._service, self._catalog = models.service, models.catalog
        self._rules, self._decode = rules, decode
        self._usual_heads = {kind: _usual_head(kind, rules) for kind in ("", "application/json")}

    def takes(self, head: InferHead) -> bool:
        """Requests of which somebody is to be told go the way of ASGI, as do those to models that are not ready, or
        give more than one answer.
        """
        if self._service.tracer.on or access_log_enabled():
            return False
        return self._models.answer_once(head.model_name, head.version)

    def prepare(self, head: InferHead, body: Body, share: Share, *, access: Access | None = None) -> None:
        """Nothing: handlers read bodies themselves."""

    def infer(self, head: InferHead, body: Body, *, access: Access | None = None) -> Parts | Asked:
        """The request that is under way, or waits for its model to be loaded; or the answer if it is refused."""
        assert isinstance(head, PredictionHead)  # noqa: S101 - it is of `heads`
        request_id = new_request_id()
        try:
            found = self._catalog.find(head.model_name, head.version)
        except TorchServeError as error:
            return self.refused(error, request_id)
        try:
            answered = self._submit(found, head, body, request_id)
        except NotLoadedError as error:
            return Demanded(self._service, error.model_name, body)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            answered = self.refused(told(error, found, head.version), request_id)
        self._rules.counters.asked(head.model_name, head.version)
        return answered

    def _submit(
        self, found: Registration, head: PredictionHead, body: Body, request_id: str
    ) -> Parts | Asked:
        if not found.workers:
            raise no_worker(found.name)
        model = self._service.acquire(found.key, OUR_VERSION)
        if model.decoupled:
            # Since its head has come, the model was loaded with another configuration.
            raise no_worker(found.name)
        request = usual_request(
            bytes(body), head.content_type, head.told, request_id, found.key, OUR_VERSION, decode=self._decode
        )
        asked = Prediction(self._service.check(model, request), request, found, head.version)
        answered = asked.model.submit(request, asked)
        if isinstance(answered, InferResponse):
            return self.succeed(answered, asked, access=None)
        asked.ticket = answered
        return asked

    # --- answers ----------------------------------------------------------------------------------------------------

    def succeed(self, response: InferResponse, asked: Asked, *, access: Access | None) -> Parts:
        """The answer to a request that has been executed."""
        assert isinstance(asked, Prediction)  # noqa: S101 - it was made here
        request_id, counters = asked.request.id, self._rules.counters
        try:
            usual = usual_answer(response)
            reply = None if usual is not None else of_answer(answer_in(response))
            counters.predicted(asked.found.name, asked.version, asked.begun_ns, time.monotonic_ns(), response)
            body, content_type = usual or (b"" if reply is None else reply.body, "")
            limit = self._rules.max_response_bytes
            if limit and len(body) > limit:
                raise too_large(len(body), limit)  # noqa: TRY301 - as what is raised above
            if reply is not None:
                return self._text(reply, request_id)
            counters.answered(200)
            text = self._usual_heads[content_type] % (request_id.encode(), len(body))
            return (text + body,) if len(body) <= JOIN_BYTES else (text, body)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            return self.refused(told(error, asked.found, asked.version), request_id)

    def _text(self, reply: Reply, request_id: str) -> Parts:
        reply = sendable(reply)
        headers = head_of(reply, request_id, self._rules.cors)
        self._rules.counters.answered(reply.status)
        parts = any_answer(reply.status, headers, (reply.body,))
        return LastParts(parts) if (b"connection", b"close") in headers else parts

    def failed(self, error: ServingError, asked: Asked | None, head: InferHead) -> Parts:
        """The answer to a request that has come to nothing. `asked`: None if it was not begun."""
        if isinstance(asked, Prediction):
            return self.refused(told(error, asked.found, asked.version), asked.request.id)
        if asked is None:
            request_id = new_request_id()
            if isinstance(error, ResourceExhaustedError):
                return self._text(TOO_LARGE, request_id)
            return self.refused(told_unasked(error), request_id)
        try:
            found = self._catalog.find(head.model_name, head.version)
        except TorchServeError as missing:
            return self.refused(missing)
        return self.refused(told(error, found, head.version))

    def refused(self, error: TorchServeError, request_id: str = "") -> Parts:
        """The answer that an error is."""
        return self._text(of_error(error), request_id or new_request_id())


def _usual_head(content_type: str, rules: Rules) -> bytes:
    """That of an answer of which nothing else is said; its id and its length are to be filled in."""
    lines = head_of(Reply(200, b"", content_type), "\0", rules.cors)
    escaped = b"".join(any_answer(200, lines, ())).replace(b"%", b"%%")
    return escaped.replace(b"\0", b"%b").replace(b"content-length: 0", b"content-length: %d")


class PredictionCall(FastCall):
    """One prediction that is waited for."""

    __slots__ = ()

    _lane: PredictionLane

    def _failure(self, error: ServingError) -> Parts:
        return self._lane.failed(error, self._asked, self.head)

    def _unfinished(self) -> Parts:
        return self._lane.refused(TorchServeError(503, "Server exiting"))


class PredictionConnection(FastConnection):
    """The predictions of one connection."""

    call = PredictionCall
