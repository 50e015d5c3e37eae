"""Loading, reloading and unloading while clients ask: states, readiness, and no request lost."""

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
from tests.integration.handlers import GATED, identity, slow_to_load, versioned
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

ASK = {"inputs": [json_tensor("IN", "INT32", [1], [0])]}
BROKEN = "raise RuntimeError('broken on purpose')"


def answer_of(server: RunningServer, model: str, version: str = "") -> int:
    """Which number a model answers with."""
    path = f"{model}/versions/{version}" if version else model
    response = server.infer(path, ASK)
    assert response.status_code == 200, response.text
    return int(response.json()["outputs"][0]["data"][0])


def ready(server: RunningServer) -> int:
    """Status of the readiness probe."""
    return server.get("/v2/health/ready").status_code


def model_ready(server: RunningServer, model: str) -> int:
    """Status of a model's readiness probe."""
    return server.get(f"/v2/models/{model}/ready").status_code


@pytest.fixture
def later() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a blocking call on a thread."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


def post_load(explicit: ExplicitServer, name: str) -> httpx.Response:
    """A load on a connection of its own, for threads."""
    return httpx.post(f"{explicit.server.rest}/v2/repository/models/{name}/load", timeout=60)


# --- load -----------------------------------------------------------------------------------------------------


def test_a_model_that_was_never_loaded(explicit: ExplicitServer) -> None:
    explicit.write("never", versioned(1))
    assert explicit.index("never") == [{"name": "never"}]
    assert model_ready(explicit.server, "never") == 400
    response = explicit.server.infer("never", ASK)
    assert (response.status_code, error_of(response)) == (
        404,
        "Request for unknown model: 'never' is not found",
    )


def test_a_load_answers_when_the_model_does(explicit: ExplicitServer) -> None:
    explicit.write("fresh", versioned(1))
    response = explicit.load("fresh")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == "application/json"
    assert explicit.index("fresh") == [{"name": "fresh", "version": "1", "state": "READY"}]
    assert answer_of(explicit.server, "fresh") == 1


@pytest.mark.parametrize("options", [{"content": b""}, {"json": {}}, {"json": {"parameters": {}}}])
def test_the_body_of_a_load(explicit: ExplicitServer, options: dict[str, Any]) -> None:
    explicit.write("bodies", versioned(1))
    assert explicit.load("bodies", **options).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "failed to parse the request JSON buffer: "),
        (b"[]", 400, "attempt to get members for non-object"),
        (b'{"parameters": 1}', 400, "attempt to get members for non-object"),
        (b'{"parameters": {"foo": "x"}}', 400, "unrecognized load parameter 'foo'."),
        (b'{"parameters": {"config": 1}}', 400, "invalid value type for load parameter 'config'"),
        (b'{"parameters": {"config": "max_batch_size: 4"}}', 400, "load failed for model 'bad_body': config override"),
        (b'{"parameters": {"config": "{\\"max_batchsize\\": 4}"}}', 400, "load failed for model 'bad_body': "),
        (b'{"parameters": {"file:1/model.py": "eA=="}}', 501, "load parameter 'file:1/model.py': "),
    ],
)  # fmt: skip
def test_a_malformed_load(explicit: ExplicitServer, body: bytes, status: int, text: str) -> None:
    explicit.write("bad_body", versioned(1))
    response = explicit.load("bad_body", content=body)
    assert response.status_code == status
    assert error_of(response).startswith(text)


def test_loading_an_unknown_model(explicit: ExplicitServer) -> None:
    response = explicit.load("nosuch")
    assert response.status_code in (400, 404)
    assert error_of(response).startswith("failed to load 'nosuch', failed to poll from model repository")
    assert explicit.index("nosuch") == []


def test_loading_what_is_loaded_and_unchanged_does_nothing(explicit: ExplicitServer) -> None:
    explicit.write("same", GATED)
    explicit.load("same")
    tag = new_tag()
    explicit.server.infer("same", gated_request(tag))
    assert explicit.load("same").status_code == 200
    # A handler that had been made anew would not know its tags.
    answer = explicit.server.infer("same", gated_request(new_tag())).json()
    assert str(tag) in answer["outputs"][0]["data"][0]


def test_a_model_while_it_loads(explicit: ExplicitServer, later: Callable[..., Future[Any]]) -> None:
    server = explicit.server
    with Gate() as gate:
        explicit.write("loading", slow_to_load(gate.port))
        load = later(post_load, explicit, "loading")
        gate.await_start()
        assert explicit.index("loading") == [{"name": "loading", "version": "1", "state": "LOADING"}]
        assert (ready(server), model_ready(server, "loading")) == (400, 400)
        assert server.infer("loading", ASK).status_code == 404
        response = server.infer("loading/versions/1", ASK)
        assert (response.status_code, error_of(response)) == (
            503, "Request for unknown model: 'loading' version 1 is not at ready state",
        )  # fmt: skip
        assert not load.done()
        gate.open()
        assert load.result().status_code == 200
    assert (ready(server), model_ready(server, "loading")) == (200, 200)


def test_an_unload_while_loading(explicit: ExplicitServer, later: Callable[..., Future[Any]]) -> None:
    with Gate() as gate:
        explicit.write("regretted", slow_to_load(gate.port))
        load = later(post_load, explicit, "regretted")
        gate.await_start()
        assert explicit.unload("regretted").status_code == 200
        gate.open()
        load.result()
    wait_until(lambda: explicit.index("regretted")[0].get("reason") == "unloaded")
    assert explicit.server.infer("regretted", ASK).status_code == 404
    assert ready(explicit.server) == 200


def test_two_loads_at_once_make_one_model(
    explicit: ExplicitServer, later: Callable[..., Future[Any]]
) -> None:
    with Gate() as gate:
        explicit.write("twice", slow_to_load(gate.port))
        loads = [later(post_load, explicit, "twice") for _ in range(2)]
        gate.await_start()
        gate.open()
        assert [load.result().status_code for load in loads] == [200, 200]
    assert [entry["state"] for entry in explicit.index("twice")] == ["READY"]


def test_a_slow_load_does_not_hold_up_another_model(
    explicit: ExplicitServer, later: Callable[..., Future[Any]]
) -> None:
    with Gate() as gate:
        explicit.write("slow_one", slow_to_load(gate.port))
        explicit.write("quick_one", versioned(5))
        load = later(post_load, explicit, "slow_one")
        gate.await_start()
        assert explicit.load("quick_one").status_code == 200
        assert answer_of(explicit.server, "quick_one") == 5
        gate.open()
        assert load.result().status_code == 200


# --- reload ---------------------------------------------------------------------------------------------------


@contextmanager
def constant_requests(server: RunningServer, model: str, threads: int = 3) -> Iterator[list[tuple[int, Any]]]:
    """Ask a model all the time; yields the growing list of (status, answer)."""
    answers: list[tuple[int, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
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
    [entry] = explicit.index("kept")
    assert entry["state"] == "READY"
    assert "broken on purpose" in entry["reason"]
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
    error_of(explicit.load(name))
    assert answer_of(explicit.server, name) == 1
    [entry] = explicit.index(name)
    assert entry["state"] == "READY"
    assert entry["reason"]
    assert ready(explicit.server) == 200


def test_the_old_model_answers_while_the_new_one_loads(
    explicit: ExplicitServer, later: Callable[..., Future[Any]]
) -> None:
    explicit.write("slow_change", versioned(1))
    explicit.load("slow_change")
    with Gate() as gate:
        explicit.write("slow_change", slow_to_load(gate.port, number=2))
        load = later(post_load, explicit, "slow_change")
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


# --- unload ---------------------------------------------------------------------------------------------------


def test_an_unload_waits_for_requests_under_way(explicit: ExplicitServer) -> None:
    server = explicit.server
    explicit.write("leaving", GATED)
    explicit.load("leaving")
    with Gate() as gate, Wire(server) as running, Wire(server) as waiting:
        running.send_infer("leaving", gated_request(new_tag(), gate.port))
        gate.await_start()
        waiting.send_infer("leaving", gated_request(new_tag()))
        wait_until(lambda: server.get("/v2/models/leaving/stats").status_code == 200)
        response = explicit.unload("leaving")
        assert (response.status_code, response.content) == (200, b"")
        assert explicit.index("leaving")[0]["state"] == "UNLOADING"
        assert (ready(server), model_ready(server, "leaving")) == (400, 400)
        refused = server.infer("leaving/versions/1", ASK)
        assert (refused.status_code, error_of(refused)) == (
            503, "Request for unknown model: 'leaving' version 1 is not at ready state",
        )  # fmt: skip
        gate.open()
        assert running.response().status_code == 200
        assert waiting.response().status_code == 200
    wait_until(lambda: explicit.index("leaving")[0]["state"] == "UNAVAILABLE")
    assert explicit.index("leaving")[0]["reason"] == "unloaded"
    assert ready(server) == 200


def test_what_an_unloaded_model_answers(explicit: ExplicitServer) -> None:
    server = explicit.server
    explicit.write("gone", versioned(1))
    explicit.load("gone")
    explicit.unload("gone")
    wait_until(lambda: explicit.index("gone")[0].get("reason") == "unloaded")
    assert explicit.index("gone") == [
        {"name": "gone", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
    ]
    for path in ("gone", "gone/config"):
        response = server.get(f"/v2/models/{path}")
        assert (response.status_code, error_of(response)) == (
            404, "Request for unknown model: 'gone' has no available versions",
        )  # fmt: skip
    response = server.infer("gone", ASK)
    assert (response.status_code, error_of(response)) == (
        404, "Request for unknown model: 'gone' has no available versions",
    )  # fmt: skip
    assert server.infer("gone/versions/1", ASK).status_code == 503
    assert server.infer("gone/versions/2", ASK).status_code == 404
    assert server.get("/v2/models/gone/stats").status_code == 400
    assert model_ready(server, "gone") == 400
    assert explicit.load("gone").status_code == 200
    assert answer_of(server, "gone") == 1


@pytest.mark.parametrize("name", ["nosuch", "unloaded_twice"])
def test_an_unload_of_what_is_not_loaded(explicit: ExplicitServer, name: str) -> None:
    assert explicit.unload(name).status_code == 200
    assert explicit.unload(name).status_code == 200
    assert explicit.index(name) == []


@pytest.mark.parametrize(
    ("name", "code", "config"),
    [("fails_in_code", BROKEN, ""), ("fails_in_config", versioned(1), "max_batch_size: many")],
)
def test_a_model_that_fails_to_load_holds_up_readiness_until_it_is_unloaded(
    explicit: ExplicitServer, name: str, code: str, config: str
) -> None:
    explicit.write(name, code, config)
    assert ready(explicit.server) == 200
    assert explicit.load(name).status_code == 400
    assert ready(explicit.server) == 400
    explicit.unload(name)
    assert ready(explicit.server) == 200


def test_load_during_unloading(explicit: ExplicitServer) -> None:
    explicit.write("back", GATED)
    explicit.load("back")
    with Gate() as gate, Wire(explicit.server) as wire:
        wire.send_infer("back", gated_request(new_tag(), gate.port))
        gate.await_start()
        explicit.unload("back")
        assert explicit.load("back").status_code == 200
        assert explicit.server.infer("back", gated_request(new_tag())).status_code == 200
        gate.open()
        assert wire.response().status_code == 200
    assert explicit.index("back") == [{"name": "back", "version": "1", "state": "READY"}]


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


def test_a_configuration_override_stays_until_the_unload(explicit: ExplicitServer) -> None:
    def batch_size() -> int:
        config = explicit.server.get("/v2/models/overridden/config").json()
        return int(config["max_batch_size"])

    explicit.write("overridden", identity("INT32", [1], max_batch_size=8))
    override = {"parameters": {"config": '{"maxBatchSize": 2}'}}
    assert explicit.load("overridden", json=override).status_code == 200
    assert batch_size() == 2
    assert explicit.load("overridden").status_code == 200
    assert batch_size() == 2
    explicit.unload("overridden")
    assert explicit.load("overridden").status_code == 200
    assert batch_size() == 8


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
