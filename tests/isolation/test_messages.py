"""A process that is killed at each message that is said to it, or by it: the server goes on, whoever waits is told, and
what comes next is answered. Every kind of message has its case.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from kserve_v2_child.channel.messages import Kind

from tests.integration.conftest import ExplicitServer
from tests.integration.support import Wire, json_tensor, wait_until
from tests.isolation.conftest import children

pytestmark = pytest.mark.slow

# Kills its process the first time that a message of the kind that stands in the file `.kill` is sent, or received. That
# is hidden, and so none of the model's.
MODEL = """
import os, signal, time
from pathlib import Path
import numpy as np
from kserve_v2_child import runtime
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import Kind

MARK = Path({path!r}) / ".kill"

def reached(kind):
    if MARK.exists() and MARK.read_text() == Kind(kind).name:
        MARK.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

if not hasattr(Channel, "unpatched"):
    Channel.unpatched = send, receive = Channel.send, Channel.receive

    # Metrics that nobody refers to any more are removed some time later, by a thread of their own.
    removals = set()

    def patched_send(self, kind, *args, **options):
        if kind == Kind.METRIC and args[1]["do"] == "remove":
            removals.add(args[0])
        else:
            reached(kind)
        return send(self, kind, *args, **options)

    def patched_receive(self, *args, **options):
        message = receive(self, *args, **options)
        if message.kind != Kind.REPLY or message.number not in removals:
            reached(message.kind)
        return message

    Channel.send, Channel.receive = patched_send, patched_receive

    # Whoever waits for the next message now has entered what was there before.
    do = runtime._Process._do

    def patched_do(self, message, *args):
        reached(message.kind)
        return do(self, message, *args)

    runtime._Process._do = patched_do

# What has brought this file here was received before.
for kind in (Kind.COMPLETE,):
    reached(kind)

{model}
"""

HANDLER = """
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1])}

    def load(self, context):
        self.context = context
        self.path = MARK.parent
        self.calls = context.metrics.counter("killed_calls_total", "Calls")
"""

BATCH = (
    HANDLER
    + """
    def __call__(self, inputs, requests):
        n = int(inputs["n"][0])
        if n == 1:
            raise ValueError("as it was told")
        if n == 2:
            self.context.call("identity", {"n": inputs["n"]})
        if n == 3:
            (self.path / ".begun").touch()
            while not requests[0].cancelled:
                time.sleep(0.005)
        if n == 4:
            self.context.logger.warning("said")
        if n == 5:
            self.calls.increment(1)
        return {"m": inputs["n"]}
"""
)

STREAM = (
    HANDLER
    + """
    def __call__(self, inputs, request):
        for m in range(1000):
            yield {"m": np.array([m], np.int32)}
"""
)

TRITON = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        ready = pb_utils.is_model_ready("killed")
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("m", np.array([ready], np.int32))]) for _ in requests
        ]

    def is_ready(self):
        return True
"""

TRITON_STREAM = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.kept = []

    def execute(self, requests):
        for request in requests:
            sender, n = request.get_response_sender(), request.inputs()[0].as_numpy()
            self.kept.append(sender)
            if n[0] == 0:
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("m", n)]), flags=1)
"""

TRITON_CONFIG = """
input { name: "n" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "m" data_type: TYPE_INT32 dims: [ 1 ] }
"""

IDENTITY = """
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"m": ("INT32", [1])}
    def __call__(self, inputs):
        return {"m": inputs["n"]}
"""

AT_LOAD = {Kind.COMPLETE, Kind.COMPLETED, Kind.LOAD, Kind.LOADED, Kind.INSTANCE, Kind.READY}
AT_REQUEST = {
    Kind.EXECUTE: 0, Kind.RESPOND: 0, Kind.ERROR: 1, Kind.CALL: 2, Kind.ANSWER: 2, Kind.LOG: 4, Kind.METRIC: 5,
    Kind.REPLY: 5,
}  # fmt: skip
IN_STREAM = {Kind.NEXT, Kind.CLOSE}
ELSEWHERE = {Kind.CANCEL, Kind.STOP}
OF_TRITON = {Kind.CONTROL, Kind.HEALTH}
OF_PACED = {Kind.BEGUN}


def test_every_kind_of_message_has_its_case() -> None:
    assert set(Kind) == AT_LOAD | set(AT_REQUEST) | IN_STREAM | ELSEWHERE | OF_TRITON | OF_PACED


def write(server: ExplicitServer, model: str = BATCH, config: str = "# nothing") -> Path:
    path = server.root / "killed"
    server.write("killed", MODEL.format(path=str(path), model=model), config)
    for name in (".kill", ".begun"):
        (path / name).unlink(missing_ok=True)
    return path


def load(server: ExplicitServer) -> None:
    answer = server.load("killed")
    assert answer.status_code == 200, answer.text


def body(n: int) -> dict[str, Any]:
    return {"inputs": [json_tensor("n", "INT32", [1], [n])]}


def ask(server: ExplicitServer, n: int) -> httpx.Response:
    return server.server.infer("killed", body(n))


def await_answer(server: ExplicitServer, ask: Callable[[], httpx.Response]) -> None:
    wait_until(lambda: ask().status_code == 200)
    assert len(children(server.server.process.pid)) >= 1


@pytest.mark.parametrize("kind", sorted(AT_LOAD), ids=lambda kind: kind.name)
def test_in_a_load(isolated: ExplicitServer, kind: Kind) -> None:
    path = write(isolated)
    (path / ".kill").write_text(kind.name)
    answer = isolated.load("killed")
    assert not (path / ".kill").exists(), answer.text
    assert answer.status_code == 400
    assert "the process of model 'killed' was killed by signal 9 (SIGKILL)" in answer.text
    load(isolated)
    assert ask(isolated, 0).status_code == 200


@pytest.mark.parametrize("kind", AT_REQUEST, ids=lambda kind: kind.name)
def test_in_an_execution(isolated: ExplicitServer, kind: Kind) -> None:
    path = write(isolated)
    isolated.write("identity", IDENTITY)
    assert isolated.load("identity").status_code == 200
    load(isolated)
    (path / ".kill").write_text(kind.name)
    answer = ask(isolated, AT_REQUEST[kind])
    assert not (path / ".kill").exists()
    assert (answer.status_code, answer.json()) == (
        503, {"error": "the process of model 'killed' was killed by signal 9 (SIGKILL)"},
    )  # fmt: skip
    await_answer(isolated, lambda: ask(isolated, 0))
    assert ask(isolated, 2).status_code == 200


@pytest.mark.parametrize("kind", sorted(IN_STREAM), ids=lambda kind: kind.name)
def test_in_a_stream(isolated: ExplicitServer, kind: Kind) -> None:
    path = write(isolated, STREAM, "model_transaction_policy { decoupled: true }")
    load(isolated)
    (path / ".kill").write_text(kind.name)
    url = f"{isolated.server.rest}/v2/models/killed/generate_stream"
    with httpx.stream("POST", url, json={"n": 0}, timeout=60) as response:
        for line in response.iter_lines():
            if kind is Kind.CLOSE:
                break
            if "error" in line:
                assert "was killed by signal 9" in line
    wait_until(lambda: not (path / ".kill").exists())
    wait_until(lambda: isolated.server.get("/v2/models/killed/ready").status_code == 200)
    wait_until(
        lambda: (
            isolated.server.post("/v2/models/killed/generate_stream", json={"n": 0}).text.count("data:")
            == 1000
        )
    )


@pytest.mark.parametrize("kind", sorted(OF_TRITON), ids=lambda kind: kind.name)
def test_of_a_triton_model(isolated: ExplicitServer, kind: Kind) -> None:
    path = write(isolated, TRITON, TRITON_CONFIG)
    load(isolated)
    (path / ".kill").write_text(kind.name)
    ready = isolated.server.get("/v2/models/killed/ready").status_code == 200
    answer = ask(isolated, 0)
    wait_until(lambda: not (path / ".kill").exists())
    assert (ready, answer.status_code) == (kind is Kind.CONTROL, 503)
    await_answer(isolated, lambda: ask(isolated, 0))
    wait_until(lambda: isolated.server.get("/v2/models/killed/ready").status_code == 200)


def test_of_a_decoupled_triton_model(isolated: ExplicitServer) -> None:
    """It says that it has begun, before there is an answer."""
    path = write(isolated, TRITON_STREAM, TRITON_CONFIG + "model_transaction_policy { decoupled: true }")
    load(isolated)
    (path / ".kill").write_text(Kind.BEGUN.name)
    url = "/v2/models/killed/generate_stream"
    assert "was killed by signal 9" in isolated.server.post(url, json={"n": 1}).text
    assert not (path / ".kill").exists()
    wait_until(lambda: '"m":0' in isolated.server.post(url, json={"n": 0}).text)


def test_at_a_cancellation(isolated: ExplicitServer) -> None:
    path = write(isolated)
    load(isolated)
    with Wire(isolated.server) as wire:
        wire.send_infer("killed", body(3))
        wait_until((path / ".begun").exists)
        (path / ".kill").write_text(Kind.CANCEL.name)
    wait_until(lambda: not (path / ".kill").exists())
    await_answer(isolated, lambda: ask(isolated, 0))


def test_at_its_end(isolated: ExplicitServer) -> None:
    path = write(isolated)
    load(isolated)
    (path / ".kill").write_text(Kind.STOP.name)
    assert isolated.unload("killed").status_code == 200
    wait_until(lambda: isolated.index("killed")[0].get("reason") == "unloaded")
    assert not (path / ".kill").exists()
    load(isolated)
    assert ask(isolated, 0).status_code == 200
