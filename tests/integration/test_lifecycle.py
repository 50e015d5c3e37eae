"""Loading and unloading while clients ask: states, readiness, and no request lost."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import GATED, slow_to_load, versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, model_ready, post_load, ready
from tests.integration.support import (
    Gate,
    Wire,
    error_of,
    gated_request,
    new_tag,
    wait_until,
)

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


@pytest.mark.parametrize(
    "options",
    [
        {"content": b""},
        {"json": {}},
        {"json": {"parameters": {}}},
        {"json": {"parameters": None}},
        {"json": {"parameters": {"config": None}}},
    ],
)
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
        load = later(post_load, explicit.server, "loading")
        gate.await_start()
        assert explicit.index("loading") == [{"name": "loading", "version": "1", "state": "LOADING"}]
        assert (ready(server), model_ready(server, "loading")) == (400, 400)
        response = server.infer("loading", ASK)
        assert (response.status_code, error_of(response)) == (
            503, "Request for unknown model: 'loading' is not at ready state: it is being loaded",
        )  # fmt: skip
        assert response.headers["retry-after"] == "1"
        response = server.infer("loading/versions/1", ASK)
        assert (response.status_code, error_of(response)) == (
            503, "Request for unknown model: 'loading' version 1 is not at ready state",
        )  # fmt: skip
        assert response.headers["retry-after"] == "1"
        assert not load.done()
        gate.open()
        assert load.result().status_code == 200
    assert (ready(server), model_ready(server, "loading")) == (200, 200)


def test_a_version_that_has_failed_to_load_is_not_to_be_asked_again(explicit: ExplicitServer) -> None:
    """Nothing loads it once more before somebody has repaired it."""
    explicit.write("half", versioned(1), "version_policy { all { } }", 1)
    explicit.write("half", BROKEN, version=2)
    assert explicit.load("half").status_code == 400
    assert answer_of(explicit.server, "half") == 1
    refused = explicit.server.infer("half/versions/2", ASK)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, False)
    assert "broken on purpose" in error_of(refused)


def test_an_unload_while_loading(explicit: ExplicitServer, later: Callable[..., Future[Any]]) -> None:
    with Gate() as gate:
        explicit.write("regretted", slow_to_load(gate.port))
        load = later(post_load, explicit.server, "regretted")
        gate.await_start()
        assert explicit.unload("regretted").status_code == 200
        gate.open()
        overtaken = load.result()
        assert (overtaken.status_code, error_of(overtaken)) == (
            503, "load failed for model 'regretted': it was unloaded meanwhile",
        )  # fmt: skip
    wait_until(lambda: explicit.index("regretted")[0].get("reason") == "unloaded")
    assert explicit.server.infer("regretted", ASK).status_code == 404
    assert ready(explicit.server) == 200


def test_two_loads_at_once_make_one_model(
    explicit: ExplicitServer, later: Callable[..., Future[Any]]
) -> None:
    with Gate() as gate:
        explicit.write("twice", slow_to_load(gate.port))
        loads = [later(post_load, explicit.server, "twice") for _ in range(2)]
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
        load = later(post_load, explicit.server, "slow_one")
        gate.await_start()
        assert explicit.load("quick_one").status_code == 200
        assert answer_of(explicit.server, "quick_one") == 5
        gate.open()
        assert load.result().status_code == 200


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
        assert "retry-after" not in refused.headers
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


def test_a_model_that_fails_to_load_holds_up_readiness_until_it_is_unloaded(explicit: ExplicitServer) -> None:
    explicit.write("fails_in_code", BROKEN)
    assert ready(explicit.server) == 200
    assert explicit.load("fails_in_code").status_code == 400
    assert ready(explicit.server) == 400
    explicit.unload("fails_in_code")
    assert ready(explicit.server) == 200


def test_a_load_that_is_refused_leaves_the_server_ready(explicit: ExplicitServer) -> None:
    explicit.write("fails_in_config", versioned(1), "max_batch_size: many")
    (explicit.root / "no_versions").mkdir()
    (explicit.root / "no_versions" / "config.pbtxt").write_text("")
    for name in ("fails_in_config", "no_versions", "nosuch", ".."):
        assert explicit.load(name).status_code >= 400
        assert ready(explicit.server) == 200
    (entry,) = explicit.index("fails_in_config")
    assert "config.pbtxt:1:17" in entry["reason"]


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
