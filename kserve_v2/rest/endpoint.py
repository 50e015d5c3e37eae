"""The hot paths of REST: a plain ASGI callable for `infer` and its kin, which hands everything else on.

Neither routing nor validation models nor a task of its own: that would take more time than most models do.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send

from kserve_v2.errors import NotLoadedError, RequestCancelledError, ServingError, UnfinishedError
from kserve_v2.logs.log import Access, access_log_enabled, log_access
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.attended import Attended
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.errors import error_response, known, method_not_allowed
from kserve_v2.rest.traces import RequestTracer, begin_trace, observed
from kserve_v2.tracing.trace import Trace

READY_PATH = "/v2/health/ready"

UI_PATH = "/ui/"
"""Where what is not of the protocol begins: the page's own routes."""

HEAD_REQUEST = "kserve_v2.head_request"
"""Scope key of a request for the head of an answer alone, which is otherwise as one with GET."""

QUERY = "kserve_v2.query"
"""Scope key of what stands behind the path, for whoever it matters to beside the routes of the protocol."""

Headers = Sequence[tuple[bytes, bytes]]

_TARGET = re.compile("/v2/models/([^/]+)(?:/versions/([^/]+))?/([^/]*)")

# A slash, encoded any number of times. Once decoded, it could not be told from what is between the parts of a path, nor
# `%2F` in a name from a slash.
_SLASH = re.compile("%((?:25)*)(2f)", re.IGNORECASE)


@dataclass(slots=True)
class Call:
    """One request to a model, its body read. `version` is "" where the path names none.

    `headers`: those of `WANTED_HEADERS` that it has; `all_headers`: all of them; `query`: what its URL says behind the
    path, which matters to few. `started`: the status of the answer has been sent, so an error can change it no more.
    `end_with`: ends an answer that has begun with an error; None where that cannot be told.
    """

    model_name: str
    version: str
    headers: Mapping[bytes, bytes]
    all_headers: Headers
    body: bytes | bytearray
    access: Access | None
    started: bool = False
    trace: Trace | None = None
    query: bytes = b""
    end_with: Callable[[ServingError], Awaitable[None]] | None = None

    def begun(self, request: InferRequest, model: LoadedModel) -> None:
        """The body has been decoded, and is let go."""
        self.body = b""
        if self.access is not None:
            self.access.request_id = request.id
        if self.trace is not None:
            model.begin_trace(request, self.trace)

    def executed(self, response: InferResponse) -> None:
        """The one response is there."""
        if self.access is not None:
            self.access.executed(response)


WANTED_HEADERS = frozenset(
    {b"content-length", b"content-encoding", b"accept-encoding", b"inference-header-content-length"}
)


Operation = Callable[[Call, Send], Awaitable[None]]
"""What a path does: it answers. It decodes the body before anything else, and then forgets it: what it says is counted
from then on as what waits for the model. A ServingError that is raised before `call.started` becomes the answer, but
for a NotLoadedError: with that, nothing has happened, and it is called again when the model is loaded.
"""


def parse_target(path: str) -> tuple[str, str, str] | None:
    """Operation, model name and version or label ("" if not given) of a path; None for a path of another form."""
    found = _TARGET.fullmatch(path)
    if found is None:
        return None
    name, version, operation = found.groups("")
    return operation, name_in_path(name), version


@dataclass(frozen=True, slots=True)
class Operations:
    """What a protocol does with models. `by_name`: by what `parse` finds in paths, which it does as `parse_target`."""

    by_name: Mapping[str, Operation]
    parse: Callable[[str], tuple[str, str, str] | None] = parse_target


class ModelEndpoint:
    """ASGI middleware: `POST /v2/models/M[/versions/N]/OPERATION`, and what other protocols have in its place."""

    def __init__(
        self,
        app: ASGIApp,
        operations: Sequence[Operations],
        bodies: BodyReader,
        tracer: RequestTracer,
        demand: Callable[[str, int], Awaitable[None]],
    ) -> None:
        """`operations`: of each protocol. `bodies` reads theirs. `demand`: the service's."""
        self._app = app
        self._tracer = tracer
        self._operations = operations
        self._bodies = bodies
        self._demand = demand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; see ASGI for the arguments."""
        if b"%" in scope["raw_path"]:
            scope = {**scope, "path": decode_path(scope["raw_path"])}
        operation, name, version = self._find(scope["path"])
        if operation is None:
            # FastAPI would read arguments from the query; as in Triton, only the path counts, with few exceptions.
            # FastAPI also does not answer HEAD where it answers GET; uvicorn leaves the body out.
            head, path = scope["method"] == "HEAD", scope["path"]
            method = "GET" if head else scope["method"]
            query = scope["query_string"] if path == READY_PATH or path.startswith(UI_PATH) else b""
            asked = {
                **scope,
                "method": method,
                "query_string": query,
                HEAD_REQUEST: head,
                QUERY: scope["query_string"],
            }
            await self._app(asked, receive, send)
        elif scope["method"] != "POST":
            await method_not_allowed("POST")(scope, receive, send)
        else:
            access = Access("rest", name, version, status=200) if access_log_enabled() else None
            call = Call(
                name,
                version,
                {name: value for name, value in scope["headers"] if name in WANTED_HEADERS},
                scope["headers"],
                b"",
                access,
                query=scope["query_string"],
            )
            trace = call.trace = begin_trace(self._tracer, call.model_name, scope)
            if trace is not None:
                receive, send = observed(trace, receive, send)
            await self._answer(operation, call, scope, receive, send)
            if trace is not None:
                self._tracer.finish(trace)
            if access is not None:
                log_access(access)

    def _find(self, path: str) -> tuple[Operation | None, str, str]:
        """The operation that a path is of, if any, its model's name, and its version."""
        for protocol in self._operations:
            target = protocol.parse(path)
            if target is not None and target[0] in protocol.by_name:
                return protocol.by_name[target[0]], *target[1:]
        return None, "", ""

    async def _answer(
        self, operation: Operation, call: Call, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Read the body and run the operation until it ends or the client leaves."""
        with Attended(scope) as attended:
            try:
                length = call.headers.get(b"content-length")
                announced = int(length) if length is not None else None
                call.body = await self._bodies.read(receive, announced)
                while True:
                    try:
                        await operation(call, send)
                    except NotLoadedError as unanswered:
                        missing = unanswered.model_name
                    else:
                        break
                    await self._demand(missing, len(call.body))
            except asyncio.CancelledError:
                if attended.take_back():
                    _note(RequestCancelledError("the client left"), call)
                else:
                    error = UnfinishedError("Server exiting: the request was not finished in time")
                    await _fail(error, call, scope, receive, send)
            except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
                await _fail(known(error), call, scope, receive, send)


def _note(error: ServingError, call: Call) -> None:
    if call.access is not None:
        call.access.status = error.code.value.http
    if call.trace is not None:
        call.trace.error = error.message


async def _fail(error: ServingError, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the error if that is still possible."""
    _note(error, call)
    if not call.started:
        await error_response(error)(scope, receive, send)
    elif call.end_with is not None:
        await call.end_with(error)


# --- names in paths, of models and regions; the slash of a key, REPOSITORY/MODEL, is sent encoded ---------------------


def decode_path(raw: bytes) -> str:
    """The path of a request without its percent-encoding, `raw` is ASCII. A slash that is encoded stays so: it belongs
    to a name, see `name_in_path`.
    """
    text = raw.decode("ascii")
    return unquote(_SLASH.sub(r"%25\1\2", text)) if "%" in text else text


def name_in_path(part: str) -> str:
    """A name or key from a part of a decoded path."""
    return _SLASH.sub(_decoded, part) if "%" in part else part


def _decoded(slash: re.Match[str]) -> str:
    percent, code = slash.groups()
    return f"%{percent[2:]}{code}" if percent else "/"


class _NameConvertor(Convertor[str]):
    """The same for routes, as `{model_name:model}` and `{region_name:region}`."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return name_in_path(value)


register_url_convertor("model", _NameConvertor())
register_url_convertor("region", _NameConvertor())
