"""Shadows: another version answers copies of requests, and nobody notices but who reads the metrics."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
import tritonclient.utils.shared_memory as shm

from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.sequence_models import accumulator, batching
from tests.integration.support import Gate, Wire, error_of, json_tensor, metric, wait_until

ALL = "version_policy { all { } }"

# Adds `number` to its input, waits at the gate of PORT if its version is 2, and writes over its input where it may. NOTE
# counts what it has executed.
MODEL = """
import socket
import numpy as np

class Model:
    inputs = {{"IN": ("FP32", [-1]), "PORT": ("INT32", [1])}}
    outputs = {{"OUT": ("FP32", [-1]), "COUNT": ("INT32", [1]), "TEXT": ("BYTES", [1])}}

    def load(self, context):
        self.count = 0

    def __call__(self, inputs):
        self.count += 1
        port = inputs["PORT"].item()
        if port and {waits}:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
        if inputs["IN"].size and inputs["IN"][0] < 0 and {number}:
            raise ValueError("shadows fail on negative numbers")
        out = inputs["IN"] + np.float32({number})
        if inputs["IN"].flags.writeable:
            inputs["IN"][:] = 99
        return {{"OUT": out, "COUNT": [self.count], "TEXT": [b"same"]}}
"""
# The same, but for what cannot be the same.
OUTPUTS = {"outputs": [{"name": "OUT"}, {"name": "TEXT"}]}


def model(number: float, *, waits: bool = False) -> str:
    return MODEL.format(number=number, waits=waits)


@pytest.fixture(scope="module")
def explicit(start_explicit: StartExplicit) -> ExplicitServer:
    server = start_explicit("--allow-client-shm=true")
    server.write("same", model(0), ALL, 1)
    server.write("same", model(0), ALL, 2)
    server.write("off", model(0), ALL, 1)
    server.write("off", model(0.5), ALL, 2)
    server.write("slow", model(0), ALL, 1)
    server.write("slow", model(0, waits=True), ALL, 2)
    for name in ("same", "off", "slow"):
        assert server.load(name).status_code == 200
    return server


@pytest.fixture
def server(explicit: ExplicitServer) -> Iterator[RunningServer]:
    yield explicit.server
    for name in ("same", "off", "slow"):
        change(explicit.server, name, labels=None, split=None, shadow=None)


def change(server: RunningServer, name: str, **document: Any) -> None:
    """The released version is 1."""
    document = {"split": {"shares": {"1": 100}}, **document}
    answer = server.post(f"/v2/repository/models/{name}/release", json=document)
    assert answer.status_code == 200, answer.text


def body(values: list[float], port: int = 0, **members: Any) -> dict[str, Any]:
    tensors = [json_tensor("IN", "FP32", [len(values)], values), json_tensor("PORT", "INT32", [1], [port])]
    return {"inputs": tensors, **OUTPUTS, **members}


def ask(server: RunningServer, name: str, values: list[float], path: str = "", **options: Any) -> list[float]:
    answer = server.post(f"/v2/models/{name}{path}/infer", json=body(values, **options))
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == "1"
    return list(answer.json()["outputs"][0]["data"])


def copies(server: RunningServer, name: str) -> dict[str, float]:
    """What has become of copies, by outcome."""
    return {
        outcome: metric(
            server, "kserve_v2_shadow_requests", model=name, version="1", shadow_version="2", outcome=outcome
        )
        for outcome in ("equal", "different", "failed", "dropped", "skipped")
    }


class Counted:
    """What has become of the copies since this was made."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self._server, self._name = server, name
        self._before = copies(server, name)

    def now(self) -> dict[str, float]:
        after = copies(self._server, self._name)
        return {each: after[each] - self._before[each] for each in after if after[each] != self._before[each]}

    def becomes(self, **outcomes: int) -> None:
        wait_until(lambda: self.now() == outcomes)


def test_answers_are_compared_and_never_returned(server: RunningServer) -> None:
    change(server, "same", shadow={"version": 2})
    counted = Counted(server, "same")
    # JSON, whose tensors the model may write to: the copy is made before it does.
    for _ in range(5):
        assert ask(server, "same", [1, 2, 3]) == [1, 2, 3]
    counted.becomes(equal=5)


def test_of_pairs_that_are_over_only_those_are_shown_of_which_something_was_counted(
    explicit: ExplicitServer, server: RunningServer
) -> None:
    explicit.write("pairs", model(0), ALL, 1)
    for version in (2, 3):
        explicit.write("pairs", model(0), ALL, version)
    assert explicit.load("pairs").status_code == 200

    def pairs() -> set[tuple[str, str]]:
        text = server.client.get(server.metrics).text
        lines = [each for each in text.splitlines() if each.startswith("kserve_v2_shadow_requests{")]
        found = {tuple(re.findall(r'version="(\d)"', each)) for each in lines if 'model="pairs"' in each}
        return {(version, shadow) for version, shadow in found}

    change(server, "pairs", shadow={"version": 2})
    assert pairs() == {("1", "2"), ("3", "2")}
    counted = Counted(server, "pairs")
    ask(server, "pairs", [1])
    counted.becomes(equal=1)
    change(server, "pairs", shadow={"version": 3})
    assert pairs() == {("1", "2"), ("1", "3"), ("2", "3")}
    change(server, "pairs", shadow=None)
    assert pairs() == {("1", "2")}


def test_what_differs_is_counted_by_output_with_the_largest_difference(server: RunningServer) -> None:
    change(server, "off", shadow={"version": 2})
    counted = Counted(server, "off")
    assert ask(server, "off", [1, 2, 3]) == [1, 2, 3]
    counted.becomes(different=1)
    labels = {"model": "off", "version": "1", "shadow_version": "2", "output": "OUT"}
    assert metric(server, "kserve_v2_shadow_differing_outputs", **labels) >= 1
    assert metric(server, "kserve_v2_shadow_largest_difference", **labels) == 0.5
    with pytest.raises(AssertionError, match="no sample"):
        metric(server, "kserve_v2_shadow_differing_outputs", **{**labels, "output": "TEXT"})
    line = "model 'off': the shadow of version 1, version 2, differs: output 'OUT': 3 of 3 elements differ, by up to 0.5"
    wait_until(lambda: line in server.log)


def test_a_tolerance_is_for_what_it_is_said_of(server: RunningServer) -> None:
    change(server, "off", shadow={"version": 2, "tolerance": {"outputs": {"OUT": {"absolute": 0.5}}}})
    counted = Counted(server, "off")
    ask(server, "off", [1, 2, 3])
    counted.becomes(equal=1)
    change(server, "off", shadow={"version": 2, "tolerance": {"absolute": 0.25, "relative": 0}})
    ask(server, "off", [1, 2, 3])
    counted.becomes(equal=1, different=1)


def test_both_protocols_and_requests_that_are_recognised(server: RunningServer) -> None:
    change(server, "same", shadow={"version": 2})
    counted = Counted(server, "same")
    raw = [np.array([1, 2], np.float32).tobytes(), np.array([0], np.int32).tobytes()]
    inputs = (tensor("IN", "FP32", [2]), tensor("PORT", "INT32", [1]))
    with Channel(server) as channel:
        for _ in range(6):
            request = request_of("same", *inputs, raw=raw)
            for name in ("OUT", "TEXT"):
                request.outputs.add(name=name)
            assert channel.infer(request).model_version == "1"
    text = json.dumps(
        {
            "inputs": [
                {"name": "IN", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
                {"name": "PORT", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": 4}},
            ],
            **OUTPUTS,
        }
    ).encode()
    head = (
        f"POST /v2/models/same/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {len(text) + 12}\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\n\r\n"
    )
    with Wire(server) as wire:
        for _ in range(6):
            wire.send(head.encode() + text + b"".join(raw))
            assert wire.response().status_code == 200
    for _ in range(2):
        answer = server.post("/v2/models/same/generate", json={"IN": [1], "PORT": 0})
        assert answer.status_code == 200
    wait_until(lambda: sum(counted.now().values()) == 14)
    # generate asks for all outputs, one of which counts.
    assert counted.now()["equal"] >= 12


def test_requests_by_number_are_not_copied(server: RunningServer) -> None:
    change(server, "same", labels={"PROD": 1, "STG": 1}, shadow={"version": 2, "labels": ["PROD"]})
    counted = Counted(server, "same")
    ask(server, "same", [1], "/versions/1")
    ask(server, "same", [1], "/versions/STG")
    ask(server, "same", [1], "/versions/PROD")
    counted.becomes(equal=1)
    change(server, "same", shadow={"version": 2, "percent": 0})
    ask(server, "same", [1])
    change(server, "same", shadow=None)
    ask(server, "same", [1])
    change(server, "same", shadow={"version": 2})
    ask(server, "same", [1])
    counted.becomes(equal=2)


def test_the_version_itself_is_not_copied(server: RunningServer) -> None:
    document = {"split": {"shares": {"2": 100}}, "shadow": {"version": 2}}
    answer = server.post("/v2/repository/models/same/release", json=document)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "shadow.version: expected another version than those that answer requests without a version, or with a label of "
        "shadow.labels, got 2, the only one of model 'same' that does",
    )
    change(server, "same", shadow={"version": 2})
    # At the end of a canary, a split says the same: that is done, and said.
    answer = server.post("/v2/repository/models/same/release", json={"split": {"shares": {"2": 100}}})
    assert answer.json()["problems"] == [
        "version 2 gets no copies of requests: it alone answers those that would be copied"
    ]
    counted = Counted(server, "same")
    for _ in range(3):
        assert server.infer("same", body([1])).json()["model_version"] == "2"
    change(server, "same", shadow={"version": 2})
    ask(server, "same", [1])
    counted.becomes(equal=1)


def test_a_slow_shadow_slows_nothing_and_copies_are_dropped(server: RunningServer) -> None:
    change(server, "slow", shadow={"version": 2, "max_requests": 2})
    counted = Counted(server, "slow")
    with Gate() as gate:
        # The first one is executed, and stays in that; the second one waits for its turn. Clients have their answers.
        for _ in range(5):
            assert ask(server, "slow", [1], port=gate.port) == [1]
        gate.await_start()
        counted.becomes(dropped=3)
        gate.open()
        gate.await_start()
        gate.open()
        counted.becomes(dropped=3, equal=2)
    # There is room again.
    ask(server, "slow", [1])
    counted.becomes(dropped=3, equal=3)


def test_a_shadow_that_fails_is_counted_and_said_once(server: RunningServer) -> None:
    change(server, "off", shadow={"version": 2, "tolerance": {"absolute": 1}})
    counted = Counted(server, "off")
    for _ in range(4):
        assert ask(server, "off", [-1]) == [-1]
    counted.becomes(failed=4)
    assert server.log.count("the shadow of version 1, version 2, failed") <= 1
    assert server.log.count("execution failed in off") == 1


def test_a_request_that_fails_has_no_shadow(server: RunningServer) -> None:
    change(server, "same", shadow={"version": 2})
    counted = Counted(server, "same")
    wrong = body([1])
    wrong["inputs"][1]["shape"] = [2]
    wrong["inputs"][1]["data"] = [1, 2]
    assert server.infer("same", wrong).status_code == 400
    ask(server, "same", [1])
    counted.becomes(equal=1)


def test_large_answers_are_compared_too(server: RunningServer) -> None:
    change(server, "off", shadow={"version": 2, "tolerance": {"absolute": 0.4, "relative": 0}})
    counted = Counted(server, "off")
    values = [float(number % 7) for number in range(50_000)]
    assert ask(server, "off", values) == values
    counted.becomes(different=1)


def test_what_cannot_be_shadowed_is_refused(explicit: ExplicitServer) -> None:
    decoupled = "model_transaction_policy { decoupled: true }\n"
    code = """
class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}

    def __call__(self, inputs):
        yield {"OUT": inputs["IN"]}
"""
    for version in (1, 2):
        explicit.write("streams", code, f"{ALL}\n{decoupled}", version)
        explicit.write("sequences", accumulator(), batching("direct {}", extra="") + ALL, version)
        explicit.write("alone", model(0), "", 1)
    for name, why in (
        ("streams", "shadow.version: version 2 is decoupled"),
        ("sequences", "shadow.version: version 2 takes sequences"),
        ("alone", "shadow.version: version 2 of model 'alone' is not ready"),
    ):
        assert explicit.load(name).status_code == 200
        answer = explicit.server.post(
            f"/v2/repository/models/{name}/release", json={"shadow": {"version": 2}}
        )
        assert answer.status_code in (400, 404)
        assert error_of(answer).startswith(why)
        explicit.unload(name)
    assert explicit.load("alone").status_code == 200
    answer = explicit.server.post("/v2/repository/models/alone/release", json={"shadow": {"version": 1}})
    assert (answer.status_code, error_of(answer)) == (
        400,
        "shadow.version: expected another version than those that answer, got 1, the only one of model 'alone' that is "
        "ready",
    )
    explicit.unload("alone")


def test_a_shadow_that_goes_ends_its_copies(explicit: ExplicitServer, server: RunningServer) -> None:
    change(server, "slow", shadow={"version": 2})
    counted = Counted(server, "slow")
    with Gate() as gate:
        ask(server, "slow", [1], port=gate.port)
        gate.await_start()
        # The unload waits for what is under way, also for a copy; clients do not.
        assert explicit.unload("slow").status_code == 200
        gate.open()
        wait_until(lambda: "unloaded: slow version 2" in server.log)
    assert explicit.load("slow").status_code == 200
    # It was kept, and goes on.
    ask(server, "slow", [1])
    counted.becomes(equal=2)


def pending_of_shadow(server: RunningServer) -> float:
    return metric(server, "nv_inference_pending_request_count", model="slow", version="2")


def test_a_client_of_the_shadow_waits_for_one_copy_at_most(server: RunningServer) -> None:
    change(server, "slow", shadow={"version": 2})
    counted = Counted(server, "slow")
    with Gate() as gate, Wire(server) as wire:
        for _ in range(5):
            ask(server, "slow", [1], port=gate.port)
        gate.await_start()
        text = json.dumps(body([7], gate.port)).encode()
        head = f"POST /v2/models/slow/versions/2/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {len(text)}\r\n\r\n"
        wire.send(head.encode() + text)
        wait_until(lambda: pending_of_shadow(server) == 1)
        gate.open()
        # Of all that waited, the client's request is the next one.
        gate.await_start()
        counted.becomes(equal=1, dropped=4)
        # Nor is a copy put behind it.
        ask(server, "slow", [1], port=gate.port)
        counted.becomes(equal=1, dropped=5)
        gate.open()
        assert wire.response().status_code == 200


def test_an_unload_waits_for_one_copy_at_most(explicit: ExplicitServer, server: RunningServer) -> None:
    change(server, "slow", shadow={"version": 2})
    counted = Counted(server, "slow")
    unloaded = server.log.count("unloaded: slow version 2")
    with Gate() as gate:
        for _ in range(5):
            ask(server, "slow", [1], port=gate.port)
        gate.await_start()
        assert explicit.unload("slow").status_code == 200
        gate.open()
        wait_until(lambda: server.log.count("unloaded: slow version 2") > unloaded)
    assert explicit.load("slow").status_code == 200
    counted.becomes(equal=1, dropped=4)


def load_with_a_slow_shadow(explicit: ExplicitServer) -> None:
    """A model whose version 1 answers at once; the copies wait at a gate."""
    explicit.write("slow", model(0), ALL, 1)
    explicit.write("slow", model(0, waits=True), ALL, 2)
    assert explicit.load("slow").status_code == 200
    change(explicit.server, "slow", shadow={"version": 2})


def test_the_server_s_exit_waits_for_no_copy_that_has_not_begun(start_explicit: StartExplicit) -> None:
    explicit = start_explicit("--exit-timeout-secs", "45")
    server = explicit.server
    load_with_a_slow_shadow(explicit)
    with Gate() as gate:
        for _ in range(5):
            ask(server, "slow", [1], port=gate.port)
        gate.await_start()
        server.ask_to_stop()
        wait_until(lambda: "unloaded: slow version 1" in server.log)
        gate.open()
        # Those that had not begun would stay at the gate for longer than the time-out, one after the other.
        assert server.stop() == 0


def test_a_copy_that_does_not_end_is_no_failed_exit(start_explicit: StartExplicit) -> None:
    """Nobody waits for it, and it cannot be ended."""
    explicit = start_explicit("--exit-timeout-secs", "1")
    server = explicit.server
    load_with_a_slow_shadow(explicit)
    with Gate() as gate:
        ask(server, "slow", [1], port=gate.port)
        gate.await_start()
        assert server.stop() == 0
    assert "a shadow still executes a copy of a request" in server.log


def test_what_lies_in_a_client_s_memory_is_left_alone(server: RunningServer) -> None:
    change(server, "same", shadow={"version": 2})
    counted = Counted(server, "same")
    key = f"/shadowed_{os.getpid()}"
    region = shm.create_shared_memory_region("shadowed", key, 8, create_only=True)
    try:
        shm.set_shared_memory_region(region, [np.array([1, 2], np.float32)])
        with tritonclient.http.InferenceServerClient(server.rest.removeprefix("http://")) as client:
            client.register_system_shared_memory("shadowed", key, 8)
            given = tritonclient.http.InferInput("IN", [2], "FP32")
            given.set_shared_memory("shadowed", 8)
            port = tritonclient.http.InferInput("PORT", [1], "INT32")
            port.set_data_from_numpy(np.array([0], np.int32))
            outputs = [tritonclient.http.InferRequestedOutput(name) for name in ("OUT", "TEXT")]
            answer = client.infer("same", [given, port], outputs=outputs)
            assert answer.as_numpy("OUT").tolist() == [1, 2]
            client.unregister_system_shared_memory("shadowed")
    finally:
        shm.destroy_shared_memory_region(region)
    counted.becomes(skipped=1)
