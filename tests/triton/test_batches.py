"""Batches of decoupled Triton models, and of those that answer by senders: what is in `requests`, and what still waits in
the queue, where priorities and time-outs reach it. In the server's process, and in one of the model's own.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import SERVICE, Channel, request_of, tensor
from tests.integration.support import Gate, metric, pending, wait_until
from tests.triton.conftest import isolated
from tests.wire.servers import TARGET_IS_TRITON

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(TARGET_IS_TRITON, reason="how requests are batched is a matter of time there"),
]

# Tells of each request with which others it was executed. One with a PORT keeps `execute` there; of one whose TAG is
# negative, it raises, or ends its process; one above 100 is answered when the next one comes; 50 asks for
# the sizes of all batches.
DIES = -9
CODE = (
    f"DIES = {DIES}"
    + """
import json, os, socket
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.kept = []
        self.sizes = []

    def execute(self, requests):
        self.sizes.append(len(requests))
        tags = [int(self.read(request, "TAG")) for request in requests]
        for request in requests:
            port = int(self.read(request, "PORT"))
            if port:
                with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                    gate.recv(1)
        if min(tags) == DIES:
            os._exit(3)
        if min(tags) < 0:
            raise ValueError(f"no {min(tags)}")
        answered, self.kept = self.kept, []
        for request, tag in zip(requests, tags):
            pair = request.get_response_sender(), tag
            (self.kept if tag > 100 else answered).append(pair)
        for sender, tag in answered:
            out = np.array([[json.dumps([tag, self.sizes if tag == 50 else tags])]], np.object_)
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]), flags=1)

    def read(self, request, name):
        return pb_utils.get_input_tensor_by_name(request, name).as_numpy().ravel()[0]
"""
)
CONFIG = """
backend: "python"
max_batch_size: 4
input [ { name: "TAG" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "PORT" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_STRING dims: [ 1 ] } ]
dynamic_batching {
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { allow_timeout_override: true }
}
"""
MODELS = {"decoupled": "model_transaction_policy { decoupled: true }", "senders": ""}
WARM_UP = """
model_warmup {
  name: "three" batch_size: 3
  inputs { key: "TAG" value { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } }
  inputs { key: "PORT" value { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } }
}
"""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
    start_server: StartServer,
    isolation: str,
) -> RunningServer:
    root: Path = tmp_path_factory.mktemp("batches")
    for name, more in MODELS.items():
        write_model(root, name, CODE, CONFIG + more)
        isolated(root / name, isolation)
    write_model(root, "warm", CODE, CONFIG + MODELS["decoupled"] + WARM_UP)
    isolated(root / "warm", isolation)
    return start_server(root)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


Asked = Future[str]
"""The text that the model has answered with, or the error."""

both = pytest.mark.parametrize("model", MODELS)


class Client:
    """Asks one of the models, on threads."""

    def __init__(self, server: RunningServer, model: str, pool: ThreadPoolExecutor) -> None:
        self.server, self.model = server, model
        self._pool = pool

    def ask(self, tag: int, port: int = 0, **parameters: int) -> Asked:
        return self._pool.submit(self._ask, tag, port, parameters)

    def _ask(self, tag: int, port: int, parameters: dict[str, int]) -> str:
        tensors = [
            tensor(name, "INT32", [1, 1], int_contents=[value])
            for name, value in (("TAG", tag), ("PORT", port))
        ]
        request = request_of(self.model, *tensors)
        for name, value in parameters.items():
            request.parameters[name].int64_param = value
        with Channel(self.server) as channel:
            call = channel.channel.stream_stream(
                f"/{SERVICE}/ModelStreamInfer",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=pb.ModelStreamInferResponse.FromString,
            )
            answers = list(call(iter([request]), timeout=60))
        assert len(answers) == 1, answers
        [answer] = answers
        if answer.error_message:
            return str(answer.error_message)
        text: str = answer.infer_response.raw_output_contents[0][4:].decode()
        return text

    @contextmanager
    def executing(self, tag: int) -> Iterator[tuple[Asked, Gate]]:
        """Asked, and kept in `execute` until the gate is opened."""
        with Gate() as gate:
            asked = self.ask(tag, gate.port)
            gate.await_start()
            yield asked, gate

    def queued(self, tag: int, **parameters: int) -> Asked:
        """Asked, and waiting in the queue."""
        before = pending(self.server, self.model)
        asked = self.ask(tag, **parameters)
        wait_until(lambda: pending(self.server, self.model) > before or asked.done())
        return asked

    def count(self, name: str) -> float:
        return metric(self.server, name, model=self.model)


def told(asked: Asked) -> Any:
    """The tag, and those of the requests that were executed with it."""
    return json.loads(asked.result(60))


@both
def test_what_waits_while_execute_runs_is_one_batch(
    server: RunningServer, model: str, pool: ThreadPoolExecutor
) -> None:
    client = Client(server, model, pool)
    executions, inferences = client.count("nv_inference_exec_count"), client.count("nv_inference_count")
    with client.executing(1) as (first, gate):
        others = [client.queued(tag) for tag in (2, 3, 4)]
        assert pending(server, model) == 3
        gate.open()
        assert told(first) == [1, [1]]
        assert [told(each) for each in others] == [[tag, [2, 3, 4]] for tag in (2, 3, 4)]
    assert client.count("nv_inference_exec_count") == executions + 2
    assert client.count("nv_inference_count") == inferences + 4


@both
def test_what_waits_while_execute_runs_can_be_overtaken_and_expires(
    server: RunningServer, model: str, pool: ThreadPoolExecutor
) -> None:
    client = Client(server, model, pool)
    with client.executing(1) as (first, gate):
        others = [client.queued(tag) for tag in (2, 3, 4, 5)]
        urgent = client.queued(6, priority=1)
        assert client.ask(7, timeout=1).result(60) == "Request timeout expired"
        assert not first.done()
        gate.open()
        assert told(urgent) == [6, [6, 2, 3, 4]]
        assert told(others[-1]) == [5, [5]]


@both
def test_the_next_batch_is_executed_though_the_last_one_has_no_answer(
    server: RunningServer, model: str, pool: ThreadPoolExecutor
) -> None:
    client = Client(server, model, pool)
    with client.executing(101) as (kept, gate):
        gate.open()
        assert told(client.ask(8)) == [8, [8]]
        assert told(kept) == [101, [8]]


@both
def test_an_exception_fails_the_batch_and_no_other(
    server: RunningServer, model: str, pool: ThreadPoolExecutor
) -> None:
    """A request to a decoupled model is not executed again: there may have been responses."""
    client = Client(server, model, pool)
    with client.executing(1) as (first, gate):
        bad, beside = client.queued(-1), client.queued(2)
        gate.open()
        assert told(first) == [1, [1]]
        assert "ValueError: no -1" in bad.result(60)
        if model == "decoupled":
            assert "ValueError: no -1" in beside.result(60)
        else:
            assert told(beside) == [2, [2]]
    assert told(client.ask(9)) == [9, [9]]


def test_a_warm_up_is_a_batch_as_well(server: RunningServer, pool: ThreadPoolExecutor) -> None:
    assert told(Client(server, "warm", pool).ask(50)) == [50, [3, 1]]


def test_of_a_batch_whose_process_dies_everybody_is_told(
    server: RunningServer, pool: ThreadPoolExecutor, isolation: str
) -> None:
    if isolation == "none":
        pytest.skip("there is no process that could die")
    client = Client(server, "decoupled", pool)
    with client.executing(1) as (first, gate):
        batch = [client.queued(tag) for tag in (2, DIES, 3)]
        gate.open()
        assert told(first) == [1, [1]]
    cause = "the process of model 'decoupled' exited with status 3"
    assert [each.result(60) for each in batch] == [cause] * 3
    # Until everybody knows that it is gone, and is there again.
    wait_until(lambda: client.ask(4).result(60) == "[4, [4]]")
