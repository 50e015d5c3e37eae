"""One address of TorchServe's: the ASGI application that finds out which of its calls a request is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from kserve_v2.errors import OverloadedError, RequestCancelledError, ResourceExhaustedError, ServingError
from kserve_v2.logs.log import Access, access_log_enabled, log_access
from kserve_v2.net.attended import Attended
from kserve_v2.net.model_answers import BODYLESS
from kserve_v2.net.origins import foreign_origin, rebound_name
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.traces import RequestTracer, begin_trace, observed
from kserve_v2.torchserve_api.answering import TOO_LARGE, Headers, Reply, head, of_error, sendable
from kserve_v2.torchserve_api.counters import Counters
from kserve_v2.torchserve_api.errors import TorchServeError
from kserve_v2.torchserve_api.http_rows import RAW_HEADERS
from kserve_v2.torchserve_api.request_ids import new_request_id
from kserve_v2.torchserve_api.routes import Api, Call, Route, route
from kserve_v2.torchserve_api.tokens import Tokens
from kserve_v2.tracing.trace import Trace

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """One request, its body read. `headers`: as the client has spelt them; of those that are there twice, the last."""

    route: Route
    method: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes | bytearray
    request_id: str
    access: Access | None = None
    trace: Trace | None = None
    lower: Mapping[str, str] = field(default_factory=dict)
    """The headers by their names in lower case."""

    def header(self, name: str) -> str:
        """A header, whatever its spelling; "" if there is none."""
        return self.lower.get(name, "")


Answering = Callable[[Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every request. `cors`: the headers of that kind, which every answer has."""

    bodies: BodyReader
    counters: Counters
    tracer: RequestTracer
    tokens: Tokens | None = None
    open_protocol: bool = False
    model_api: bool = True
    max_response_bytes: int = 0
    cors: Headers = ()


class TorchServeApp:
    """Answers the requests of one address."""

    def __init__(self, apis: Collection[Api], calls: Mapping[Call, Answering], rules: Rules) -> None:
        """`calls`: what answers them."""
        self._apis = sorted(apis, key=list(Api).index)
        self._calls, self._rules = calls, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; see ASGI for the arguments."""
        request_id = new_request_id()
        raw = scope.get(RAW_HEADERS, scope["headers"])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
        answering = _Answering(self._rules, request_id, send)
        with Attended(scope) as attended:
            try:
                await self._answer(scope, receive, headers, answering)
            except asyncio.CancelledError:
                if not attended.take_back():
                    await answering.fail(TorchServeError(503, "Server exiting"))

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], answering: "_Answering"
    ) -> None:
        access: Access | None = None
        trace: Trace | None = None
        try:
            lower = {name.lower(): value for name, value in headers.items()}
            found = self._route(scope)
            if self._rules.tokens is not None and found.call is not Call.TOKEN:
                self._rules.tokens.check(found.api, lower.get("authorization", ""))
            if found.api is Api.MANAGEMENT and scope["method"] not in _SAFE:
                _raise_if_foreign(scope)
            if access_log_enabled() and found.call in _PREDICTIONS:
                access = Access("torchserve", found.name, found.version, answering.request_id, 200)
            if found.call in _PREDICTIONS:
                trace = begin_trace(self._rules.tracer, found.name, scope)
            if trace is not None:
                receive = answering.observe(trace, receive)
            length = lower.get("content-length", "")
            body = await self._rules.bodies.read(receive, int(length) if length.isdigit() else None)
            asked = Asked(
                found,
                scope["method"],
                scope["query_string"],
                headers,
                body,
                answering.request_id,
                access,
                trace,
                lower,
            )
            await answering.send(await self._calls[found.call](asked))
        except RequestCancelledError:
            answering.status = 499
        except ResourceExhaustedError:
            await answering.reply(TOO_LARGE)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            await answering.fail(told_unasked(error))
        finally:
            if trace is not None:
                self._rules.tracer.finish(trace)
        if access is not None:
            access.status = answering.status
            log_access(access)

    def _route(self, scope: Scope) -> Route:
        path = scope["raw_path"].decode("latin-1")
        rules = self._rules
        return route(
            self._apis, scope["method"], path, open_protocol=rules.open_protocol, model_api=rules.model_api
        )


_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def _raise_if_foreign(scope: Scope) -> None:
    """Raise TorchServeError for a call that changes something, and that a page of another site has a browser send."""
    address, _ = scope["server"] or ("", None)
    foreign = foreign_origin(scope["headers"]) or rebound_name(scope["headers"], address)
    if foreign is not None:
        raise TorchServeError(403, f"A page of {foreign} may not do this", "AccessDeniedException")


_PREDICTIONS = frozenset({Call.PREDICT, Call.EXPLAIN, Call.INVOKE, Call.WORKFLOW})


class _Answering:
    """Sends the answer to one request."""

    def __init__(self, rules: Rules, request_id: str, send: Send) -> None:
        self.request_id = request_id
        self.status = 0
        """Of what was sent; 0 for nothing."""
        self._rules, self._send = rules, send
        self._trace: Trace | None = None

    def observe(self, trace: Trace, receive: Receive) -> Receive:
        """Have what is read, and what is answered, taken down; returns what is to be read from."""
        self._trace = trace
        receive, self._send = observed(trace, receive, self._send)
        return receive

    async def reply(self, reply: Reply) -> None:
        """Send an answer whose parts are all there."""
        reply = sendable(reply)
        self.status = reply.status
        self._rules.counters.answered(reply.status)
        headers = head(reply, self.request_id, self._rules.cors)
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send(
            {"type": "http.response.body", "body": reply.body, "more_body": reply.more is not None}
        )

    async def send(self, reply: Reply) -> None:
        """Send any answer. Raises what a stream raises before its second part."""
        limit = self._rules.max_response_bytes
        if reply.more is None:
            self._check(len(reply.body), limit)
            await self.reply(reply)
            return
        async with aclosing(reply.more) as more:
            self._check(len(reply.body), limit)
            await self.reply(reply)
            async for part in more:
                self._check(len(part.body), limit)
                if self.status not in BODYLESS:
                    await self._send({"type": "http.response.body", "body": part.body, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: TorchServeError) -> None:
        """Send an error, if nothing was sent yet. A stream that has begun is cut off: its end would look like a whole
        answer's.
        """
        if self._trace is not None:
            self._trace.error = error.message
        if not self.status:
            await self.reply(of_error(error))
        else:
            # Returning in the middle of an answer has the server close the connection.
            logger.error("the stream of request %s has ended early: %s", self.request_id, error.message)

    @staticmethod
    def _check(size: int, limit: int) -> None:
        if limit and size > limit:
            raise too_large(size, limit)


def too_large(size: int, limit: int) -> TorchServeError:
    """An answer is, of `size` bytes."""
    return TorchServeError(500, f"The answer has {size} bytes, and max_response_size is {limit}")


def told_unasked(error: Exception) -> TorchServeError:
    """What a client is told of a request that has not reached a model."""
    if isinstance(error, TorchServeError):
        return error
    if isinstance(error, OverloadedError):
        return TorchServeError(503, error.message)
    if isinstance(error, ServingError):
        return TorchServeError(error.code.value.http, error.message)
    logger.error("unexpected error in TorchServe's API", exc_info=error)
    return TorchServeError(500, "Internal server error")
