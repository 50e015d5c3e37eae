"""Inference requests from the page: answered as everybody's, and with the times of this one request in the header
`Server-Timing`, which browsers show as well. They go past the hot path.
"""

import time
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from kserve_v2.inference import InferenceService
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.endpoint import ModelEndpoint, Operations
from kserve_v2.rest.infer import Infer
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.tracer import Tracer

_SPANS = (
    ("queue", "QUEUE_START", "COMPUTE_START"),
    ("input", "COMPUTE_START", "COMPUTE_INPUT_END"),
    ("compute", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START"),
    ("output", "COMPUTE_OUTPUT_START", "COMPUTE_END"),
)


class TimedRequests:
    """The page's way to the models."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest body that is accepted."""
        self._service = service
        self._operations = [Operations({"infer": Infer(service, max_request_bytes)})]
        self._bodies = BodyReader(max_request_bytes, service.inflight)

    def infer(self, model_name: str, version: str) -> Response:
        """The answer to the request whose turn it is: the endpoint of the protocol, which reads its body itself."""
        return _TimedAnswer(self, model_name, version)

    async def answer(self, name: str, version: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to a model; see ASGI for the last three."""
        timing = _RequestTimes(self._service.tracer)
        service = self._service
        endpoint = ModelEndpoint(_unreachable, self._operations, self._bodies, timing, service.demand)
        of_version = f"/versions/{version}" if version else ""
        # The name is decoded already.
        asked = {**scope, "path": f"/v2/models/{name}{of_version}/infer", "raw_path": b""}
        await endpoint(asked, receive, timing.announced(send))


async def _unreachable(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("a request to a model is not handed on")


class _TimedAnswer(Response):
    def __init__(self, requests: TimedRequests, name: str, version: str) -> None:
        super().__init__()
        self._requests, self._name, self._version = requests, name, version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._requests.answer(self._name, self._version, scope, receive, send)


class _RequestTimes:
    """Stands in for the tracer for one request: takes its times down, and has it traced if it is chosen for that."""

    on = True

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._began_ns = time.monotonic_ns()
        self._trace: Trace | None = None
        self._chosen = False

    def begin(self, model: str, headers: Mapping[str, str], start: str, start_ns: int) -> Trace:
        trace = self._tracer.begin(model, headers, start, start_ns) if self._tracer.on else None
        self._chosen = trace is not None
        self._trace = trace or Trace(0, model)
        return self._trace

    def finish(self, trace: Trace) -> None:
        if self._chosen:
            self._tracer.finish(trace)

    def announced(self, send: Send) -> Send:
        """`send`, with the times in the header of the answer."""

        async def with_times(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = (b"server-timing", self._text().encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        return with_times

    def _text(self) -> str:
        spans = _spans(self._trace) if self._trace is not None else {}
        spans["server"] = time.monotonic_ns() - self._began_ns
        return ", ".join(f"{name};dur={duration_ns / 1e6:.3f}" for name, duration_ns in spans.items())


def _spans(trace: Trace) -> dict[str, int]:
    """The times of a request in ns, by name; of one that is answered by other models, the sums of theirs."""
    times = dict(trace.times)
    spans = {name: times[end] - times[start] for name, start, end in _SPANS if {start, end} <= times.keys()}
    if not spans:
        for child in trace.children:
            for name, duration_ns in _spans(child).items():
                spans[name] = spans.get(name, 0) + duration_ns
    return spans
