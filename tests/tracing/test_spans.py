"""Traces as OpenTelemetry spans, seen by OpenTelemetry's own exporter."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.spans import RequestSpans, SpanExport
from kserve_v2.tracing.trace import Trace, computing
from kserve_v2.tracing.tracer import Tracer

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"

EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module")
def export() -> SpanExport:
    # One for the process, because OpenTelemetry's global provider can be set once.
    return SpanExport(TraceConfig(resource=(("zone", "east"),)), SimpleSpanProcessor(EXPORTER))


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    EXPORTER.clear()
    yield


def begin(export: SpanExport, start_ns: int = 1000, **headers: str) -> Trace:
    spans = export.begin("digits", headers, start_ns, chosen=True)
    assert spans is not None
    trace = Trace(5, "digits", spans=spans)
    trace.stamp("HTTP_RECV_START", start_ns)
    return trace


def answer(trace: Trace, error: str = "") -> dict[str, ReadableSpan]:
    """Go through a request's life; its spans by name."""
    trace.stamp("HTTP_RECV_END", 2000)
    trace.begin_request("2", "my-id", {})
    with computing([trace], 4000), otel.get_tracer("handler").start_as_current_span("inner"):
        pass
    trace.executed(3000, 4000, 5000, 6000, 7000)
    trace.stamp("INFER_RESPONSE_COMPLETE", 8000)
    trace.stamp("REQUEST_END", 9000)
    trace.stamp("HTTP_SEND_START", 10_000)
    trace.stamp("HTTP_SEND_END", 11_000)
    trace.error = error
    assert trace.spans is not None
    trace.spans.finish(trace)
    return finished()


def finished() -> dict[str, ReadableSpan]:
    return {span.name: span for span in EXPORTER.get_finished_spans()}


def parent(span: ReadableSpan, spans: dict[str, ReadableSpan]) -> str:
    """The name of a span's parent."""
    assert span.parent is not None
    [name] = [name for name, each in spans.items() if each.context.span_id == span.parent.span_id]
    return name


def test_the_tree(export: SpanExport) -> None:
    spans = answer(begin(export))
    root = spans.pop("InferRequest")
    assert root.parent is None
    tree = {name: parent(span, {**spans, "InferRequest": root}) for name, span in spans.items()}
    assert tree == {
        "receive": "InferRequest",
        "digits": "InferRequest",
        "queue": "digits",
        "compute": "digits",
        "inner": "compute",
        "send": "InferRequest",
    }
    assert {span.context.trace_id for span in spans.values()} == {root.context.trace_id}


def test_times_and_events(export: SpanExport) -> None:
    spans = answer(begin(export))
    start = spans["InferRequest"].start_time - 1000

    def times(name: str) -> tuple[int, int]:
        span = spans[name]
        return span.start_time - start, span.end_time - start

    assert times("InferRequest") == (1000, 11_000)
    assert times("receive") == (1000, 2000)
    assert times("queue") == (3000, 4000)
    assert times("compute") == (4000, 7000)
    assert times("digits")[1] == 9000
    assert times("send") == (10_000, 11_000)
    events = {name: [(e.name, e.timestamp - start) for e in span.events] for name, span in spans.items()}
    assert events["compute"] == [
        ("COMPUTE_START", 4000),
        ("COMPUTE_INPUT_END", 5000),
        ("COMPUTE_OUTPUT_START", 6000),
        ("COMPUTE_END", 7000),
    ]
    assert [name for name, _ in events["digits"]] == [
        "REQUEST_START", "QUEUE_START", "INFER_RESPONSE_COMPLETE", "REQUEST_END",
    ]  # fmt: skip
    assert [name for name, _ in events["InferRequest"]] == [
        "HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END",
    ]  # fmt: skip


def test_what_spans_say(export: SpanExport) -> None:
    spans = answer(begin(export))
    assert spans["digits"].attributes == {
        "triton.model_name": "digits",
        "triton.model_version": 2,
        "triton.request_id": "my-id",
    }
    assert spans["InferRequest"].attributes == {"triton.trace_id": 5}
    assert spans["InferRequest"].status.status_code is StatusCode.UNSET
    resource = spans["compute"].resource.attributes
    assert (resource["service.name"], resource["zone"]) == ("kserve-v2", "east")


def test_the_caller_s_trace_goes_on(export: SpanExport) -> None:
    spans = answer(begin(export, traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01", tracestate="vendor=1"))
    root = spans["InferRequest"]
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT_ID
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE_ID}
    assert root.context.trace_state["vendor"] == "1"


@pytest.mark.parametrize(
    ("traceparent", "chosen", "traced"),
    [
        (None, True, True),
        (None, False, False),
        (f"00-{TRACE_ID}-{PARENT_ID}-01", False, True),
        (f"00-{TRACE_ID}-{PARENT_ID}-00", True, False),
        # What is no trace context counts as none.
        ("nonsense", True, True),
        ("nonsense", False, False),
        (f"00-{'0' * 32}-{PARENT_ID}-01", False, False),
        (f"ff-{TRACE_ID}-{PARENT_ID}-01", False, False),
    ],
)
def test_who_decides(export: SpanExport, traceparent: str | None, chosen: bool, traced: bool) -> None:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    assert (export.begin("digits", headers, 0, chosen=chosen) is not None) is traced


def test_who_brings_a_trace_context_is_not_passed_over(export: SpanExport) -> None:
    tracer = Tracer(TraceConfig(levels=("TIMESTAMPS",), rate=1000, mode="opentelemetry"))
    tracer._export = export
    assert tracer.passes_over("m", b"Host: x\r\n")
    assert not tracer.passes_over("m", b"Host: x\r\nTraceParent: 00-1-1-01\r\n")


def test_an_error_marks_the_request(export: SpanExport) -> None:
    root = answer(begin(export), error="it broke")["InferRequest"]
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "it broke")


def test_a_request_that_never_reached_its_model_has_one_span(export: SpanExport) -> None:
    trace = begin(export)
    assert trace.spans is not None
    trace.spans.finish(trace)
    assert list(finished()) == ["InferRequest"]


def test_every_request_of_a_batch_has_its_own_span_and_the_first_s_is_current(export: SpanExport) -> None:
    traces = [begin(export), begin(export)]
    for trace in traces:
        trace.begin_request("1", "", {})
    with computing(traces, 4000):
        current = otel.get_current_span().get_span_context()
    assert not otel.get_current_span().get_span_context().is_valid
    for trace in traces:
        assert isinstance(trace.spans, RequestSpans)
        trace.spans.finish(trace)
    computed = [span for span in EXPORTER.get_finished_spans() if span.name == "compute"]
    assert len({span.context.trace_id for span in computed}) == 2
    assert current.span_id == computed[0].context.span_id


def test_a_second_try_is_a_second_span(export: SpanExport) -> None:
    trace = begin(export)
    trace.begin_request("1", "", {})
    with computing([trace], 4000):
        pass
    with computing([trace], 5000):
        pass
    trace.executed(3000, 5000, 6000, 7000, 8000)
    assert trace.spans is not None
    trace.spans.finish(trace)
    failed, good = (span for span in EXPORTER.get_finished_spans() if span.name == "compute")
    assert (failed.status.status_code, good.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert failed.events == ()


def test_a_handler_s_spans_without_a_traced_request_are_dropped(export: SpanExport) -> None:
    with otel.get_tracer("handler").start_as_current_span("alone"):
        pass
    assert finished() == {}
