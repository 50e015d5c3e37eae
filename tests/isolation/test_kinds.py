"""Every kind of instance in a process of its own, and what crosses the border while it executes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import Wire, json_tensor, metric, wait_until
from tests.isolation.conftest import ALL, children
from tests.isolation.dying import parameters

STREAMS = "model_transaction_policy { decoupled: true }"

SYNC = """
import os, time
import numpy as np
from pathlib import Path

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1]), "pid": ("INT64", [1])}
    max_batch_size = 4

    def load(self, context):
        self.context = context
        self.path = context.model_path

    def __call__(self, inputs, requests):
        pid = np.full((len(inputs["n"]), 1), os.getpid())
        if inputs["n"][0, 0] == -1:
            # Until the client has left.
            (self.path / ".begun").touch()
            while not requests[0].cancelled:
                time.sleep(0.005)
            (self.path / ".cancelled").touch()
        self.context.logger.warning("one of %d", len(requests))
        return {"m": inputs["n"] + 1, "pid": pid}
"""

ASYNC = """
import asyncio, os
import numpy as np

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1]), "pid": ("INT64", [1])}
    max_concurrency = 8

    def load(self, context):
        self.waiting = 0
        self.path = context.model_path

    async def __call__(self, inputs):
        n = int(inputs["n"][0])
        if n == -3:
            os._exit(3)
        self.waiting += 1
        (self.path / ".waiting").write_text(str(self.waiting))
        # As many as are asked for have to be here at the same time.
        while n > 0 and self.waiting < n:
            await asyncio.sleep(0.005)
        return {"m": inputs["n"] + 1, "pid": np.array([os.getpid()])}
"""

CANCELLING = """
import asyncio

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1])}
    max_concurrency = 8

    def load(self, context):
        self.path = context.model_path

    async def __call__(self, inputs):
        if inputs["n"][0] == -1:
            before = asyncio.all_tasks()
            (self.path / ".begun").touch()
            while not (new := asyncio.all_tasks() - before):
                await asyncio.sleep(0)
            for task in new:
                task.cancel()
        return {"m": inputs["n"] + 1}
"""

STREAM = """
import os
import numpy as np

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1])}

    def load(self, context):
        self.path = context.model_path

    def __call__(self, inputs, request):
        n = int(inputs["n"][0])
        try:
            for m in range(n if n >= 0 else 1_000_000):
                request.response_parameters["number"] = m
                with (self.path / ".yielded").open("a") as file:
                    file.write("x")
                yield {"m": np.array([m], np.int32)}
                if n == -2:
                    raise ValueError("in the middle")
                if n == -3:
                    os._exit(3)
        finally:
            (self.path / ".closed").touch()
"""

ASYNC_STREAM = STREAM.replace("    def __call__", "    max_concurrency = 3\n    async def __call__")

RAGGED = """
import numpy as np

class Model:
    inputs = {"n": ("INT32", [-1])}
    outputs = {"m": ("INT32", [-1])}
    max_batch_size = 4
    ragged = True

    def __call__(self, inputs, requests):
        return [
            {"m": each["n"] * len(inputs)} if each["n"].size != 2 else ValueError("two are too many")
            for each in inputs
        ]
"""

CALLER = """
import numpy as np

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1])}
    max_batch_size = 4

    def load(self, context):
        self.context = context
        self.calls = context.metrics.counter("test_calls_total", "Calls", labels={"who": "caller"})

    def __call__(self, inputs, requests):
        self.calls.increment(1)
        if inputs["n"][0, 0] < 0:
            total = sum(int(a["m"][0]) for a in self.context.stream("stream", {"n": -inputs["n"][0]}))
            return {"m": np.array([[total]], np.int32)}
        return {"m": self.context.call("sync", inputs)["m"]}
"""


def ask(server: ExplicitServer, model: str, n: int) -> httpx.Response:
    shape = [1, 1] if model in ("sync", "caller") else [1]
    return server.server.infer(model, {"inputs": [json_tensor("n", "INT32", shape, [n])]})


def outputs(answer: httpx.Response) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def events(server: ExplicitServer, model: str, n: int) -> Iterator[dict[str, Any]]:
    url = f"{server.server.rest}/v2/models/{model}/generate_stream"
    with server.server.client.stream("POST", url, json={"n": n}) as response:
        for line in response.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def load(server: ExplicitServer, name: str, code: str, config: str = "") -> Path:
    path = server.write(name, code, config or "# nothing")
    for mark in (".begun", ".cancelled", ".closed", ".yielded", ".waiting"):
        (path / mark).unlink(missing_ok=True)
    answer = server.load(name)
    assert answer.status_code == 200, answer.text
    return path


@pytest.mark.slow
def test_a_cancelled_request_is_cancelled_in_its_process(isolated: ExplicitServer) -> None:
    path = load(isolated, "sync", SYNC)
    with Wire(isolated.server) as wire:
        wire.send_infer("sync", {"inputs": [json_tensor("n", "INT32", [1, 1], [-1])]})
        wait_until((path / ".begun").exists)
        assert not (path / ".cancelled").exists()
    wait_until((path / ".cancelled").exists)
    assert outputs(ask(isolated, "sync", 1))["m"] == [2]


@pytest.mark.slow
def test_an_async_instance_has_many_executions_under_way(isolated: ExplicitServer, later: Any) -> None:
    load(isolated, "concurrent", ASYNC)
    answers = [later(ask, isolated, "concurrent", 4) for _ in range(4)]
    assert {tuple(outputs(answer.result())["m"]) for answer in answers} == {(5,)}
    assert children(isolated.server.process.pid) == outputs(ask(isolated, "concurrent", 0))["pid"]


@pytest.mark.slow
def test_an_execution_that_another_cancels_before_it_begins(isolated: ExplicitServer, later: Any) -> None:
    path = load(isolated, "cancelling", CANCELLING)
    cancelling = later(ask, isolated, "cancelling", -1)
    wait_until((path / ".begun").exists)
    assert outputs(ask(isolated, "cancelling", 7))["m"] == [8]
    assert outputs(cancelling.result())["m"] == [0]


@pytest.mark.slow
def test_what_an_async_instance_was_executing_when_its_process_died_fails(
    isolated: ExplicitServer, later: Any
) -> None:
    mark = load(isolated, "concurrent", ASYNC) / ".waiting"
    # They wait for each other, and for more than there are.
    waiting = [later(ask, isolated, "concurrent", 7) for _ in range(3)]
    wait_until(lambda: mark.exists() and mark.read_text() == "3")
    killed = ask(isolated, "concurrent", -3)
    for answer in [killed, *[each.result() for each in waiting]]:
        assert answer.status_code == 503
        assert "the process of model 'concurrent'" in answer.text
    wait_until(lambda: ask(isolated, "concurrent", 0).status_code == 200)


@pytest.mark.slow
@pytest.mark.parametrize("code", [STREAM, ASYNC_STREAM], ids=["sync", "async"])
def test_streams(isolated: ExplicitServer, code: str) -> None:
    path = load(isolated, "stream", code, STREAMS)
    found = [(each["m"], each["number"]) for each in events(isolated, "stream", 5)]
    assert found == [(number, number) for number in range(5)]
    assert list(events(isolated, "stream", 0)) == []
    middle = list(events(isolated, "stream", -2))
    assert middle[0]["m"] == 0
    assert "ValueError: in the middle" in middle[1]["error"]
    died = list(events(isolated, "stream", -3))
    assert died[0]["m"] == 0
    assert died[1]["error"] == "the process of model 'stream' exited with status 3"
    wait_until(lambda: metric(isolated.server, "kserve_v2_model_process_deaths", model="stream") == 1)
    wait_until(lambda: metric(isolated.server, "kserve_v2_model_processes", model="stream") == 1)
    wait_until(lambda: isolated.server.get("/v2/models/stream/ready").status_code == 200)
    (path / ".closed").unlink()
    (path / ".yielded").unlink()
    endless = events(isolated, "stream", -1)
    next(endless)
    endless.close()
    # Closed when the client leaves, and not a million steps ahead of it.
    wait_until((path / ".closed").exists)
    assert len((path / ".yielded").read_text()) < 100_000
    assert len(list(events(isolated, "stream", 2))) == 2


@pytest.mark.slow
def test_requests_of_a_batch_are_answered_one_by_one(isolated: ExplicitServer, later: Any) -> None:
    config = "dynamic_batching { preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 60000000 }"
    load(isolated, "ragged", RAGGED, config)

    def send(size: int) -> httpx.Response:
        body = {"inputs": [json_tensor("n", "INT32", [1, size], [1] * size)]}
        return isolated.server.infer("ragged", body)

    answers = [later(send, size) for size in (1, 2, 3)]
    first, second, third = [answer.result() for answer in answers]
    assert outputs(first)["m"] == [3]
    assert second.status_code == 500
    assert "ValueError: two are too many" in second.text
    assert outputs(third)["m"] == [3, 3, 3]


@pytest.mark.slow
def test_models_call_each_other_from_their_processes(isolated: ExplicitServer) -> None:
    load(isolated, "sync", SYNC)
    load(isolated, "stream", STREAM, STREAMS)
    load(isolated, "caller", CALLER)
    assert outputs(ask(isolated, "caller", 7))["m"] == [8]
    assert outputs(ask(isolated, "caller", -5))["m"] == [10]
    assert metric(isolated.server, "test_calls_total", who="caller") == 2
    assert isolated.unload("sync").status_code == 200
    wait_until(lambda: isolated.server.get("/v2/models/sync/ready").status_code != 200)
    answer = ask(isolated, "caller", 7)
    assert answer.status_code == 404
    assert "Model 'sync' is not ready" in answer.text
    isolated.unload("caller")
    wait_until(lambda: "test_calls_total" not in isolated.server.client.get(isolated.server.metrics).text)


@pytest.mark.slow
def test_a_model_logs_with_its_level_and_the_id_of_its_request(isolated: ExplicitServer) -> None:
    load(isolated, "sync", SYNC)
    body = {"id": "log-me", "inputs": [json_tensor("n", "INT32", [1, 1], [1])]}
    assert isolated.server.infer("sync", body).status_code == 200
    line = " WARNING kserve_v2.model.sync one of 1 request_id=log-me\n"
    wait_until(lambda: line in isolated.server.log)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_instances_share_as_many_processes_as_are_asked_for(
    isolated: ExplicitServer, later: Any, count: int
) -> None:
    config = "instance_group { count: 3 kind: KIND_CPU }" + parameters(isolation_processes=str(count))
    load(isolated, "sync", SYNC, config)
    assert len(children(isolated.server.process.pid)) == count
    pids = {
        outputs(answer.result())["pid"][0] for answer in [later(ask, isolated, "sync", 1) for _ in range(40)]
    }
    assert pids <= set(children(isolated.server.process.pid))


def test_the_flag_and_the_parameter(isolated: ExplicitServer) -> None:
    assert ALL.startswith("--isolate=")
    load(isolated, "sync", SYNC, parameters(isolation="none"))
    assert children(isolated.server.process.pid) == []
    assert outputs(ask(isolated, "sync", 1))["pid"] == [isolated.server.process.pid]
