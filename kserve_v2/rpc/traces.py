"""Traces of requests that come over gRPC."""

import time
from collections.abc import Mapping

import grpc

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.rpc.status import Context
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.tracer import Tracer


def text_metadata(context: Context) -> dict[str, str]:
    """The call's metadata that is text."""
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}


def begin_trace(tracer: Tracer, message: pb.ModelInferRequest, headers: Mapping[str, str]) -> Trace | None:
    """The trace of a request, None if it is not to be traced. grpc has read it before anybody is told of it."""
    now_ns = time.monotonic_ns()
    trace = tracer.begin(message.model_name, headers, "GRPC_WAITREAD_START", now_ns)
    if trace is not None:
        trace.stamp("GRPC_WAITREAD_END", now_ns)
    return trace


def trace_rpc(tracer: Tracer, message: pb.ModelInferRequest, context: Context) -> Trace | None:
    """As `begin_trace`, for a unary call: the trace is finished when grpc has sent the answer."""
    trace = begin_trace(tracer, message, text_metadata(context))
    if trace is None:
        return None

    def sent(_: object) -> None:
        if context.cancelled():
            trace.error = "the client left"
        elif context.code() not in {None, 0, grpc.StatusCode.OK}:
            trace.error = context.details()
        trace.stamp("GRPC_SEND_END")
        tracer.finish(trace)

    # A callback is any callable to grpc, but a class to its stubs.
    context.add_done_callback(sent)  # type: ignore[arg-type]
    return trace
