"""The fast lane: `infer` requests of the usual form, answered without ASGI, a task or a scope.

A connection asks the lane about each request whose head is complete. What the lane does not take goes the way of ASGI,
and gets the same answer there; see `InferHeads.read` for what that is.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from kserve_v2.acceptance import GIVEN, Carrying
from kserve_v2.errors import NotHereError, NotLoadedError
from kserve_v2.forms import Forms
from kserve_v2.inference import Inference
from kserve_v2.logs.log import Access, access_log_enabled
from kserve_v2.memory.inflight import InflightBytes, Share
from kserve_v2.messages import InferResponse
from kserve_v2.net.answer_text import Parts, any_answer, usual_answer
from kserve_v2.net.together import Together
from kserve_v2.rest.codec import ResponseFormat
from kserve_v2.rest.errors import error_response, known
from kserve_v2.rest.heads import Body, InferHead, InferHeads
from kserve_v2.rest.infer import (
    Asked,
    Prepared,
    answer,
    decode,
    encode,
    prepare,
)
from kserve_v2.rest.recurring import key_of, note
from kserve_v2.scheduling.demand import Demand
from kserve_v2.scheduling.slices import Slicer, Slices


class Lane(Protocol):
    """What a connection needs of a fast lane: what reads heads, where bodies are counted, which answers are sent
    together, whether there is an access log. None of this raises.
    """

    heads: InferHeads
    inflight: InflightBytes
    together: Together
    log_access: bool

    def takes(self, head: InferHead) -> bool:
        """Whether the request is for the lane now: what has to be asked each time, of heads known before, too."""
        ...

    def prepare(
        self, head: InferHead, body: Body, share: Share, *, access: Access | None = None
    ) -> "Sliced | None":
        """What is done in slices with a large body, and ends as `infer` would; None for nothing: ask that. `share`:
        counts the body and what comes of it, until that waits for the model.
        """
        ...

    def infer(self, head: InferHead, body: Body, *, access: Access | None = None) -> Parts | Asked:
        """The answer to a request if there is one at once; if not, the request that is under way."""
        ...

    def succeed(self, response: InferResponse, asked: Asked, *, access: Access | None) -> "Parts | Sliced":
        """The answer to a request that has been executed; if it is long, it is still to be written."""
        ...


class FastLane:
    """Answers `POST /v2/models/M[/versions/N]/infer` for all connections of a server. None of this raises, but for
    NotHereError, which there is only where the service has been made to raise it.
    """

    def __init__(self, service: Inference, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest request that is accepted."""
        self.heads = InferHeads(max_request_bytes)
        self.tracer = service.tracer
        self.inflight = service.inflight
        self.together = Together()
        self.log_access = access_log_enabled()
        self._service = service
        self._max_request_bytes = max_request_bytes
        self._forms: Forms[ResponseFormat] = Forms()
        self._slicer = service.slicer

    def takes(self, head: InferHead) -> bool:
        """Requests that are traced go the way of ASGI."""
        tracer = self.tracer
        return not tracer.on or tracer.passes_over(head.model_name, head.lines)

    def prepare(
        self, head: InferHead, body: Body, share: Share, *, access: Access | None = None
    ) -> "Sliced | None":
        """See `Lane`."""
        slices = prepare(self._service, head, body, self._max_request_bytes, share.hold_if_room)
        if slices is None:
            return None

        def found() -> Slices[Parts | Asked]:
            prepared = yield from slices
            share.give_back()
            # It was there before the slices began.
            with Carrying(GIVEN):
                return self.infer(head, body, access=access, prepared=prepared)

        return Sliced(self._slicer, found())

    def infer(
        self,
        head: InferHead,
        body: Body,
        *,
        access: Access | None = None,
        prepared: Prepared | None = None,
    ) -> Parts | Asked:
        """The answer to a request if its model gives one at once; if not, the request that is under way, or waits for
        its model to be loaded. `prepared`: what was made of the body before.
        """
        try:
            asked = (prepared is None and self._recall(head, body, access)) or self._decode(
                head, body, access, prepared
            )
            answered = asked.model.submit(asked.request, asked)
        except NotHereError:
            raise
        except NotLoadedError as error:
            return Demanded(self._service, error.model_name, body)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            return fail(error, access)
        if isinstance(answered, InferResponse):
            return self.succeed(answered, asked, access=access)
        asked.ticket = answered
        return asked

    def _recall(self, head: InferHead, body: Body, access: Access | None) -> Asked | None:
        """A request that is like an earlier one but for its id and its tensors."""
        key = key_of(head, body)
        found = None if key is None else self._forms.find(key, body)
        if found is None:
            return None
        form, request = found
        model = self._service.acquire(head.model_name, head.version)
        if model.signature is not form.signature:
            return None
        if access is not None:
            access.request_id = request.id
        return Asked(model, request, form.wanted, head.headers.get(b"accept-encoding"))

    def _decode(self, head: InferHead, body: Body, access: Access | None, prepared: Prepared | None) -> Asked:
        asked = decode(self._service, head, body, self._max_request_bytes, prepared=prepared)
        model, request = asked.model, asked.request
        if access is not None:
            access.request_id = request.id
        if not request.checked:
            asked.model = model = self._service.check(model, request)
        if prepared is None:
            note(self._forms, head, body, request, model.signature, asked.response_format)
        return asked

    def succeed(self, response: InferResponse, asked: Asked, *, access: Access | None) -> "Parts | Sliced":
        """See `Lane`."""
        try:
            if access is not None:
                access.executed(response)
            slices = _written(response, asked)
            try:
                next(slices)
            except StopIteration as end:
                parts: Parts = end.value
                return parts
            return Sliced(self._slicer, slices)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            return fail(error, access)


def _written(response: InferResponse, asked: Asked) -> Slices[Parts]:
    """An answer, whole."""
    encoded = yield from encode(response, asked)
    if asked.accept_encoding is None and not encoded.headers:
        return usual_answer(encoded.parts, encoded.json_bytes)
    headers, parts = yield from answer(encoded, asked.accept_encoding)
    return any_answer(200, headers, parts)


def fail(error: Exception, access: Access | None = None) -> Parts:
    """The answer to a request that has failed."""
    response = error_response(known(error))
    if access is not None:
        access.status = response.status_code
    body = (bytes(response.body),)
    return any_answer(response.status_code, response.raw_headers, body)


class Demanded(Asked):
    """A request whose model is being loaded for it: not decoded yet, as it is the model that says how."""

    __slots__ = ("_body", "_name", "_service")

    def __init__(self, service: Inference, name: str, body: Body) -> None:
        self._service = service
        self._name = name
        self._body = body
        self.ticket = None

    def begin(self, ask_again: Callable[[Body], None]) -> None:
        """Wait. When the model is loaded, `ask_again` is called with the body; else `take` with the error."""
        loading = self._service.demand(self._name, len(self._body))
        self.ticket = Demand(loading, partial(ask_again, self._body), self.take)


class Sliced(Asked):
    """A request whose body is being read, or whose answer is being written, in `slices`."""

    __slots__ = ("_slicer", "slices")

    def __init__(self, slicer: Slicer, slices: Slices[Parts] | Slices[Parts | Asked]) -> None:
        self._slicer = slicer
        self.slices: Slices[Parts | Asked] = slices
        self.ticket = None

    def begin(self, done: Callable[[Parts | Asked | Exception], None]) -> None:
        """Begin. `done` is called with what has come of it."""
        self.ticket = self._slicer.begin(self.slices, done)
