"""Requests that are traced: what Triton's trace file then says of them, and what arrives as OpenTelemetry spans."""

import json
import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, WriteModel, launch
from tests.integration.ensemble_models import ensemble, write_ensemble
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.handlers import FAILING, identity
from tests.integration.support import json_tensor, wait_until

pytestmark = pytest.mark.slow

GOOD = {"id": "my-id", "inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2.5, 3])]}

# As many responses as the input says.
COUNTING = """
import numpy as np

class Model:
    inputs = {"COUNT": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}

    def __call__(self, inputs):
        for number in range(inputs["COUNT"].item()):
            yield {"OUT": np.array([number], np.int32)}
"""

# Makes a span of its own.
SPANNING = """
from opentelemetry import trace

class Model:
    inputs = {{"IN": ("FP32", [3])}}
    outputs = {{"OUT": ("FP32", [3])}}
    max_batch_size = 4

    {maybe_async}def __call__(self, inputs):
        with trace.get_tracer("handler").start_as_current_span("inner"):
            return {{"OUT": inputs["IN"]}}
"""

# Writes to its inputs.
DOUBLING = """
class Model:
    inputs = {"IN": ("FP32", [3])}
    outputs = {"OUT": ("FP32", [3])}
    max_batch_size = 4

    def __call__(self, inputs):
        inputs["IN"] *= 2
        return {"OUT": inputs["IN"]}
"""

# Calls the model that the request names, and one that there is not.
CALLING = """
from kserve_v2.errors import NotFoundError

class Model:
    inputs = {"IN": ("FP32", [3])}
    outputs = {"OUT": ("FP32", [3])}
    max_batch_size = 4

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        try:
            self.context.call("nosuch", {})
        except NotFoundError:
            return self.context.call("spanning", inputs)
"""

Start = Callable[..., RunningServer]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "bat", identity("FP32", [3], max_batch_size=4))
    write_model(root, "words", identity("BYTES", [-1]))
    write_model(root, "doubling", DOUBLING)
    write_model(root, "failing", FAILING)
    write_model(root, "counting", COUNTING)
    write_model(root, "spanning", SPANNING.format(maybe_async=""))
    write_model(root, "calling", CALLING)
    steps = [("bat", {"IN": "IN"}, {"OUT": "t"}), ("doubling", {"IN": "t"}, {"OUT": "OUT"})]
    three = "TYPE_FP32 [ 3 ]"
    write_ensemble(root, ensemble("stepping", steps, {"IN": three}, {"OUT": three}, "max_batch_size: 1"))
    write_model(root, "spanning_async", SPANNING.format(maybe_async="async "))
    return root


@pytest.fixture
def start(models: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a server with trace options; it must end cleanly."""
    servers: list[RunningServer] = []

    def start(*options: str) -> RunningServer:
        servers.append(launch(tmp_path, models, *(f"--trace-config={option}" for option in options)))
        return servers[-1]

    yield start
    assert [server.stop() for server in servers] == [0] * len(servers)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def infer(server: RunningServer, model: str = "bat", count: int = 1, **options: Any) -> None:
    for _ in range(count):
        answer = server.post(f"/v2/models/{model}/infer", json=GOOD, **options)
        assert answer.status_code == 200, answer.text


class Recorded:
    """One trace of a file."""

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {}
        self.times: dict[str, int] = {}
        self.tensors: dict[str, dict[str, str]] = {}


def read(path: Path) -> list[Recorded]:
    """The traces of a file, which must be JSON."""
    traces: dict[int, Recorded] = defaultdict(Recorded)
    for part in json.loads(path.read_bytes()):
        trace = traces[part["id"]]
        if "model_name" in part:
            trace.identity = part
        elif "timestamps" in part:
            [stamp] = part["timestamps"]
            trace.times[stamp["name"]] = stamp["ns"]
        else:
            trace.tensors[part["activity"]] = part["tensor"]
    return list(traces.values())


EXECUTION = [
    "REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END",
    "INFER_RESPONSE_COMPLETE", "REQUEST_END",
]  # fmt: skip
HTTP_TIMES = ["HTTP_RECV_START", "HTTP_RECV_END", *EXECUTION, "HTTP_SEND_START", "HTTP_SEND_END"]
GRPC_TIMES = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", *EXECUTION, "GRPC_SEND_START", "GRPC_SEND_END"]


def test_a_request_over_rest(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}")
    infer(server)
    assert server.stop() == 0
    [trace] = read(trace_file)
    assert trace.identity == {"id": 1, "model_name": "bat", "model_version": 1, "request_id": "my-id"}
    assert list(trace.times) == HTTP_TIMES
    assert list(trace.times.values()) == sorted(trace.times.values())
    assert trace.tensors == {}


def test_requests_over_grpc(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}")
    request = request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3]), id="over-grpc")
    with Channel(server) as channel:
        channel.infer(request)
        stream = channel.channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        assert [answer.error_message for answer in stream(iter([request] * 2), timeout=60)] == ["", ""]
    assert server.stop() == 0
    traces = read(trace_file)
    assert [trace.identity["request_id"] for trace in traces] == ["over-grpc"] * 3
    for trace in traces:
        assert list(trace.times) == GRPC_TIMES


def test_steps_of_an_ensemble_are_traces_of_their_own(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}")
    infer(server, "stepping")
    assert server.stop() == 0
    whole, *steps = read(trace_file)
    assert whole.identity["model_name"] == "stepping"
    assert list(whole.times) == [
        "HTTP_RECV_START", "HTTP_RECV_END", "REQUEST_START", "INFER_RESPONSE_COMPLETE", "REQUEST_END",
        "HTTP_SEND_START", "HTTP_SEND_END",
    ]  # fmt: skip
    assert [step.identity["model_name"] for step in steps] == ["bat", "doubling"]
    for step in steps:
        assert step.identity["parent_id"] == whole.identity["id"]
        assert step.identity["request_id"] == "my-id"
        assert list(step.times) == EXECUTION
    first, second = steps
    assert first.times["REQUEST_END"] <= second.times["REQUEST_START"]


def test_calls_of_a_model_are_traces_of_their_own(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}")
    infer(server, "calling")
    assert server.stop() == 0
    [outer, missing, inner] = read(trace_file)
    assert list(outer.times) == HTTP_TIMES
    assert missing.identity == {"id": 2, "model_name": "nosuch", "parent_id": 1}
    assert inner.identity == {
        "id": 3, "model_name": "spanning", "model_version": 1, "request_id": "my-id", "parent_id": 1,
    }  # fmt: skip
    assert list(inner.times) == EXECUTION
    assert outer.times["COMPUTE_START"] <= inner.times["REQUEST_START"]
    assert inner.times["REQUEST_END"] <= outer.times["COMPUTE_OUTPUT_START"]


def test_tensors(start: Start, trace_file: Path) -> None:
    server = start("level=TENSORS", "rate=1", f"triton,file={trace_file}")
    infer(server)
    words = {"inputs": [json_tensor("IN", "BYTES", [2], ['a "b"', "ŝ"])]}
    assert server.infer("words", words).status_code == 200
    infer(server, "doubling")
    assert server.stop() == 0
    numbers, texts, doubled = read(trace_file)
    in_ = {"name": "IN", "data": "1.0,2.5,3.0", "shape": "1,3", "dtype": "FP32"}
    assert numbers.tensors == {
        "TENSOR_QUEUE_INPUT": in_,
        "TENSOR_BACKEND_INPUT": in_,
        "TENSOR_BACKEND_OUTPUT": {**in_, "name": "OUT"},
    }
    assert doubled.tensors == {
        "TENSOR_QUEUE_INPUT": in_,
        "TENSOR_BACKEND_INPUT": in_,
        "TENSOR_BACKEND_OUTPUT": {**in_, "name": "OUT", "data": "2.0,5.0,6.0"},
    }
    assert texts.tensors["TENSOR_BACKEND_OUTPUT"] == {
        "name": "OUT", "data": '"a "b"","ŝ"', "shape": "2", "dtype": "BYTES",
    }  # fmt: skip


def test_streams(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}")
    body = {"COUNT": 3}
    assert server.post("/v2/models/counting/generate_stream", json=body).text.count("data: ") == 3
    assert server.stop() == 0
    parts = [part for part in json.loads(trace_file.read_bytes()) if "timestamps" in part]
    names = Counter(part["timestamps"][0]["name"] for part in parts)
    assert names == {**dict.fromkeys(HTTP_TIMES, 1), "INFER_RESPONSE_COMPLETE": 3}


def test_requests_that_fail_are_traced_as_far_as_they_came(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}")
    assert server.infer("nosuch", GOOD).status_code == 404
    assert server.infer("bat", {"inputs": []}).status_code == 400
    raises = {"inputs": [json_tensor("COMMAND", "BYTES", [1, 1], ["raise"])]}
    assert server.infer("failing", raises).status_code == 500
    assert server.stop() == 0
    unknown, wrong, failed = read(trace_file)
    assert list(unknown.times) == ["HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END"]
    assert unknown.identity == {"id": 1, "model_name": "nosuch"}
    assert "QUEUE_START" not in wrong.times
    assert {"QUEUE_START", "COMPUTE_START", "COMPUTE_END", "REQUEST_END"} <= set(failed.times)


def models_of(path: Path) -> Counter[str]:
    return Counter(trace.identity["model_name"] for trace in read(path))


def test_rate_and_count_and_changes(start: Start, trace_file: Path) -> None:
    server = start("rate=2", f"triton,file={trace_file}")
    infer(server, count=4)  # the level is OFF
    assert server.post("/v2/trace/setting", json={"trace_level": ["TIMESTAMPS"]}).status_code == 200
    infer(server, count=5)
    server.post("/v2/models/bat/trace/setting", json={"trace_rate": "1", "trace_count": "3"})
    infer(server, count=5)
    assert server.get("/v2/models/bat/trace/setting").json()["trace_count"] == "0"
    infer(server, "spanning", count=2)
    server.post("/v2/trace/setting", json={"trace_level": ["OFF"]})
    infer(server, count=2)
    assert server.stop() == 0
    assert models_of(trace_file) == {"bat": 2 + 3, "spanning": 1}


def test_requests_over_grpc_that_the_server_knows(start: Start, trace_file: Path) -> None:
    """They take fewer steps, but only while nobody wants to know which."""
    server = start("rate=1", f"triton,file={trace_file}")
    request = request_of("bat", tensor("IN", "FP32", [1, 3]), raw=[bytes(12)])
    with Channel(server) as channel:
        for level, count in (("OFF", 5), ("TIMESTAMPS", 3), ("OFF", 2)):
            server.post("/v2/trace/setting", json={"trace_level": [level]})
            for _ in range(count):
                # Without a deadline, whose header would be another one each time.
                channel.infer(request, timeout=None)
    assert server.stop() == 0
    assert [list(trace.times) for trace in read(trace_file)] == [GRPC_TIMES] * 3


def test_numbered_files(start: Start, trace_file: Path) -> None:
    server = start("level=TIMESTAMPS", "rate=1", f"triton,file={trace_file}", "triton,log-frequency=2")
    infer(server, count=5)
    first = trace_file.with_name("trace.json.0")
    wait_until(first.exists)
    assert models_of(first) == {"bat": 2}
    assert server.stop() == 0
    assert models_of(trace_file.with_name("trace.json.1")) == {"bat": 2}
    assert models_of(trace_file.with_name("trace.json.2")) == {"bat": 1}
    assert not trace_file.exists()


# --- OpenTelemetry --------------------------------------------------------------------------------------------

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}


class Collector:
    """What an OpenTelemetry collector is to an exporter: it takes OTLP over HTTP."""

    def __init__(self) -> None:
        received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.put(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._received = received
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def spans(self) -> list[Any]:
        """All spans that have come."""
        found: list[Any] = []
        while not self._received.empty():
            request = ExportTraceServiceRequest.FromString(self._received.get())
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def tree(spans: list[Any]) -> dict[str, str]:
    """Parent by name of span; "" where the parent is not among the spans."""
    names = {span.span_id: span.name for span in spans}
    assert len(names) == len({span.name for span in spans}), "one request is what this is for"
    return {span.name: names.get(span.parent_span_id, "") for span in spans}


def path(span: Any, spans: list[Any]) -> list[str]:
    """Names of spans from the root to this one."""
    for parent in spans:
        if parent.span_id == span.parent_span_id:
            return [*path(parent, spans), span.name]
    return [span.name]


def export_to(collector: Collector) -> tuple[str, ...]:
    return ("mode=opentelemetry", "level=TIMESTAMPS", f"opentelemetry,url={collector.url}")


@pytest.mark.parametrize("model", ["spanning", "spanning_async"])
def test_spans_over_rest(start: Start, collector: Collector, model: str) -> None:
    server = start(*export_to(collector), "rate=1000000")
    infer(server, model, headers=SAMPLED)
    # Neither chosen nor asked for: nothing, and nothing of the handler's.
    infer(server, model)
    assert server.stop() == 0
    spans = collector.spans()
    assert tree(spans) == {
        "InferRequest": "",
        "receive": "InferRequest",
        model: "InferRequest",
        "queue": model,
        "compute": model,
        "inner": "compute",
        "send": "InferRequest",
    }
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    [root] = [span for span in spans if span.name == "InferRequest"]
    assert root.parent_span_id.hex() == PARENT_ID
    for span in spans:
        assert root.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano


def test_spans_of_a_model_that_is_called(start: Start, collector: Collector) -> None:
    server = start(*export_to(collector), "rate=1000000")
    infer(server, "calling", headers=SAMPLED)
    assert server.stop() == 0
    spans = collector.spans()
    by_id = {span.span_id: span for span in spans}
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    [inner] = [span for span in spans if span.name == "inner"]
    outer = ["InferRequest", "calling", "compute"]
    assert path(inner, spans) == [*outer, "InferRequest", "spanning", "compute", "inner"]
    [missing] = [span for span in spans if span.status.message.startswith("Model nosuch - Error when")]
    assert path(missing, spans) == [*outer, "InferRequest"]
    for span in spans:
        if span.span_id != inner.span_id and span.parent_span_id in by_id:
            assert by_id[span.parent_span_id].start_time_unix_nano <= span.start_time_unix_nano


def test_spans_of_an_ensemble_s_steps(start: Start, collector: Collector) -> None:
    server = start(*export_to(collector), "rate=1000000")
    infer(server, "stepping", headers=SAMPLED)
    assert server.stop() == 0
    spans = collector.spans()
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    computed = [path(span, spans) for span in spans if span.name == "compute"]
    whole = ["InferRequest", "stepping", "InferRequest"]
    assert sorted(computed) == [[*whole, "bat", "compute"], [*whole, "doubling", "compute"]]


def test_spans_over_grpc(start: Start, collector: Collector) -> None:
    server = start(*export_to(collector), "rate=0")
    request = request_of("spanning", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3]))
    with Channel(server) as channel:
        channel.infer(request)
        channel.infer(request, metadata=tuple(SAMPLED.items()))
    assert server.stop() == 0
    spans = collector.spans()
    assert tree(spans)["inner"] == "compute"
    assert set(tree(spans)) == {"InferRequest", "receive", "spanning", "queue", "compute", "inner", "send"}
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}


def test_an_error_marks_the_root(start: Start, collector: Collector) -> None:
    server = start(*export_to(collector), "rate=1")
    raises = {"inputs": [json_tensor("COMMAND", "BYTES", [1, 1], ["refuse"])]}
    assert server.infer("failing", raises).status_code == 400
    with Channel(server) as channel:
        channel.infer_fails(request_of("nosuch"))
    assert server.stop() == 0
    roots = [span for span in collector.spans() if span.name == "InferRequest"]
    assert [root.status.code for root in roots] == [2, 2]
    assert roots[0].status.message == "COMMAND must not be 'refuse'"
    assert "nosuch" in roots[1].status.message


def test_a_collector_that_is_away_does_not_keep_the_server_from_ending(start: Start) -> None:
    server = start(
        "mode=opentelemetry", "level=TIMESTAMPS", "rate=1", "opentelemetry,url=http://127.0.0.1:9/v1/traces"
    )
    infer(server)
    assert server.stop() == 0
    assert "spans are lost" in server.log
