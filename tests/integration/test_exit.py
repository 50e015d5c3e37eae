"""How a server process ends: what is under way is finished first, and whatever that is, the exit time-out bounds it."""

import json
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2._generated import health_pb2
from tests.conftest import RunningServer, WriteModel
from tests.integration.conftest import Start
from tests.integration.grpc_requests import SERVICE, Channel, request_of, tensor
from tests.integration.handlers import ECHO, GATED, slow_to_close, slow_to_load, versioned
from tests.integration.lifecycle_requests import post_load
from tests.integration.support import (
    Gate,
    Wire,
    error_of,
    gated_request,
    metric,
    new_tag,
    pending,
    wait_until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def _gated_model(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path, "gated", GATED)


@pytest.mark.usefixtures("_gated_model")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_under_way_finish(start: Start, number: int) -> None:
    server = start()
    with (
        Gate() as gate,
        Wire(server) as running,
        Wire(server) as waiting,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(b"", timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        waiting.send_infer("gated", gated_request(new_tag()))
        wait_until(lambda: pending(server, "gated") == 1)
        server.process.send_signal(number)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.get("/v2/health/ready").status_code == 400
        assert server.get("/v2/models/gated/ready").status_code == 400
        refused = server.infer("gated", gated_request(new_tag()))
        assert (refused.status_code, error_of(refused)) == (503, "Server exiting")
        assert server.process.poll() is None
        gate.open()
        assert running.response().status_code == 200
        assert waiting.response().status_code == 200
        assert server.process.wait(60) == 0
    assert "Traceback" not in server.log


# Waits for `gated`, and writes down what it is told instead of an answer.
CALLING = """
from kserve_v2.errors import ServingError

class Model:
    inputs = {"PORT": ("INT32", [1]), "TAG": ("INT64", [1])}
    outputs = {"TAGS": ("BYTES", [1])}
    max_batch_size = 1

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        try:
            return self.context.call("gated", inputs)
        except ServingError as error:
            (self.context.path / "told.txt").write_text(f"{type(error).__name__}: {error}")
            raise
"""


@pytest.mark.usefixtures("_gated_model")
def test_what_a_model_asks_of_another_is_finished_too(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "calling", CALLING)
    server = start()
    with Gate() as gate, Wire(server) as running, Wire(server) as waiting:
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        waiting.send_infer("calling", gated_request(new_tag()))
        wait_until(lambda: pending(server, "gated") == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/v2/health/ready").status_code == 400)
        gate.open()
        assert waiting.response().status_code == 200
        assert server.process.wait(60) == 0


@pytest.mark.usefixtures("_gated_model")
def test_a_model_that_waits_for_another_is_told_when_the_time_is_up(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "calling", CALLING)
    server = start("--exit-timeout-secs=0")
    with Gate() as gate, Wire(server) as running:
        # It is the call that is executed, and that does not end.
        running.send_infer("calling", gated_request(new_tag(), gate.port))
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        assert running.response().status_code == 503
        assert server.process.wait(60) == 1
    told = (tmp_path / "calling" / "1" / "told.txt").read_text()
    assert told == "UnavailableError: Server exiting: models are not called any more"


@pytest.mark.usefixtures("_gated_model")
def test_a_second_signal_ends_the_server_at_once(start: Start) -> None:
    server = start()
    with Gate() as gate, Wire(server) as running:
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/v2/health/ready").status_code == 400)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
    assert "a second signal came" in server.log


@pytest.mark.usefixtures("_gated_model")
def test_idle_connections_do_not_keep_the_server(start: Start) -> None:
    server = start()
    with Wire(server) as wire, grpc.insecure_channel(server.grpc) as channel:
        grpc.channel_ready_future(channel).result(60)
        wire.send_infer("gated", gated_request(new_tag()))
        assert wire.response().status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert wire.at_end()


# --- the time is up: whatever hangs, the process ends ------------------------------------------------------------
# What hangs would do so for two minutes, so a server that waited for it would still be there.

SHORT = ("--exit-timeout-secs=1", "--model-control-mode=explicit")


def load(server: RunningServer, name: str) -> None:
    assert post_load(server, name).status_code == 200


@pytest.mark.parametrize("unloading", [False, True])
def test_running_and_queued(start: Start, write_model: WriteModel, tmp_path: Path, unloading: bool) -> None:
    write_model(tmp_path, "gated", GATED)
    server = start(*SHORT)
    load(server, "gated")
    with Gate() as gate, Wire(server) as running, Wire(server) as queued:
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        queued.send_infer("gated", gated_request(new_tag()))
        wait_until(lambda: pending(server, "gated") == 1)
        if unloading:
            assert server.post("/v2/repository/models/gated/unload").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
        for wire in (running, queued):
            response = wire.response()
            assert (response.status_code, error_of(response)[:15]) == (503, "Server exiting:")
    assert "the exit time-out of 1 s has passed" in server.log
    assert "Traceback" not in server.log


def test_an_execution_whose_client_has_left(start: Start, write_model: WriteModel, tmp_path: Path) -> None:
    write_model(tmp_path, "gated", GATED)
    server = start(*SHORT, "--log-access")
    load(server, "gated")
    with Gate() as gate:
        with Wire(server) as wire:
            wire.send_infer("gated", gated_request(new_tag(), gate.port))
            gate.await_start()
        wait_until(lambda: "status=499" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
    assert "Traceback" not in server.log


def test_a_load(
    start: Start, write_model: WriteModel, tmp_path: Path, later: Callable[..., Future[Any]]
) -> None:
    server = start(*SHORT)
    with Gate() as gate:
        write_model(tmp_path, "slow", slow_to_load(gate.port))
        call = later(post_load, server, "slow")
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
        response = call.result()
    assert (response.status_code, error_of(response)) == (
        503, "Server exiting: the load of model 'slow' was not finished in time",
    )  # fmt: skip
    assert "Traceback" not in server.log


def test_a_load_that_was_given_up_and_does_not_end(
    start: Start, write_model: WriteModel, tmp_path: Path, later: Callable[..., Future[Any]]
) -> None:
    server = start(*SHORT)
    with Gate() as gate:
        write_model(tmp_path, "slow", slow_to_load(gate.port))
        call = later(post_load, server, "slow")
        gate.await_start()
        assert server.post("/v2/repository/models/slow/unload").status_code == 200
        assert "it was unloaded meanwhile" in error_of(call.result())
        assert server.stop() == 1
    # It was taken for a copy of a request that a shadow executes.
    assert "the exit time-out was not enough" in server.log


# Each says which process it is, and then does not go on.
HANGING = """
import os, pathlib, time

def hang():
    pathlib.Path({file!r}).write_text(str(os.getpid()))
    time.sleep(1000)
{first}
class Model:
    inputs = {{"x": ("FP32", [1])}}
    outputs = {{"y": ("FP32", [1])}}
    max_batch_size = 1

    def load(self, context):
        {load}

    def __call__(self, inputs):
        hang()
"""
SAMPLE = """
model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } } }
parameters { key: "isolation" value { string_value: "process" } }
"""


@pytest.mark.parametrize(
    ("first", "load"), [("hang()", "pass"), ("", "hang()"), ("", "pass")], ids=["import", "load", "warm-up"]
)
def test_what_hangs_apart_while_it_is_loaded_goes_with_the_unload(
    start: Start,
    write_model: WriteModel,
    tmp_path: Path,
    later: Callable[..., Future[Any]],
    first: str,
    load: str,
) -> None:
    server = start(*SHORT)
    told = tmp_path / "process"
    write_model(tmp_path, "stuck", HANGING.format(file=str(told), first=first, load=load), SAMPLE)
    call = later(post_load, server, "stuck")
    wait_until(lambda: told.exists() and told.read_text() != "")
    process = int(told.read_text())
    assert server.post("/v2/repository/models/stuck/unload").status_code == 200
    assert "it was unloaded meanwhile" in error_of(call.result())
    wait_until(lambda: not Path(f"/proc/{process}").exists())
    wait_until(lambda: "not loaded: stuck version 1, which nobody wants any more\n" in server.log)
    assert server.stop() == 0
    assert "Traceback" not in server.log
    # Nothing is wrong with it.
    assert "failed to load" not in server.log


@pytest.mark.parametrize("unloading", [False, True])
def test_a_model_that_hangs_while_it_is_closed(
    start: Start, write_model: WriteModel, tmp_path: Path, unloading: bool
) -> None:
    server = start(*SHORT)
    with Gate() as gate:
        write_model(tmp_path, "stuck", slow_to_close(gate.port))
        load(server, "stuck")
        if unloading:
            assert server.post("/v2/repository/models/stuck/unload").status_code == 200
            gate.await_start()
            # It is the only one that suffers.
            write_model(tmp_path, "other", versioned(1))
            load(server, "other")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
    assert "Traceback" not in server.log


# --- there is time: everything is finished -----------------------------------------------------------------------


def test_requests_to_a_model_that_is_unloading_are_finished(
    start: Start, write_model: WriteModel, tmp_path: Path
) -> None:
    write_model(tmp_path, "gated", GATED)
    server = start("--model-control-mode=explicit", "--load-model=gated")
    with Gate() as gate, Wire(server) as running, Wire(server) as queued:
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        queued.send_infer("gated", gated_request(new_tag()))
        wait_until(lambda: pending(server, "gated") == 1)
        assert server.post("/v2/repository/models/gated/unload").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: " in server.log)
        for _ in range(10):
            # The front ends are not closed over the heads of those who wait.
            assert httpx.get(f"{server.rest}/v2/health/live").status_code == 200
        gate.open()
        assert running.response().status_code == 200
        assert queued.response().status_code == 200
        assert server.process.wait(60) == 0
    assert "Traceback" not in server.log


def test_a_load_is_finished_and_no_other_begun(
    start: Start, write_model: WriteModel, tmp_path: Path, later: Callable[..., Future[Any]]
) -> None:
    server = start("--model-control-mode=explicit")
    with Gate() as gate:
        write_model(tmp_path, "slow", slow_to_load(gate.port))
        call = later(post_load, server, "slow")
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: " in server.log)
        refused = post_load(server, "slow")
        assert (refused.status_code, error_of(refused)) == (503, "Server exiting")
        gate.open()
        assert call.result().status_code == 200
        assert server.process.wait(60) == 0
    assert "Traceback" not in server.log


REPLICATED = 'parameters { key: "home" value { string_value: "replicated" } }'


@pytest.mark.parametrize(
    "flag", ["--processes=1", "--http-fast-lane=false", "--processes=2"], ids=["usual", "asgi", "worker"]
)
def test_a_large_body_that_is_being_read_is_answered(
    start: Start, write_model: WriteModel, tmp_path: Path, later: Callable[..., Future[Any]], flag: str
) -> None:
    """It has come before the signal, and takes longer to read, and its answer longer to write, than slow readers get."""
    write_model(tmp_path, "echo", ECHO, REPLICATED)
    server = start(flag)
    data = np.random.default_rng(3).random(1_000_000, np.float32)
    body = json.dumps(
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [len(data)], "data": data.tolist()}]}
    )
    # Of two connections the second one is a worker's.
    with Wire(server), httpx.Client(timeout=120) as client:
        call = later(client.post, f"{server.rest}/v2/models/echo/infer", content=body)
        wait_until(lambda: call.done() or metric(server, "kserve_v2_inflight_bytes") >= len(body), 60)
        server.process.send_signal(signal.SIGTERM)
        response = call.result()
    assert response.status_code == 200, response.text
    assert np.array(response.json()["outputs"][0]["data"], np.float32).tobytes() == data.tobytes()
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.log


COUNTS_ONE = """
import time
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}
    def __call__(self, inputs):
        yield {"OUT": inputs["N"]}
        time.sleep(120)
"""


@pytest.mark.parametrize("operation", ["generate_stream", "infer_stream"])
def test_a_stream_that_is_cut_ends_with_an_error(
    start: Start, write_model: WriteModel, tmp_path: Path, operation: str
) -> None:
    write_model(tmp_path, "counts", COUNTS_ONE)
    server = start(*SHORT)
    load(server, "counts")
    item = {"name": "N", "datatype": "INT32", "shape": [1], "data": [7]}
    body = {"N": 7} if operation == "generate_stream" else {"inputs": [item]}
    with httpx.stream(
        "POST", f"{server.rest}/v2/models/counts/{operation}", json=body, timeout=60
    ) as response:
        assert response.status_code == 200
        events = (line.removeprefix("data: ") for line in response.iter_lines() if line)
        assert "7" in next(events)
        server.process.send_signal(signal.SIGTERM)
        assert [json.loads(event) for event in events] == [
            {"error": "Server exiting: the request was not finished in time"}
        ]
    assert server.process.wait(60) == 1
    assert "Traceback" not in server.log


def test_a_grpc_stream_that_is_cut_ends_with_an_error(
    start: Start, write_model: WriteModel, tmp_path: Path
) -> None:
    write_model(tmp_path, "counts", COUNTS_ONE)
    server = start(*SHORT)
    load(server, "counts")
    with Channel(server) as channel:
        stream = channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", response_deserializer=pb.ModelStreamInferResponse.FromString
        )
        request = request_of("counts", tensor("N", "INT32", [1], int_contents=[7]))
        answers = stream(iter([request.SerializeToString()]), timeout=60)
        assert next(answers).infer_response.model_name == "counts"
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert raised.value.details() == "Server exiting: the request was not finished in time"
    assert server.process.wait(60) == 1
