"""Traces as OpenTelemetry spans, exported by OTLP over HTTP. The only module that imports OpenTelemetry.

One request is a tree, as in Triton, with `receive`, `queue` and `send` besides:

    InferRequest ─ receive
                 ├ <model> ─ queue
                 │         └ compute ─ what a handler makes, and a tree like this for each model that it calls
                 └ send
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.trace import Trace

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 2

_PROPAGATOR = TraceContextTextMapPropagator()

_COMPUTE = frozenset({"COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"})
_REQUEST = frozenset({"REQUEST_START", "QUEUE_START", "INFER_RESPONSE_COMPLETE", "REQUEST_END"})


class SpanExport:
    """Where spans go. One per process: handlers find it as OpenTelemetry's global tracer provider."""

    def __init__(self, config: TraceConfig, processor: SpanProcessor | None = None) -> None:
        """`processor`: takes the spans in place of the exporter to `config.url`."""
        self._processor = processor or _exporter(config)
        resource = Resource.create({SERVICE_NAME: "kserve-v2", **dict(config.resource)})
        ours = TracerProvider(ParentBased(ALWAYS_ON), resource, shutdown_on_exit=False)
        # Spans of a handler belong to the request that is traced; without one there are none.
        theirs = TracerProvider(ParentBased(ALWAYS_OFF), resource, shutdown_on_exit=False)
        for provider in (ours, theirs):
            provider.add_span_processor(self._processor)
        self._tracer = ours.get_tracer("kserve_v2")
        otel.set_tracer_provider(theirs)

    def begin(
        self, model: str, headers: Mapping[str, str], start_ns: int, *, chosen: bool
    ) -> "RequestSpans | None":
        """The spans of a request that has come at `start_ns`; None if it is not to be traced. `chosen`: whether
        it is if its client does not say; who sends a trace context says.
        """
        parent = _PROPAGATOR.extract(headers, Context())
        caller = otel.get_current_span(parent).get_span_context()
        wanted = caller.trace_flags.sampled if caller.is_valid else chosen
        return RequestSpans(self._tracer, model, parent, start_ns) if wanted else None

    def close(self) -> None:
        """Send what is finished. Blocks for `_CLOSE_SECONDS` at the most, if there is nobody to take it."""
        closing = threading.Thread(target=self._processor.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        if closing.is_alive():
            logger.warning("spans are lost: they could not be sent in %d s", _CLOSE_SECONDS)


def _exporter(config: TraceConfig) -> SpanProcessor:
    return BatchSpanProcessor(
        OTLPSpanExporter(config.url or None),
        max_queue_size=config.bsp_max_queue_size,
        schedule_delay_millis=config.bsp_schedule_delay,
        max_export_batch_size=config.bsp_max_export_batch_size,
    )


class RequestSpans:
    """The spans of one request. Those that nothing happens inside of are made when it is over."""

    def __init__(
        self,
        tracer: otel.Tracer,
        model: str,
        parent: Context,
        start_ns: int,
        kind: SpanKind = SpanKind.SERVER,
    ) -> None:
        self._tracer = tracer
        self._model = model
        # Spans are in wall-clock time; all of one request by one offset, so that its durations are exact.
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._root = tracer.start_span("InferRequest", parent, kind, start_time=start_ns + self._offset_ns)
        self._request: Span | None = None
        self._compute: Span | None = None

    def begin_request(self, start_ns: int, model_version: str, request_id: str) -> None:
        """Start the span of the model's work."""
        attributes: dict[str, str | int] = {
            "triton.model_name": self._model,
            "triton.model_version": int(model_version),
        }
        if request_id:
            attributes["triton.request_id"] = request_id
        self._request = self._start(self._model, self._root, start_ns, attributes)

    @contextmanager
    def computing(self, start_ns: int) -> Iterator[None]:
        """Start the span of an execution; it is current inside the block."""
        if self._compute is not None:
            # The request is executed again, alone, after a batch that it was in has failed.
            self._compute.set_status(Status(StatusCode.ERROR, "the batch failed"))
            self._compute.end()
        self._compute = self._start("compute", self._request or self._root, start_ns)
        token = otel_context.attach(otel.set_span_in_context(self._compute))
        try:
            yield
        finally:
            otel_context.detach(token)

    def headers(self) -> dict[str, str]:
        """The trace context of the span that the model works in."""
        found: dict[str, str] = {}
        _PROPAGATOR.inject(found, self._innermost())
        return found

    def _innermost(self) -> Context:
        return otel.set_span_in_context(self._compute or self._request or self._root, Context())

    def child(self, model_name: str, start_ns: int) -> "RequestSpans":
        """The spans of a request that the model makes of another one, inside of this one's."""
        parent = self._innermost()
        return RequestSpans(self._tracer, model_name, parent, start_ns, SpanKind.INTERNAL)

    def finish(self, trace: Trace) -> None:
        """End all spans, at the times that the trace has noted."""
        self._root.set_attribute("triton.trace_id", trace.id)
        times = dict(trace.times)
        protocol = "HTTP" if "HTTP_RECV_START" in times else "GRPC"
        receive = ("HTTP_RECV_START", "HTTP_RECV_END")
        if protocol == "GRPC":
            receive = ("GRPC_WAITREAD_START", "GRPC_WAITREAD_END")
        self._add("receive", self._root, times, *receive)
        self._add("queue", self._request, times, "QUEUE_START", "COMPUTE_START")
        self._add("send", self._root, times, f"{protocol}_SEND_START", f"{protocol}_SEND_END")
        for name, time_ns in trace.times:
            span = self._compute if name in _COMPUTE else self._request if name in _REQUEST else self._root
            if span is not None:
                span.add_event(name, timestamp=time_ns + self._offset_ns)
        if trace.error:
            self._root.set_status(Status(StatusCode.ERROR, trace.error))
        self._end(self._compute, times.get("COMPUTE_END"))
        self._end(self._request, times.get("REQUEST_END"))
        self._end(self._root, trace.times[-1][1])

    def _start(
        self, name: str, parent: Span, start_ns: int, attributes: Mapping[str, str | int] | None = None
    ) -> Span:
        return self._tracer.start_span(
            name,
            otel.set_span_in_context(parent, Context()),
            attributes=attributes,
            start_time=start_ns + self._offset_ns,
        )

    def _add(self, name: str, parent: Span | None, times: Mapping[str, int], start: str, end: str) -> None:
        if parent is not None and start in times and end in times:
            self._end(self._start(name, parent, times[start]), times[end])

    def _end(self, span: Span | None, end_ns: int | None) -> None:
        if span is not None:
            span.end(None if end_ns is None else end_ns + self._offset_ns)
