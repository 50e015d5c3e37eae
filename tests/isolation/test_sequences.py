"""Sequences of models in processes of their own: what a process knew of them dies with it."""

import os
import signal
from typing import Any

import httpx
import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, json_tensor, metric, wait_until
from tests.isolation.conftest import children

pytestmark = pytest.mark.slow

COUNTER = """
import os
import numpy as np

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"sum": ("INT32", [1]), "pid": ("INT64", [1])}
    max_batch_size = 4

    def load(self, context):
        self.sums = {}

    def __call__(self, inputs, requests):
        sums = []
        for request, n in zip(requests, inputs["n"].ravel()):
            step = request.sequence
            if not step.ready:
                sums.append(0)
                continue
            if step.start:
                self.sums[step.id] = 0
            # A sequence that nobody has begun here is answered wrongly, and not with an error.
            self.sums[step.id] = self.sums.get(step.id, 0) + int(n)
            sums.append(self.sums[step.id])
        return {"sum": np.array(sums, np.int32)[:, None], "pid": np.full((len(sums), 1), os.getpid())}
"""

CONFIG = """
sequence_batching { direct { } max_sequence_idle_microseconds: 60000000 }
instance_group { count: 2 kind: KIND_CPU }
"""


def step(server: ExplicitServer, sequence: int, n: int, **flags: bool) -> httpx.Response:
    body = {
        "parameters": {"sequence_id": sequence, **flags},
        "inputs": [json_tensor("n", "INT32", [1, 1], [n])],
    }
    return server.server.infer("counter", body)


def outputs(answer: httpx.Response) -> tuple[int, int]:
    assert answer.status_code == 200, answer.text
    total, pid = [each["data"][0] for each in answer.json()["outputs"]]
    return total, pid


def test_the_sequences_of_a_process_that_dies_end_and_the_others_go_on(isolated: ExplicitServer) -> None:
    isolated.write("counter", COUNTER, CONFIG)
    answer = isolated.load("counter")
    assert answer.status_code == 200, answer.text
    homes: dict[int, Any] = {}
    for sequence in (1, 2, 3, 4):
        total, homes[sequence] = outputs(step(isolated, sequence, 10, sequence_start=True))
        assert total == 10
    assert len(set(homes.values())) == 2
    assert [outputs(step(isolated, each, 5))[0] for each in homes] == [15] * 4
    victim = homes[1]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: metric(isolated.server, "kserve_v2_model_process_deaths", model="counter") == 1)
    wait_until(lambda: len(children(isolated.server.process.pid)) == 2)
    wait_until(lambda: metric(isolated.server, "kserve_v2_model_processes", model="counter") == 2)
    for sequence, home in homes.items():
        answer = step(isolated, sequence, 1)
        if home == victim:
            assert answer.status_code == 400
            assert "must specify the START flag" in error_of(answer)
            assert outputs(step(isolated, sequence, 7, sequence_start=True))[0] == 7
        else:
            assert outputs(answer) == (16, home)
        outputs(step(isolated, sequence, 0, sequence_end=True))
