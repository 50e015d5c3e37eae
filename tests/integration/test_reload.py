"""Models that change while they are served: reloads, versions and configurations."""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import GATED, slow_to_load, versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, model_ready, post_load, ready
from tests.integration.support import (
    Gate,
    Wire,
    error_of,
    gated_request,
    infer_bytes,
    json_tensor,
    new_tag,
    wait_until,
)

# --- reload ---------------------------------------------------------------------------------------------------


@contextmanager
def constant_requests(server: RunningServer, model: str, threads: int = 3) -> Iterator[list[tuple[int, Any]]]:
    """Ask a model all the time; yields the growing list of (status, answer)."""
    answers: list[tuple[int, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                response = client.post(f"{server.rest}/v2/models/{model}/infer", json=ASK)
                body = response.json()
                answers.append(
                    (response.status_code, body["outputs"][0]["data"][0] if "outputs" in body else body)
                )

    with ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(ask) for _ in range(threads)]
        try:
            yield answers
        finally:
            stop.set()
        for each in asking:
            each.result()


@pytest.mark.slow
def test_reloads_of_a_changed_model_under_load(explicit: ExplicitServer) -> None:
    explicit.write("changing", versioned(0))
    explicit.load("changing")
    with constant_requests(explicit.server, "changing") as answers:
        for generation in range(1, 6):
            seen = len(answers)
            wait_until(lambda seen=seen: len(answers) > seen + 20)
            # Of another length each time: a change that the clock is too coarse for is seen by its size.
            explicit.write("changing", versioned(generation) + "#" * generation)
            assert explicit.load("changing").status_code == 200
            assert answer_of(explicit.server, "changing") == generation
    assert {status for status, _ in answers} == {200}
    assert {number for _, number in answers} >= {0, 1, 2, 3, 4}


@pytest.mark.slow
def test_a_reload_that_fails_keeps_what_is_served(explicit: ExplicitServer) -> None:
    server = explicit.server
    explicit.write("kept", versioned(1))
    explicit.load("kept")
    with constant_requests(server, "kept") as answers:
        explicit.write("kept", BROKEN)
        text = error_of(explicit.load("kept"))
        seen = len(answers)
        wait_until(lambda: len(answers) > seen + 20)
    assert set(answers) == {(200, 1)}
    assert text.startswith("load failed for model 'kept': version 1 is at UNAVAILABLE state: ")
    assert "broken on purpose" in text
    (entry,) = explicit.index("kept")
    reason = entry.pop("reason")
    assert entry == {"name": "kept", "version": "1", "state": "READY"}
    assert reason.startswith("not updated: ")
    assert "broken on purpose" in reason
    assert "broken on purpose" in server.log
    assert (ready(server), model_ready(server, "kept")) == (200, 200)

    explicit.write("kept", versioned(22))
    assert explicit.load("kept").status_code == 200
    assert explicit.index("kept") == [{"name": "kept", "version": "1", "state": "READY"}]
    assert answer_of(server, "kept") == 22


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("kept_unparsable", "max_batch_size: many"),
        ("kept_backend", 'backend: "nosuch"'),
        ("kept_policy", "version_policy { specific { versions: 9 } }"),
    ],
)
def test_a_configuration_that_turns_bad_keeps_what_is_served(
    explicit: ExplicitServer, name: str, config: str
) -> None:
    explicit.write(name, versioned(1))
    explicit.load(name)
    explicit.write(name, versioned(1), config)
    text = error_of(explicit.load(name))
    assert answer_of(explicit.server, name) == 1
    (entry,) = explicit.index(name)
    assert (entry["state"], entry["version"]) == ("READY", "1")
    assert entry["reason"].startswith("not updated: ")
    (explicit.root / name / "config.pbtxt").unlink()
    assert explicit.load(name).status_code == 200
    assert explicit.index(name) == [{"name": name, "version": "1", "state": "READY"}]
    assert text.removeprefix(f"load failed for model '{name}': ").split()[0] in explicit.server.log
    assert ready(explicit.server) == 200


def test_the_old_model_answers_while_the_new_one_loads(
    explicit: ExplicitServer, later: Callable[..., Future[Any]]
) -> None:
    explicit.write("slow_change", versioned(1))
    explicit.load("slow_change")
    with Gate() as gate:
        explicit.write("slow_change", slow_to_load(gate.port, number=2))
        load = later(post_load, explicit.server, "slow_change")
        gate.await_start()
        assert answer_of(explicit.server, "slow_change") == 1
        assert (ready(explicit.server), model_ready(explicit.server, "slow_change")) == (200, 200)
        assert explicit.index("slow_change")[0]["state"] == "READY"
        gate.open()
        assert load.result().status_code == 200
    assert answer_of(explicit.server, "slow_change") == 2


def test_a_request_that_is_executed_during_a_reload_is_answered_by_the_old_model(
    explicit: ExplicitServer,
) -> None:
    explicit.write("outlived", GATED)
    explicit.load("outlived")
    with Gate() as gate, Wire(explicit.server) as wire:
        wire.send_infer("outlived", gated_request(new_tag(), gate.port))
        gate.await_start()
        explicit.write("outlived", versioned(2))
        assert explicit.load("outlived").status_code == 200
        assert answer_of(explicit.server, "outlived") == 2
        gate.open()
        assert wire.response().json()["outputs"][0]["name"] == "TAGS"
    assert answer_of(explicit.server, "outlived") == 2


@pytest.mark.slow
def test_fifty_upgrades_under_load(explicit: ExplicitServer) -> None:
    """A new version at a time under `latest: 1`, every tenth of them broken: no request notices."""
    server, name = explicit.server, "upgraded"
    explicit.write(name, versioned(1))
    explicit.load(name)
    serving = 1
    with constant_requests(server, name, 1) as first, constant_requests(server, name, 1) as second:

        def await_answers() -> None:
            """Until each client has an answer to what it has asked after this was called."""
            for answers in (first, second):
                seen = len(answers)
                wait_until(lambda seen=seen, answers=answers: len(answers) > seen + 1)
                assert answers[-1] == (200, serving)

        await_answers()
        for number in range(2, 52):
            broken = number % 10 == 5
            explicit.write(name, BROKEN if broken else versioned(number), version=number)
            assert explicit.load(name).status_code == (400 if broken else 200)
            serving = serving if broken else number
            await_answers()
            if broken:
                # The operator takes it away again.
                shutil.rmtree(explicit.root / name / str(number))
    for answers in (first, second):
        assert {status for status, _ in answers} == {200}
        numbers = [number for _, number in answers]
        assert numbers == sorted(numbers), "nobody sees an older version after a newer one"
        assert set(numbers) == {number for number in range(1, 52) if number % 10 != 5}


# --- versions and configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", ["7"]),
        ("version_policy { latest { num_versions: 2 } }", ["4", "7"]),
        ("version_policy { specific { versions: [ 1, 4 ] } }", ["1", "4"]),
        ("version_policy { all { } }", ["1", "4", "7"]),
    ],
)
def test_the_version_policy(explicit: ExplicitServer, policy: str, served: list[str]) -> None:
    name = f"policy_{len(policy)}"
    for number in (1, 4, 7):
        explicit.write(name, versioned(number), policy, number)
    (explicit.root / name / "0").mkdir()
    (explicit.root / name / "v8").mkdir()
    explicit.load(name)
    assert [(entry["version"], entry["state"]) for entry in explicit.index(name)] == [
        (version, "READY") for version in served
    ]
    assert explicit.server.get(f"/v2/models/{name}").json()["versions"] == served
    assert answer_of(explicit.server, name) == int(served[-1])
    assert [answer_of(explicit.server, name, version) for version in served] == [
        int(version) for version in served
    ]


def test_a_version_that_is_added(explicit: ExplicitServer) -> None:
    explicit.write("growing", versioned(1))
    explicit.load("growing")
    explicit.write("growing", versioned(2), version=2)
    assert explicit.load("growing").status_code == 200
    assert answer_of(explicit.server, "growing") == 2
    wait_until(lambda: explicit.index("growing")[0].get("reason") == "unloaded")
    assert [(entry["version"], entry["state"]) for entry in explicit.index("growing")] == [
        ("1", "UNAVAILABLE"),
        ("2", "READY"),
    ]


def test_one_version_that_fails_leaves_the_other(explicit: ExplicitServer) -> None:
    policy = "version_policy { all { } }"
    explicit.write("mixed", versioned(1), policy)
    explicit.write("mixed", BROKEN, policy, version=2)
    assert explicit.load("mixed").status_code == 400
    assert answer_of(explicit.server, "mixed") == 1
    states = {entry["version"]: entry["state"] for entry in explicit.index("mixed")}
    assert states == {"1": "READY", "2": "UNAVAILABLE"}


@pytest.mark.slow
def test_a_folder_with_nothing_but_an_onnx_file(explicit: ExplicitServer) -> None:
    onnx = pytest.importorskip("onnx")
    values = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["a", "b"], ["sum"])],
        "add",
        [values(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in "ab"],
        [values("sum", onnx.TensorProto.FLOAT, ["batch", 2])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path: Path = explicit.root / "just_onnx" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)
    assert explicit.load("just_onnx").status_code == 200
    metadata = explicit.server.get("/v2/models/just_onnx").json()
    assert metadata["platform"] == "onnxruntime_onnx"
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["a", "b"]
    [batch, two] = metadata["inputs"][0]["shape"]
    assert (batch, two) == (-1, 2)
    body = {"inputs": [json_tensor(name, "FP32", [1, 2], [1.5, 2]) for name in "ab"]}
    with Wire(explicit.server) as wire:
        wire.send(infer_bytes("just_onnx", body))
        assert wire.response().json()["outputs"][0]["data"] == [3, 4]
