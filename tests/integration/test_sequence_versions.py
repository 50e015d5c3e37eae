"""Live sequences keep the version that they have begun with: under reloads, unloads and the server's exit.

Numbers are rows of scheduling.md, part 5.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.ensemble_models import INT, ensemble, write_ensemble
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import slow_to_load
from tests.integration.lifecycle_requests import post_load
from tests.integration.sequence_models import Stream, accumulator, batching, grpc_step, read, rest_step
from tests.integration.support import Gate, error_of, json_tensor, pending, wait_until

STOPPING = "Server is stopping, scheduler for model has stopped accepting new inference requests"
GONE = (
    "version 1 of model 'm' was replaced or unloaded and only finishes the sequences it has begun, scheduler for model has "
    "stopped accepting new inference requests"
)
CONFIG = batching("oldest { max_candidate_sequences: 4 }", extra="")
ONE_SLOT = batching("oldest { max_candidate_sequences: 1 }", extra="")


def missing_start(sequence: object) -> str:
    return (
        f"inference request for sequence {sequence} to model 'm' must specify the START flag on the first request of the "
        "sequence"
    )


# Asks `m` as a step of sequence 7.
OUTER = """
import numpy as np

class Model:
    inputs = {"IN": ("INT32", [1, 1]), "FLAGS": ("BYTES", [1])}
    outputs = {"SUM": ("INT32", [1, 1]), "INFO": ("BYTES", [1, 1])}

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        flags = inputs["FLAGS"][0]
        tensors = {"IN": inputs["IN"], "PORT": np.zeros((1, 1), np.int32)}
        answer = self.context.call("m", tensors, sequence=(7, b"+" in flags, b"." in flags))
        return {name: answer[name] for name in ("SUM", "INFO")}
"""


class Client:
    """Asks the model `m`; answers with the sum and the version of the code that has made it."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._channel = Channel(server)

    def ask(self, sequence: object, value: int, flags: str = "", version: str = "") -> tuple[int, int]:
        sums, info = read(self._channel.infer(grpc_step("m", sequence, value, flags, version=version)))
        return sums, info["version"]

    def rest(self, sequence: object, value: int, flags: str = "") -> int:
        answer = self._server.infer("m", rest_step(sequence, value, flags))
        return int(answer.json()["outputs"][0]["data"][0])

    def fails(self, sequence: object, flags: str = "") -> tuple[grpc.StatusCode, str]:
        return self._channel.infer_fails(grpc_step("m", sequence, 1, flags))

    def close(self) -> None:
        self._channel.__exit__()


@pytest.fixture
def model(explicit: ExplicitServer) -> Iterator[ExplicitServer]:
    """The explicit server, with version 1 of the model `m`."""
    explicit.write("m", accumulator(1), CONFIG)
    assert explicit.load("m").status_code == 200
    yield explicit
    explicit.unload("m")
    wait_until(lambda: all(entry["state"] == "UNAVAILABLE" for entry in explicit.index("m")))
    shutil.rmtree(explicit.root / "m")


@pytest.fixture
def client(model: ExplicitServer) -> Iterator[Client]:
    made = Client(model.server)
    yield made
    made.close()


def state(explicit: ExplicitServer) -> str:
    """Of version 1."""
    return next(entry["state"] for entry in explicit.index("m") if entry["version"] == "1")


def test_a_sequence_of_an_older_version_lets_nobody_in_while_the_newest_is_loaded_for_the_first_time(
    explicit: ExplicitServer, client: Client
) -> None:
    assert client.ask(1, 10, "+") == (10, 1)
    with Gate() as gate, ThreadPoolExecutor(1) as pool:
        # The one that goes finishes its own meanwhile.
        assert explicit.unload("m").status_code == 200
        explicit.write("m", accumulator(2), CONFIG + "version_policy { all {} }")
        explicit.write("m", slow_to_load(gate.port), CONFIG + "version_policy { all {} }", version=2)
        load = pool.submit(post_load, explicit.server, "m")
        gate.await_start()
        wait_until(lambda: state(explicit) == "READY")
        assert client.ask(2, 5, "+", version="1") == (5, 2)
        assert client.ask(1, 1, ".") == (11, 1)
        # Until the one that goes is closed, that says so.
        wait_until(lambda: "version 2 is being loaded for the first time" in client.fails(3, "+")[1])
        assert client.ask(2, 1, ".", version="1") == (6, 2)
        gate.open()
        assert load.result().status_code in (200, 400)


def test_a_reload_changes_nothing_under_a_live_sequence(model: ExplicitServer, client: Client) -> None:
    assert client.ask(1, 10, "+") == (10, 1)
    assert client.ask("a", 100, "+") == (100, 1)
    model.write("m", accumulator(2), CONFIG)
    assert model.load("m").status_code == 200
    assert client.ask(2, 5, "+") == (5, 2)
    assert client.ask(1, 1) == (11, 1)
    assert client.rest(1, 1) == 12
    assert client.ask("a", 1) == (101, 1)
    with Stream(model.server) as stream:
        [(sums, info)] = stream.ask(grpc_step("m", 1, 1, "."))
        assert (sums, info["version"]) == (13, 1)
    assert client.fails(1) == (grpc.StatusCode.INVALID_ARGUMENT, missing_start(1))
    # START ends the sequence where it is, and begins one in the code of today; a request that is refused does not.
    wrong = rest_step("a", 7, "+")
    wrong["inputs"].pop()
    assert model.server.infer("m", wrong).status_code == 400
    assert client.ask("a", 1) == (102, 1)
    assert client.ask("a", 7, "+") == (7, 2)
    assert client.ask("a", 1, ".") == (8, 2)
    assert client.ask(2, 1, ".") == (6, 2)


def test_a_newer_version_leaves_sequences_where_they_are(model: ExplicitServer, client: Client) -> None:
    assert client.ask(1, 10, "+") == (10, 1)
    model.write("m", accumulator(2), CONFIG, 2)
    assert model.load("m").status_code == 200
    assert client.ask(2, 5, "+") == (5, 2)
    assert client.ask(1, 1) == (11, 1)
    # Whoever asks for a version by its number means that one.
    code, text = client._channel.infer_fails(grpc_step("m", 1, 1, version="2"))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, missing_start(1))
    assert client.ask(1, 1, version="1") == (12, 1)
    assert client.ask(1, 1, ".") == (13, 1)
    assert client.ask(2, 1, ".") == (6, 2)


def test_an_unload_lets_sequences_finish(model: ExplicitServer, client: Client) -> None:  # 5.13
    assert client.ask(1, 10, "+") == (10, 1)
    model.unload("m")
    wait_until(lambda: state(model) == "UNLOADING")
    assert client.fails(2, "+") == (grpc.StatusCode.UNAVAILABLE, GONE)
    assert client.fails(1, "+") == (grpc.StatusCode.UNAVAILABLE, GONE)
    assert client.fails(None) == (grpc.StatusCode.UNAVAILABLE, GONE)
    answer = model.server.infer("m", rest_step(2, 1, "+"))
    assert (answer.status_code, error_of(answer)) == (503, GONE)
    # Nothing will have it loaded again.
    assert "Retry-After" not in answer.headers
    assert model.server.get("/v2/models/m/ready").status_code == 400
    assert client.ask(1, 1) == (11, 1)
    assert client.rest(1, 1) == 12
    assert client.ask(1, 1, ".") == (13, 1)
    wait_until(lambda: state(model) == "UNAVAILABLE")
    code, _ = client.fails(1)
    assert code is grpc.StatusCode.NOT_FOUND


def test_a_load_during_the_unload_serves_new_sequences(model: ExplicitServer, client: Client) -> None:
    assert client.ask(1, 10, "+") == (10, 1)
    model.unload("m")
    model.write("m", accumulator(2), CONFIG)
    assert model.load("m").status_code == 200
    assert client.ask(2, 1, "+.") == (1, 2)
    assert client.ask(1, 1, ".") == (11, 1)


def test_while_the_next_one_is_being_loaded_a_new_sequence_is_told_to_come_back(
    model: ExplicitServer, client: Client, later: Callable[..., Future[httpx.Response]]
) -> None:
    assert client.ask(1, 10, "+") == (10, 1)
    model.unload("m")
    with Gate() as gate:
        model.write(
            "m",
            f"import socket\nsocket.create_connection(('127.0.0.1', {gate.port})).recv(1)\n{accumulator(2)}",
            CONFIG,
        )
        load = later(model.load, "m")
        gate.await_start()
        answer = model.server.infer("m", rest_step(2, 1, "+"))
        assert (answer.status_code, error_of(answer), answer.headers["Retry-After"]) == (503, GONE, "1")
        gate.open()
        assert load.result().status_code == 200
    assert client.ask(2, 1, "+.") == (1, 2)
    assert client.ask(1, 1, ".") == (11, 1)


def test_the_backlog_of_what_goes_away_is_executed(model: ExplicitServer, client: Client) -> None:
    with Stream(model.server) as stream:
        for number in range(1, 5):
            client.ask(number, number, "+")
        stream.send(grpc_step("m", 5, 50, "+"), grpc_step("m", 5, 1, "."))
        wait_until(lambda: pending(model.server, "m") == 2)
        model.unload("m")
        for number in range(1, 5):
            assert client.ask(number, 1, ".") == (number + 1, 1)
        assert [sums for sums, _ in stream.answers(2)] == [50, 51]
    wait_until(lambda: state(model) == "UNAVAILABLE")


Start = Callable[..., RunningServer]


@pytest.mark.slow
def test_an_exit_lets_sequences_finish(start: Start, tmp_path: Path, write_model: WriteModel) -> None:  # 5.13
    write_model(tmp_path, "m", accumulator(), CONFIG)
    server = start("--exit-timeout-secs=60")
    client = Client(server)
    assert client.ask(1, 10, "+") == (10, 1)
    server.client.get(server.rest + "/v2")
    server.process.send_signal(signal.SIGTERM)
    # The log says that it is about to. The connections that there are go on.
    wait_until(lambda: server.get("/v2/health/ready").status_code != 200)
    assert client.rest(1, 1) == 11
    assert client.ask(1, 1) == (12, 1)
    code, text = client.fails(2, "+")
    assert (code, text) == (grpc.StatusCode.UNAVAILABLE, STOPPING)
    assert client.ask(1, 1, ".") == (13, 1)
    client.close()
    assert server.process.wait(60) == 0


def write_around(repository: Path, name: str, step: str) -> None:
    """An ensemble of one step."""
    tensors = {"IN": "TYPE_INT32 [ -1 ]", "PORT": INT}
    outputs = {"SUM": INT, "INFO": "TYPE_STRING [ 1 ]"}
    mapping = [(step, {each: each for each in tensors}, {each: each for each in outputs})]
    write_ensemble(repository, ensemble(name, mapping, tensors, outputs, "max_batch_size: 4"))


@pytest.mark.slow
def test_an_exit_begins_no_sequence_for_clients_while_an_ensemble_waits_to_begin_one(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "m", accumulator(), ONE_SLOT)
    write_around(tmp_path, "around", "m")
    server = start("--exit-timeout-secs=60")
    client = Client(server)
    with ThreadPoolExecutor(1) as pool:
        assert client.ask(1, 10, "+") == (10, 1)
        waiting = pool.submit(server.infer, "around", rest_step(2, 5, "+."))
        wait_until(lambda: pending(server, "m") == 1)
        server.process.send_signal(signal.SIGTERM)
        # The log says that it is about to.
        is_ready = client._channel.method("ServerReady", pb.ServerReadyResponse)
        wait_until(lambda: not is_ready(pb.ServerReadyRequest(), timeout=60).ready)
        assert client.fails(3, "+") == (grpc.StatusCode.UNAVAILABLE, STOPPING)
        assert client.fails(None) == (grpc.StatusCode.UNAVAILABLE, STOPPING)
        answer = server.infer("m", rest_step(4, 1, "+."))
        assert (answer.status_code, error_of(answer)) == (503, STOPPING)
        # Of another server, perhaps.
        assert answer.headers["Retry-After"] == "1"
        assert client.ask(1, 1, ".") == (11, 1)
        assert waiting.result(60).json()["outputs"][0]["data"] == [5]
    client.close()
    server.client.close()
    assert server.process.wait(60) == 0


def test_an_unload_begins_no_sequence_for_clients_while_an_ensemble_waits_to_begin_one(
    model: ExplicitServer, client: Client
) -> None:
    model.write("m", accumulator(2), ONE_SLOT)
    assert model.load("m").status_code == 200
    write_around(model.root, "around", "m")
    assert model.load("around").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        assert client.ask(1, 10, "+") == (10, 2)
        waiting = pool.submit(model.server.infer, "around", rest_step(2, 5, "+."))
        wait_until(lambda: pending(model.server, "m") == 1)
        model.unload("m")
        assert client.fails(3, "+") == (grpc.StatusCode.UNAVAILABLE, GONE)
        assert client.ask(1, 1, ".") == (11, 2)
        assert waiting.result(60).json()["outputs"][0]["data"] == [5]
    wait_until(lambda: state(model) == "UNAVAILABLE")
    model.unload("around")


@pytest.mark.slow
def test_an_exit_lets_sequences_of_ensembles_finish(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "m", accumulator(), CONFIG)
    write_around(tmp_path, "around", "m")
    write_around(tmp_path, "around_that", "around")
    server = start("--exit-timeout-secs=60")

    def ask(value: int, flags: str, sequence: int = 1) -> httpx.Response:
        return server.infer("around_that", rest_step(sequence, value, flags))

    assert ask(10, "+").json()["outputs"][0]["data"] == [10]
    server.process.send_signal(signal.SIGTERM)
    # The log says that it is about to. The connection that there is goes on.
    wait_until(lambda: server.get("/v2/health/ready").status_code != 200)
    assert ask(1, "").json()["outputs"][0]["data"] == [11]
    refused = ask(1, "+", 2)
    assert refused.status_code == 503
    assert error_of(refused) == "Server exiting"
    assert ask(1, ".").json()["outputs"][0]["data"] == [12]
    server.client.close()
    assert server.process.wait(60) == 0


@pytest.mark.slow
def test_an_exit_does_not_wait_for_a_silent_sequence(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "m", accumulator(), batching("direct {}", extra="", idle_us=50_000))
    server = start("--exit-timeout-secs=60")
    client = Client(server)
    client.ask(1, 10, "+")
    client.close()
    assert server.stop() == 0


@pytest.mark.slow
def test_a_sequence_that_nobody_goes_on_with_fails_no_exit(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "m", accumulator(), CONFIG)
    write_around(tmp_path, "around", "m")
    server = start("--exit-timeout-secs=1")
    client = Client(server)
    client.ask(1, 10, "+")
    assert server.infer("around", rest_step(2, 5, "+")).status_code == 200
    assert server.stop() == 0
    assert "ending 2 sequence(s) that no request has gone on with" in server.log
    client.close()


@pytest.mark.slow
def test_a_sequence_outlives_no_exit_time_out(start: Start, tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path, "m", accumulator(), ONE_SLOT)
    server = start("--exit-timeout-secs=1")
    with Stream(server) as stream:
        stream.ask(grpc_step("m", 1, 10, "+"))
        stream.send(grpc_step("m", 2, 10, "+"))
        wait_until(lambda: pending(server, "m") == 1)
        server.process.send_signal(signal.SIGTERM)
        answers: list[Any] = []
        with pytest.raises((grpc.RpcError, StopIteration)):
            while True:
                answers.append(stream.next())
        assert [answer.error_message for answer in answers] in (
            [],
            ["Server exiting: the request was not executed"],
        )
    server.process.wait(60)


def test_a_model_that_calls_stays_with_its_sequence(model: ExplicitServer) -> None:
    def ask(value: int, flags: str) -> tuple[int, int]:
        answer = model.server.infer(
            "outer",
            {
                "inputs": [
                    json_tensor("IN", "INT32", [1, 1], [value]),
                    json_tensor("FLAGS", "BYTES", [1], [flags]),
                ]
            },
        )
        assert answer.status_code == 200, answer.text
        sums, info = answer.json()["outputs"]
        return sums["data"][0], json.loads(info["data"][0])["version"]

    model.write("outer", OUTER)
    assert model.load("outer").status_code == 200
    assert ask(10, "+") == (10, 1)
    model.write("m", accumulator(2), CONFIG)
    assert model.load("m").status_code == 200
    assert ask(1, "") == (11, 1)
    assert ask(5, "+") == (5, 2)
    assert ask(1, ".") == (6, 2)


def test_ready_says_no_more_than_before(model: ExplicitServer, client: Client) -> None:
    """A version that finishes its sequences is not ready, and has no metadata."""
    client.ask(1, 10, "+")
    model.unload("m")
    method = client._channel.method("ModelReady", pb.ModelReadyResponse)
    assert not method(pb.ModelReadyRequest(name="m"), timeout=60).ready
    assert model.server.get("/v2/models/m").status_code == 404
    client.ask(1, 1, ".")
