"""Decoupled models, ModelStreamInfer, generate and generate_stream, with real clients."""

import json
import queue
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, statistics, wait_until

# Yields 0 … n-1. A negative n fails after -n responses; the second step of a `gate` waits for a connection.
COUNTER = """
import asyncio, socket
import numpy as np
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"i": ("INT32", [1])}
    {async_}def __call__(self, inputs, request):
        n = int(inputs["n"][0])
        gate = request.parameters.get("gate")
        for i in range(abs(n)):
            if gate and i == 1:
                {wait}
            request.response_parameters["progress"] = i / abs(n)
            yield {"i": np.array([i], np.int32)}
        if n < 0:
            raise ValueError("no more")
"""

# Says how far it has come when it is closed.
ENDLESS = """
import os
from pathlib import Path
import numpy as np
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"i": ("INT32", [1])}
    def load(self, context):
        self.log = context.path / "closed.txt"
    def __call__(self, inputs):
        i = 0
        try:
            while True:
                yield {"i": np.full([int(inputs["n"][0])], i, np.int32)[:1].repeat(1)}
                i += 1
        finally:
            with self.log.open("a") as log:
                log.write(f"{i}\\n")
"""

ECHO = """
class Model:
    inputs = {"text_input": ("BYTES", [1]), "numbers": ("FP32", [-1])}
    outputs = {"text_output": ("BYTES", [1]), "sum": ("FP32", [1])}
    max_batch_size = 8
    def __call__(self, inputs, requests):
        start = 0
        for request in requests:
            request.response_parameters.update(request.parameters)
        return {"text_output": inputs["text_input"], "sum": inputs["numbers"].sum(-1, keepdims=True)}
"""

VECTOR = """
class Model:
    inputs = {"vec": ("INT32", [3])}
    outputs = {"out": ("INT32", [3])}
    max_batch_size = 4
    def __call__(self, inputs):
        return {"out": inputs["vec"]}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("streams")
    waits = 'socket.create_connection(("127.0.0.1", gate), 30).recv(1)'
    write_model(root, "dec", COUNTER.replace("{async_}", "").replace("{wait}", waits))
    waits = 'reader, writer = await asyncio.open_connection("127.0.0.1", gate); await reader.read(1)'
    write_model(root, "adec", COUNTER.replace("{async_}", "async ").replace("{wait}", waits))
    write_model(root, "endless", ENDLESS)
    write_model(root, "echo", ECHO)
    write_model(root, "vec", VECTOR)
    return root


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    return start_server(repository)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that is over."""
    return [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]


both = pytest.mark.parametrize("model", ["dec", "adec"])


class Stream:
    """One ModelStreamInfer of tritonclient, and what came through it."""

    def __init__(self, server: RunningServer, **start: Any) -> None:
        self.client = triton.InferenceServerClient(server.grpc)
        self.results: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: self.results.put(error or result), **start)

    def send(self, model: str, n: int, request_id: str = "", **options: Any) -> None:
        tensor = triton.InferInput(
            "n" if model != "vec" else "vec", [1] if model != "vec" else [1, 3], "INT32"
        )
        tensor.set_data_from_numpy(np.full(tensor.shape(), n, np.int32))
        self.client.async_stream_infer(model, [tensor], request_id=request_id, **options)

    def next(self) -> Any:
        return self.results.get(timeout=60)

    def close(self) -> None:
        self.client.stop_stream()
        self.client.close()


@contextmanager
def streaming(server: RunningServer, **start: Any) -> Iterator[Stream]:
    with closing(Stream(server, **start)) as stream:
        yield stream


def described(result: Any) -> tuple[str, list[int] | None, bool]:
    """Id, value and final flag of one response."""
    response = result.get_response()
    final = response.parameters["triton_final_response"].bool_param
    value = result.as_numpy("i")
    return response.id, value.tolist() if value is not None else None, final


# --- ModelStreamInfer -------------------------------------------------------------------------------------------------


@both
def test_responses_of_a_decoupled_model(server: RunningServer, model: str) -> None:
    with streaming(server) as stream:
        stream.send(model, 3, "a")
        assert [described(stream.next()) for _ in range(3)] == [("a", [i], False) for i in range(3)]


@both
@pytest.mark.parametrize("n", [0, 2])
def test_an_empty_final_response_for_those_who_ask(server: RunningServer, model: str, n: int) -> None:
    with streaming(server) as stream:
        stream.send(model, n, "a", enable_empty_final_response=True)
        results = [stream.next() for _ in range(n + 1)]
        assert [described(result) for result in results[:-1]] == [("a", [i], False) for i in range(n)]
        final = results[-1].get_response()
        assert (final.model_name, final.model_version, final.id, len(final.outputs)) == (model, "", "a", 0)
        assert final.parameters["triton_final_response"].bool_param is True


def test_no_responses_and_no_final_one(server: RunningServer) -> None:
    with streaming(server) as stream:
        stream.send("dec", 0, "nothing")
        stream.send("dec", 1, "something")
        assert described(stream.next()) == ("something", [0], False)


def test_models_that_answer_once_answer_in_order(server: RunningServer) -> None:
    with streaming(server) as stream:
        for number in range(50):
            stream.send("vec", number, str(number))
        for number in range(50):
            result = stream.next()
            assert result.get_response().id == str(number)
            assert result.as_numpy("out").tolist() == [[number] * 3]
            assert result.get_response().parameters["triton_final_response"].bool_param is True


@both
def test_an_error_is_a_message_and_the_stream_goes_on(server: RunningServer, model: str) -> None:
    with streaming(server) as stream:
        stream.send(model, -2, "bad")
        assert [described(stream.next())[:2] for _ in range(2)] == [("bad", [0]), ("bad", [1])]
        error = stream.next()
        assert isinstance(error, InferenceServerException)
        assert "ValueError: no more" in error.message()
        stream.send("nosuch", 1)
        assert "Request for unknown model: 'nosuch' is not found" in stream.next().message()
        stream.send(model, 1, "good")
        assert described(stream.next()) == ("good", [0], False)


def test_an_execution_error_ends_the_stream_for_those_who_ask(server: RunningServer) -> None:
    with streaming(server, headers={"triton_grpc_error": "true"}) as stream:
        stream.send("nosuch", 1)
        assert "unknown model" in stream.next().message()
        stream.send("dec", -1)
        assert described(stream.next())[1] == [0]
        error = stream.next()
        assert error.status() == "StatusCode.INTERNAL"
        assert "no more" in error.message()


def test_decoupled_requests_of_a_stream_run_at_the_same_time(server: RunningServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gate, streaming(server) as stream:
        port = gate.getsockname()[1]
        stream.send("adec", 2, "slow", parameters={"gate": port})
        assert described(stream.next())[:2] == ("slow", [0])
        stream.send("adec", 2, "quick")
        assert [described(stream.next())[:2] for _ in range(2)] == [("quick", [0]), ("quick", [1])]
        gate.accept()[0].close()
        assert described(stream.next())[:2] == ("slow", [1])


def test_a_client_that_cancels_stops_the_generator(server: RunningServer, repository: Path) -> None:
    log = repository / "endless" / "1" / "closed.txt"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    stream = Stream(server)
    stream.send("endless", 1)
    assert described(stream.next())[1] == [0]
    stream.client.stop_stream(cancel_requests=True)
    stream.client.close()
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == before + 1)


# --- single answers of decoupled models -------------------------------------------------------------------------------


def test_decoupled_models_do_not_answer_infer(server: RunningServer) -> None:
    response = server.infer("dec", {"inputs": []})
    assert response.status_code == 501
    assert error_of(response) == "HTTP end point doesn't support models with decoupled transaction policy"
    client = triton.InferenceServerClient(server.grpc)
    with closing(client), pytest.raises(InferenceServerException) as error:
        client.infer("dec", [])
    assert error.value.status() == "StatusCode.UNIMPLEMENTED"
    assert error.value.message() == "ModelInfer RPC doesn't support models with decoupled transaction policy"


def test_the_configuration_says_that_a_generator_is_decoupled(server: RunningServer) -> None:
    assert server.get("/v2/models/dec/config").json()["model_transaction_policy"] == {"decoupled": True}


# --- generate_stream --------------------------------------------------------------------------------------------------


@both
def test_events(server: RunningServer, model: str) -> None:
    response = server.post(f"/v2/models/{model}/generate_stream", json={"n": 2, "id": "x"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert events(response) == [
        {"i": 0, "id": "x", "model_name": model, "model_version": "1", "progress": 0.0},
        {"i": 1, "id": "x", "model_name": model, "model_version": "1", "progress": 0.5},
    ]


@both
def test_no_events(server: RunningServer, model: str) -> None:
    response = server.post(f"/v2/models/{model}/versions/1/generate_stream", json={"n": 0})
    assert (response.status_code, response.content) == (200, b"")


@both
def test_the_first_event_is_sent_before_the_second_is_made(server: RunningServer, model: str) -> None:
    """The second step waits for the test, which reads the first event before it lets it go on."""
    url = f"{server.rest}/v2/models/{model}/generate_stream"
    with socket.create_server(("127.0.0.1", 0)) as gate:
        body = {"n": 2, "gate": gate.getsockname()[1]}
        with httpx.stream("POST", url, json=body, timeout=60) as response:
            lines = response.iter_lines()
            assert json.loads(next(lines).removeprefix("data: "))["i"] == 0
            gate.accept()[0].close()
            assert [json.loads(line[6:])["i"] for line in lines if line] == [1]


@both
def test_a_late_error_is_an_event(server: RunningServer, model: str) -> None:
    response = server.post(f"/v2/models/{model}/generate_stream", json={"n": -1})
    assert response.status_code == 200
    first, error = events(response)
    assert first["i"] == 0
    assert "ValueError: no more" in error["error"]


def test_a_reader_that_leaves_stops_the_generator(server: RunningServer, repository: Path) -> None:
    log = repository / "endless" / "1" / "closed.txt"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    with httpx.stream("POST", f"{server.rest}/v2/models/endless/generate_stream", json={"n": 1}) as response:
        next(response.iter_lines())
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == before + 1)


def test_a_reader_that_does_not_read_holds_the_generator_back(
    server: RunningServer, repository: Path
) -> None:
    """What the sockets hold is bounded, so the generator comes to a halt; then the reader leaves."""
    log = repository / "endless" / "1" / "closed.txt"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    body = b'{"n": 1}'
    host, port = server.rest.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /v2/models/endless/generate_stream HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        client.recv(100)
        steps: list[int] = []

        def at_a_halt() -> bool:
            responses = statistics(server, "endless")["response_stats"]
            steps.append(len(responses))
            return len(steps) > 20 and len(set(steps[-20:])) == 1

        wait_until(at_a_halt)
    wait_until(lambda: len(log.read_text().splitlines()) == before + 1)
    # A socket's buffers hold some megabytes of events of 60 bytes; without a bound there would be millions.
    assert int(log.read_text().splitlines()[-1]) < 300_000


# --- generate ---------------------------------------------------------------------------------------------------------


def test_generate(server: RunningServer) -> None:
    body = {"text_input": "hi", "numbers": [1, 2, 3.5], "parameters": {"temperature": 0.5}, "stream": False}
    response = server.post("/v2/models/echo/generate", json=body)
    assert response.headers["content-type"] == "application/json"
    assert response.text == (
        '{"model_name":"echo","model_version":"1","stream":false,"sum":6.5,"temperature":0.5,"text_output":"hi"}'
    )


@pytest.mark.parametrize("n", [0, 2])
def test_generate_wants_exactly_one_response(server: RunningServer, n: int) -> None:
    response = server.post("/v2/models/dec/generate", json={"n": n})
    assert response.status_code == 400
    assert error_of(response) == (
        "generate expects model to produce exactly 1 response, use generate stream for model that generates "
        "various number of responses"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])],
)
def test_the_batch_takes_what_fixed_dimensions_leave(
    server: RunningServer, value: list[int], expected: list[int]
) -> None:
    assert server.post("/v2/models/vec/generate", json={"vec": value}).json()["out"] == expected


@pytest.mark.parametrize(
    ("model", "body", "status", "text"),
    [
        ("vec", {"vec": [1, 2]}, 400, "The schema can not convert input 'vec' to tensor with proper shape"),
        (
            "vec",
            {"vec": [[1, 2], [3, 4]]},
            400,
            "The schema can not convert input 'vec' to tensor with proper shape",
        ),
        ("vec", {"vec": 1}, 400, "The schema can not convert input 'vec' to tensor with proper shape"),
        ("vec", {}, 400, "expected 1 inputs but got 0 inputs for model 'vec'"),
        ("vec", {"vec": [1, 2, 3], "a": None}, 400, "parameter 'a' has invalid type."),
        (
            "vec",
            {"Vec": [1, 2, 3]},
            400,
            "parameter 'Vec' has invalid type. It should be either 'int', 'bool', or 'string'. "
            "It is no input of model 'vec'; its inputs: 'vec'",
        ),
        ("vec", {"vec": [1, 2, 3], "parameters": 1}, 400, "Expected JSON object for keyword: 'parameters'"),
        ("vec", {"vec": ["a", "b", "c"]}, 400, "Unable to parse 'data'"),
        ("vec", [], 400, "attempt to get members for non-object"),
        ("nosuch", {}, 404, "Request for unknown model: 'nosuch' is not found"),
        ("dec", {"n": -1}, 500, "ValueError: no more"),
    ],
)
@pytest.mark.parametrize("operation", ["generate", "generate_stream"])
def test_errors(
    server: RunningServer, model: str, body: object, status: int, text: str, operation: str
) -> None:
    if model == "dec" and operation == "generate_stream":
        status = 200  # its first response has been sent
    response = server.post(f"/v2/models/{model}/{operation}", json=body)
    assert response.status_code == status
    assert text in response.text


def test_a_compressed_body_is_refused(server: RunningServer) -> None:
    response = server.post("/v2/models/vec/generate", content=b"x", headers={"content-encoding": "gzip"})
    assert response.status_code == 400
    assert error_of(response) == "Unsupported content-encoding, only 'identity' is supported."


def test_response_statistics(server: RunningServer) -> None:
    server.post("/v2/models/adec/generate_stream", json={"n": 3})
    entry = statistics(server, "adec")
    assert entry["response_stats"]["0"]["success"]["count"] >= 1
    assert set(entry["response_stats"]["0"]) == {
        *("compute_infer", "compute_output", "success", "fail", "empty_response", "cancel"),
    }
    client = triton.InferenceServerClient(server.grpc)
    with closing(client):
        (same,) = client.get_inference_statistics("adec").model_stats
    assert same.response_stats["0"].success.count == entry["response_stats"]["0"]["success"]["count"]


def test_a_delay_for_batches_of_a_generator_is_a_warning(explicit: ExplicitServer) -> None:
    code = """
class Model:
    inputs, outputs, max_batch_size = {"x": ("INT32", [1])}, {"x": ("INT32", [1])}, 4
    def __call__(self, inputs):
        yield inputs
"""
    explicit.write("streams", code, "dynamic_batching { max_queue_delay_microseconds: 100 }")
    assert explicit.load("streams").status_code == 200
    assert (
        "model 'streams': dynamic_batching.max_queue_delay_microseconds: is set but has no effect: the model is decoupled"
        in explicit.server.log
    )
    explicit.unload("streams")
