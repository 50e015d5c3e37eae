"""Traces of requests that come over gRPC."""

import time
from collections.abc import Mapping

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
