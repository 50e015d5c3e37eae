"""What Kubernetes asks of a server: probes that tell the truth, an orderly end, and no process that is only there."""

import shutil
import signal
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2._generated import health_pb2
from tests.integration.conftest import ExplicitServer, Start
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import GATED, versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of
from tests.integration.support import Gate, Wire, error_of, gated_request, json_tensor, new_tag, wait_until

pytestmark = pytest.mark.slow

READY = "/v2/health/ready"


# --- readiness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?model=fine", 200),
        ("?model=a%20b", 200),
        ("?model=fine&model=a%20b", 200),
        ("?model=broken", 400),
        ("?model=fine&model=broken", 400),
        ("?model=made_up", 400),
        ("?model=", 400),
        # What is no question of it changes nothing.
        ("?other=fine", 400),
        ("", 400),
    ],
)
def test_readiness_of_some_models(explicit: ExplicitServer, query: str, status: int) -> None:
    """Whatever the others are."""
    for name, code in (("fine", versioned(1)), ("a b", versioned(1)), ("broken", BROKEN)):
        explicit.write(name, code)
        explicit.load(name)
    response = explicit.server.get(READY + query)
    assert (response.status_code, response.json()) == (status, {"live": True, "ready": status == 200})
    assert explicit.server.client.head(explicit.server.rest + READY + query).status_code == status


def test_readiness_holds_whatever_comes_and_goes_on_demand(
    start: Start, tmp_path: Path, write_model: Any
) -> None:
    """Every answer of the probe is looked at, while models load, fail and go."""
    write_model(tmp_path, "initial", versioned(1))
    with Gate() as gate:
        slow = versioned(1).replace(
            "    def __call__",
            f"    def load(self, context):\n        import socket\n"
            f"        with socket.create_connection(('127.0.0.1', {gate.port}), timeout=120) as gate:\n"
            f"            gate.recv(1)\n\n    def __call__",
        )
        server = start("--model-control-mode=on-demand", "--load-model=initial")

        def is_ready() -> bool:
            with Channel(server) as channel:
                answer = channel.method("ServerReady", pb.ServerReadyResponse)(
                    pb.ServerReadyRequest(), timeout=60
                )
            return bool(answer.ready) and server.get(READY).status_code == 200

        assert is_ready()
        write_model(tmp_path, "slow", slow)
        write_model(tmp_path, "broken", BROKEN)
        write_model(tmp_path, "gated", GATED)
        with Wire(server) as wire, Wire(server) as busy:
            wire.send_infer("slow", ASK)
            gate.await_start()
            assert is_ready()
            gate.open()
            assert wire.response().status_code == 200
            assert server.infer("broken", ASK).status_code == 503
            assert is_ready()
            busy.send_infer("gated", gated_request(new_tag(), gate.port))
            gate.await_start()
            for name in ("gated", "initial"):
                assert server.post(f"/v2/repository/models/{name}/unload").status_code == 200
            # One is being unloaded, as long as its request takes; the other was of the start, and is unloaded.
            assert is_ready()
            gate.open()
            assert busy.response().status_code == 200
        # Of one model the question is whether it answers now.
        assert server.get(f"{READY}?model=initial").status_code == 400
        assert answer_of(server, "initial") == 1
        assert server.get(f"{READY}?model=initial").status_code == 200
    assert server.stop() == 0


@pytest.mark.parametrize("mode", ["poll", "on-demand"])
def test_nobody_who_watches_is_told_of_what_comes_and_goes(
    start: Start, tmp_path: Path, write_model: Any, mode: str
) -> None:
    """`Watch` tells of every change: there is the first answer, and then none but that of the end."""
    write_model(tmp_path, "initial", versioned(1))
    modes = {
        "poll": ("--model-control-mode=poll", "--repository-poll-secs=1", "--repository-settle-secs=0"),
        "on-demand": ("--model-control-mode=on-demand", "--load-model=initial"),
    }
    server = start(*modes[mode])
    with grpc.insecure_channel(server.grpc) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", response_deserializer=health_pb2.HealthCheckResponse.FromString
        )(b"", timeout=120)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

        def answered_by(name: str, number: int) -> bool:
            response = server.infer(name, ASK)
            return response.status_code == 200 and response.json()["outputs"][0]["data"] == [number]

        write_model(tmp_path, "another", versioned(2))
        wait_until(lambda: answered_by("another", 2))
        write_model(tmp_path, "broken", BROKEN)
        wait_until(lambda: "broken on purpose" in server.infer("broken", ASK).text)
        write_model(tmp_path, "initial", BROKEN)
        if mode == "poll":
            wait_until(lambda: "failed to load: initial" in server.log)
            assert answered_by("initial", 1)
            shutil.rmtree(tmp_path / "initial")
            wait_until(lambda: server.infer("initial", ASK).status_code == 404)
        else:
            assert server.post("/v2/repository/models/initial/load").status_code == 400
            assert answered_by("initial", 1)
            assert server.post("/v2/repository/models/initial/unload").status_code == 200
            wait_until(lambda: "unloaded: initial" in server.log)
            write_model(tmp_path, "initial", versioned(3))
            wait_until(lambda: answered_by("initial", 3))
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert server.process.wait(60) == 0


# --- the end --------------------------------------------------------------------------------------------------------


def health(channel: grpc.Channel) -> int:
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
    )
    return int(method(b"", timeout=60).status)


def test_not_ready_then_draining_then_gone(start: Start, tmp_path: Path, write_model: Any) -> None:
    """Without a delay: what is under way is finished, what comes is refused, on connections that are kept, too."""
    write_model(tmp_path, "gated", GATED)
    server = start()
    with Gate() as gate, Wire(server) as running, Wire(server) as kept:
        kept.send_infer("gated", gated_request(new_tag()))
        assert kept.response().status_code == 200
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get(READY).status_code == 400)
        # It is alive: nobody should kill it.
        assert server.get("/v2/health/live").status_code == 200
        kept.send_infer("gated", gated_request(new_tag()))
        refused = kept.response()
        assert (refused.status_code, error_of(refused)) == (503, "Server exiting")
        assert refused.headers["retry-after"] == "1"
        gate.open()
        assert running.response().status_code == 200
        assert server.process.wait(60) == 0
        assert kept.at_end()


def test_in_the_delay_all_is_answered_but_the_question_whether_it_is_ready(
    start: Start, tmp_path: Path, write_model: Any
) -> None:
    write_model(tmp_path, "one", versioned(1))
    server = start("--exit-delay-secs=600")
    with Wire(server) as kept, grpc.insecure_channel(server.grpc) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get(READY).status_code == 400)
        for path in ("/v2/models/one/ready", f"{READY}?model=one"):
            assert server.get(path).status_code == 400
        assert health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.get("/v2/health/live").status_code == 200
        # Who does not know yet, and who is there already.
        assert httpx.post(f"{server.rest}/v2/models/one/infer", json=ASK).status_code == 200
        kept.send_infer("one", ASK)
        assert kept.response().status_code == 200
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1


def test_after_the_delay_it_ends(start: Start, tmp_path: Path, write_model: Any) -> None:
    write_model(tmp_path, "one", versioned(1))
    server = start("--exit-delay-secs=1")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    delayed, begun = (
        server.log.index(text) for text in ("not ready from now on", "requests under way are finished")
    )
    assert delayed < begun


# --- a loop that is stuck -------------------------------------------------------------------------------------------

# For so many seconds it holds the interpreter's lock, so that nothing else runs, the event loop among it.
HOLDING = """
import ctypes

class Model:
    inputs = {"SECONDS": ("INT32", [1])}
    outputs = {"SLEPT": ("INT32", [1])}

    def __call__(self, inputs):
        ctypes.PyDLL(None).sleep(int(inputs["SECONDS"][0]))
        return {"SLEPT": inputs["SECONDS"]}
"""


def test_a_process_whose_loop_is_stuck_is_ended_where_that_is_wanted(
    start: Start, tmp_path: Path, write_model: Any
) -> None:
    """`tests/logs/test_stall_watch.py` has what is logged of it."""
    write_model(tmp_path, "holding", HOLDING)
    server = start("--exit-on-stall-secs=5")
    with Wire(server) as wire:
        wire.send_infer("holding", {"inputs": [json_tensor("SECONDS", "INT32", [1], [60])]})
        assert server.process.wait(60) == 1
        assert wire.at_end()
    assert "Timeout (0:00:05)!" in server.log
    assert "in __call__" in server.log
