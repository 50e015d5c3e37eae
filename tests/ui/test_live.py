"""`GET /ui/live` over real sockets: events while somebody looks, and nothing afterwards."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.handlers import GATED, identity
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

FAST = "interval=0.25"


class Watch:
    """One who watches."""

    def __init__(self, server: RunningServer, query: str = FAST) -> None:
        self.client = httpx.Client(timeout=60)
        self._stream = self.client.stream("GET", f"{server.rest}/ui/live?{query}")

    def __enter__(self) -> Self:
        self.answer = self._stream.__enter__()
        assert self.answer.status_code == 200, self.answer.read()
        self._lines = self.answer.iter_lines()
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.__exit__(None, None, None)
        self.client.close()

    def lines(self) -> Iterator[str]:
        return self._lines

    def next(self) -> dict[str, Any]:
        """The next event."""
        for line in self._lines:
            if line.startswith("data: "):
                document: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return document
        raise EOFError

    def until(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The model of that name in the first event in which it is so."""
        while True:
            for model in self.next()["models"]:
                if model["name"] == name and all(model[key] == value for key, value in wanted.items()):
                    return model


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("watched")
    write_model(root, "same", identity("FP32", [1], max_batch_size=4))
    write_model(root, "gated", GATED)
    write_model(
        root,
        "failing",
        'class Model:\n    inputs = {"IN": ("FP32", [1])}\n    outputs = {"OUT": ("FP32", [1])}\n\n    def __call__(self, inputs):\n        raise ValueError("no")\n',
    )
    return root


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    return start_server(repository)


def ask(server: RunningServer, model: str, *rows: float) -> httpx.Response:
    shape = [len(rows), 1] if model == "same" else [1]
    return server.infer(model, {"inputs": [{"name": "IN", "datatype": "FP32", "shape": shape, "data": rows}]})


def test_every_event_is_one_document(server: RunningServer) -> None:
    with Watch(server) as watch:
        assert watch.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert watch.answer.headers["cache-control"] == "no-store"
        document = watch.next()
        again = watch.next()
    assert [each["name"] for each in document["models"]] == ["failing", "gated", "same"]
    assert again["time"] > document["time"]
    assert document["seconds"] > 0
    assert document["server"]["resident_bytes"] > 10_000_000
    assert document["server"]["cpus"] >= 1
    assert document["server"]["loop_lag_ms"]["max"] >= document["server"]["loop_lag_ms"]["mean"] >= 0


def test_requests_are_counted_once_in_all_events_together(server: RunningServer) -> None:
    """The rates, times the seconds they are for, are what was sent: nothing is lost between two events."""
    with Watch(server, "models=same&interval=0.25") as watch:
        watch.next()
        for number in range(20):
            assert ask(server, "same", *([number] * (number % 2 + 1))).status_code == 200
        requests = rows = sizes = 0.0
        reasons: dict[str, int] = {}
        for _ in range(200):
            document = watch.next()
            [model] = document["models"]
            requests += model["requests_per_second"] * document["seconds"]
            rows += model["inferences_per_second"] * document["seconds"]
            for batch in model["batches"]:
                sizes += batch["rows"] * batch["executions"]
                for reason, count in batch["reasons"].items():
                    reasons[reason] = reasons.get(reason, 0) + count
            if requests > 19.5:
                break
        latency = model["latency_ms"]
    assert round(requests) == 20
    assert (round(rows), sizes) == (30, 30)
    assert sum(reasons.values()) == 20
    assert latency["requests"] == 20
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert model["mean_ms"].keys() == {"request", "queue", "compute_input", "compute_infer", "compute_output"}


def test_an_execution_is_seen_while_it_lasts_and_what_waits_behind_it(server: RunningServer) -> None:
    with Gate() as gate, Wire(server) as running, Wire(server) as waiting, Watch(server) as watch:
        watch.until("gated", executing=0, queue_depth=0)
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        waiting.send_infer("gated", gated_request(new_tag()))
        wait_until(lambda: pending(server, "gated") == 1)
        # One instance, which has been busy for the whole time between two events.
        busy = watch.until("gated", executing=1, queue_depth=1, busy=1.0)
        assert busy["places"] == 1
        gate.open()
        assert running.response().status_code == waiting.response().status_code == 200
        watch.until("gated", executing=0, queue_depth=0, busy=0.0)
    assert metric(server, "kserve_v2_instance_busy_seconds", model="gated") > 0
    assert metric(server, "kserve_v2_execution_places", model="gated") == 1


def test_errors_are_counted_by_their_reason(server: RunningServer) -> None:
    with Watch(server, "models=failing&interval=0.25") as watch:
        watch.next()
        assert ask(server, "failing", 1).status_code == 500
        while not (failures := (document := watch.next())["models"][0]["failures_per_second"]):
            pass
    assert failures.keys() == {"BACKEND"}
    assert round(failures["BACKEND"] * document["seconds"]) == 1


def test_who_comes_later_gets_events_of_the_same_models(server: RunningServer) -> None:
    with (
        Watch(server) as first,
        Watch(server, "interval=10") as second,
        Watch(server, "models=nobody") as third,
    ):
        names = {each["name"] for each in first.next()["models"]}
        assert {each["name"] for each in second.next()["models"]} == names
        nobody = third.next()
        assert (nobody["models"], nobody["not_loaded"]) == ([], ["nobody"])
        assert first.next()["models"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("interval=0.2", r"invalid interval '0.2': expected a number of seconds from 0.25 to 10"),
        ("interval=nan", r"invalid interval 'nan': expected a number of seconds .*"),
        ("interval=inf", r"invalid interval 'inf': .*"),
        ("interval=often", r"invalid interval 'often': .*"),
        ("interval=1&interval=2", r"parameter 'interval' of the query is given 2 times"),
        ("every=1", r"unknown parameter 'every' in the query, expected models or interval"),
        ("models=%ff", r"cannot read the query: .*"),
        ("interval", r"cannot read the query: .*"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(server: RunningServer, query: str, message: str) -> None:
    answer = server.get(f"/ui/live?{query}")
    assert answer.status_code == 400
    assert re.fullmatch(message, error_of(answer))


def test_other_methods_do_not_watch(server: RunningServer) -> None:
    head = server.client.head(f"{server.rest}/ui/live")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert server.post("/ui/live").status_code == 405


def test_who_takes_nothing_gets_the_newest_when_it_does(server: RunningServer) -> None:
    """What has come meanwhile is not kept: the next event tells of all that time."""
    address = httpx.URL(server.rest)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((address.host, address.port))
        slow.sendall(b"GET /ui/live?interval=0.25 HTTP/1.1\r\nhost: x\r\n\r\n")
        # The server goes on for others, whatever becomes of this one.
        with Watch(server) as watch:
            for _ in range(4):
                watch.next()
        assert ask(server, "same", 1.0).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_server_ends_the_events(repository: Path, tmp_path: Path, number: int) -> None:
    server = launch(tmp_path, repository, "--allow-grpc=false", "--exit-timeout-secs", "30")
    with Watch(server) as watch, Watch(server, "interval=10") as rare, httpx.Client(timeout=60) as client:
        watch.next()
        rare.next()
        server.process.send_signal(number)
        # The streams end as they should, and the server does not wait for those who watch.
        assert all(line == "" or line.startswith("data: ") for line in watch.lines())
        assert list(rare.lines()) in ([""], [])
        assert server.process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            client.get(f"{server.rest}/ui/live")
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "time-out" not in server.log


def test_without_the_page_there_is_nothing_to_watch(repository: Path, tmp_path: Path) -> None:
    server = launch(tmp_path, repository, "--allow-grpc=false", "--allow-ui=false")
    try:
        assert server.get("/ui/live").status_code == 404
        assert server.get("/ui/models/same/explain").status_code == 404
    finally:
        assert server.stop() == 0
