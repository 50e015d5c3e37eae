"""Handlers that do their worst, in a real server, over both protocols: what they do is one request's failure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import identity
from tests.integration.support import Wire, error_of, json_tensor, statistics

# Executes what it is sent, once for each row; {call} is one of the four kinds of handlers.
OBEDIENT = """
import asyncio, threading, sys

class Speechless(Exception):
    def __str__(self):
        raise SystemExit(5)
    __repr__ = __str__

class Singular(Exception):
    def __str__(self):
        raise self

class Model:
    inputs = {{"CODE": ("BYTES", [1])}}
    outputs = {{"OUT": ("INT32", [1])}}
    max_batch_size = {max_batch_size}

    {call}

    def obey(self, codes):
        for code in codes.ravel():
            exec(code.decode())
        return {{"OUT": [[1]] * len(codes) if {max_batch_size} else [1]}}
"""

CALLS = {
    "sync": "def __call__(self, inputs):\n        return self.obey(inputs['CODE'])",
    "async": (
        "async def __call__(self, inputs):\n"
        "        outputs = self.obey(inputs['CODE'])\n"
        "        await asyncio.sleep(0)\n"
        "        return outputs"
    ),
    "stream": (
        "def __call__(self, inputs):\n        yield {'OUT': [0]}\n        yield self.obey(inputs['CODE'])"
    ),
    "async_stream": (
        "async def __call__(self, inputs):\n"
        "        yield {'OUT': [0]}\n"
        "        outputs = self.obey(inputs['CODE'])\n"
        "        await asyncio.sleep(0)\n"
        "        yield outputs"
    ),
}

RAISES = [
    "raise StopIteration(1)",
    "raise StopAsyncIteration",
    "raise GeneratorExit",
    "raise SystemExit(3)",
    "raise KeyboardInterrupt",
    "raise BaseException('of its own')",
    "raise asyncio.CancelledError",
    "raise Speechless",
    "raise Singular",
    "raise ValueError('x' * 3_000_000)",
    "raise ValueError(chr(0xd800))",
    "raise BaseExceptionGroup('several', [SystemExit(1), Speechless()])",
    "sys.exit()",
]

LOOPS = [
    "asyncio.current_task().cancel()",
    "[task.cancel() for task in asyncio.all_tasks()]",
    "asyncio.get_running_loop().stop()",
    "asyncio.get_running_loop().call_soon(sys.exit)",
]


@pytest.fixture(scope="module")
def hostile(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    root: Path = tmp_path_factory.mktemp("hostile")
    for name, call in CALLS.items():
        size = 0 if "stream" in name else 8
        write_model(root, name, OBEDIENT.format(call=call, max_batch_size=size))
    write_model(root, "bystander", identity("INT32", [1]))
    server = start_server(root)
    yield server
    assert server.process.poll() is None, "the server has ended"


@pytest.fixture(autouse=True)
def _others_are_served(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "hostile" in request.fixturenames:
        server: RunningServer = request.getfixturevalue("hostile")
        answer = server.infer("bystander", {"inputs": [json_tensor("IN", "INT32", [1], [7])]})
        assert answer.json()["outputs"][0]["data"] == [7]


def body(code: str, rank: int = 2) -> dict[str, Any]:
    return {"inputs": [json_tensor("CODE", "BYTES", [1] * rank, [code])]}


def check_goes_on(server: RunningServer, model: str) -> None:
    """For as many as an async handler takes at a time, and more."""
    for _ in range(3):
        if "stream" in model:
            answer = server.post(f"/v2/models/{model}/generate_stream", json={"CODE": "pass"})
            assert answer.text.count("data: ") == 2
            assert "error" not in answer.text
        else:
            assert server.infer(model, body("pass")).json()["outputs"][0]["data"] == [1]


@pytest.mark.parametrize("code", RAISES)
@pytest.mark.parametrize("model", ["sync", "async"])
def test_a_handler_that_raises_anything(hostile: RunningServer, model: str, code: str) -> None:
    before = statistics(hostile, model)["inference_stats"]["fail"]["count"]
    answer = hostile.infer(model, body(code))
    assert answer.status_code == 500
    text = error_of(answer)
    assert 0 < len(text) < 11_000
    assert "Traceback" not in text
    check_goes_on(hostile, model)
    assert statistics(hostile, model)["inference_stats"]["fail"]["count"] == before + 1


@pytest.mark.parametrize("code", RAISES)
def test_a_handler_that_raises_anything_over_grpc(hostile: RunningServer, code: str) -> None:
    request = pb.ModelInferRequest(model_name="sync")
    request.inputs.add(name="CODE", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(
        code.encode()
    )
    with Channel(hostile) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.method("ModelInfer", pb.ModelInferResponse)(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details()
    check_goes_on(hostile, "sync")


@pytest.mark.parametrize("code", RAISES)
@pytest.mark.parametrize("model", ["stream", "async_stream"])
def test_a_generator_that_raises_anything(hostile: RunningServer, model: str, code: str) -> None:
    before = statistics(hostile, model)["response_stats"]
    answer = hostile.post(f"/v2/models/{model}/generate_stream", json={"CODE": code})
    first, error = [event for event in answer.text.split("\n\n") if event]
    assert '"OUT":0' in first
    assert error.startswith('data: {"error":"')
    assert len(error) < 11_000
    after = statistics(hostile, model)["response_stats"]
    failed = [stats.get("1", {"fail": {"count": 0}})["fail"]["count"] for stats in (before, after)]
    assert failed[1] == failed[0] + 1
    check_goes_on(hostile, model)


@pytest.mark.parametrize("code", RAISES)
@pytest.mark.parametrize("model", ["sync", "async"])
def test_requests_beside_one_that_raises_are_answered(hostile: RunningServer, model: str, code: str) -> None:
    """Several times, so that they are batched at least once."""
    with Wire(hostile) as bad, Wire(hostile) as good:
        for _ in range(5):
            bad.send_infer(model, body(code))
            good.send_infer(model, body("pass"))
        assert [good.response().status_code for _ in range(5)] == [200] * 5
        assert [bad.response().status_code for _ in range(5)] == [500] * 5


@pytest.mark.parametrize("code", LOOPS)
@pytest.mark.parametrize("model", ["async", "async_stream"])
def test_a_handler_that_disturbs_its_loop(hostile: RunningServer, model: str, code: str) -> None:
    """What it does to itself it answers for; it has an answer in any case, and so have all after it."""
    for _ in range(3):
        if model == "async":
            assert hostile.infer(model, body(code)).status_code in (200, 500)
        else:
            answer = hostile.post(f"/v2/models/{model}/generate_stream", json={"CODE": code})
            assert answer.text.count("data: ") == 2
        check_goes_on(hostile, model)


LOADS = {
    "at import": "{code}\n",
    "when it is made": "class Model:\n    def __init__(self):\n        {code}\n",
    "when it is loaded": "class Model:\n    def load(self, context):\n        {code}\n",
}
NAMES = OBEDIENT[: OBEDIENT.index("class Model:")].replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("code", RAISES)
@pytest.mark.parametrize("when", LOADS)
def test_a_handler_that_raises_anything_while_it_is_loaded(
    explicit: ExplicitServer, when: str, code: str
) -> None:
    working = "\n    inputs = outputs = {'X': ('INT32', [1])}\n    def __call__(self, inputs):\n        return inputs\n"
    text = LOADS[when].format(code=code)
    explicit.write("hostile_load", NAMES + text + (working if "class Model" in text else ""))
    answer = explicit.load("hostile_load")
    assert answer.status_code == 400
    assert 0 < len(error_of(answer)) < 12_000
    [entry] = explicit.index("hostile_load")
    assert entry["state"] == "UNAVAILABLE"
    explicit.write("hostile_load", "class Model:" + working)
    assert explicit.load("hostile_load").status_code == 200


@pytest.mark.parametrize("code", RAISES)
def test_a_handler_that_raises_anything_while_it_is_closed(explicit: ExplicitServer, code: str) -> None:
    working = (
        "class Model:\n    inputs = outputs = {'X': ('INT32', [1])}\n"
        "    def __call__(self, inputs):\n        return inputs\n"
    )
    explicit.write("hostile_close", f"{NAMES}{working}    def close(self):\n        {code}\n")
    for _ in range(2):
        assert explicit.load("hostile_close").status_code == 200
        assert explicit.unload("hostile_close").status_code == 200
        while [entry["state"] for entry in explicit.index("hostile_close")] == ["UNLOADING"]:
            pass
        [entry] = explicit.index("hostile_close")
        assert entry["reason"] == "unloaded"
