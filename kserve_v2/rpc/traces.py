"""What is taken down of requests that come over gRPC."""

import time
from collections.abc import Mapping

from kserve_v2.logs.log import Access, log_access
from kserve_v2.messages import InferResponse
from kserve_v2.rpc.calls import Context
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.tracer import Tracer


def text_metadata(context: Context) -> dict[str, str]:
    """The call's metadata that is text."""
    return {name: value for name, value in context.metadata if isinstance(value, str)}


def begin_trace(tracer: Tracer, model: str, headers: Mapping[str, str]) -> Trace | None:
    """The trace of a request, None if it is not to be traced. It has been read before anybody is told of it."""
    now_ns = time.monotonic_ns()
    trace = tracer.begin(model, headers, "GRPC_WAITREAD_START", now_ns)
    if trace is not None:
        trace.stamp("GRPC_WAITREAD_END", now_ns)
    return trace


class Observer:
    """The trace of a request, and its line of the access log, where there are such."""

    def __init__(self, tracer: Tracer, access: Access, context: Context) -> None:
        self._tracer = tracer
        self.access = access
        self.trace: Trace | None = None
        if tracer.on:
            self.trace = begin_trace(tracer, access.model, text_metadata(context))

    def executed(self, response: InferResponse) -> None:
        """The answer is there, and about to be sent."""
        self.access.executed(response)
        if self.trace is not None:
            self.trace.stamp("GRPC_SEND_START")

    def end(self, code: int, details: str) -> None:
        """The request is over, with that status."""
        self.access.status = code
        log_access(self.access)
        if self.trace is not None:
            self.trace.error = details
            self.trace.stamp("GRPC_SEND_END")
            self._tracer.finish(self.trace)
