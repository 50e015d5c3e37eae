"""What a model's process does with memory that is free: it keeps it for the next execution, and not for ever."""

from typing import Any

import pytest
from kserve_v2_child.channel.channel import IDLE_S
from kserve_v2_child.channel.tending import Tender
from kserve_v2_child.executing import Executing
from kserve_v2_child.idle_memory import IdleMemory

from tests.integration.conftest import ExplicitServer
from tests.integration.support import json_tensor

# Blocks that glibc would map and give back each time, and the pages that were new in an execution.
FAULTS = """
import resource
import numpy as np

class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"faults": ("INT64", [1])}

    def __call__(self, inputs):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        blocks = [np.ones(500_000) for _ in range(int(inputs["n"][0]))]
        del blocks
        return {"faults": np.array([resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before])}
"""
BLOCKS = 8
PAGES = BLOCKS * 500_000 * 8 // 4096


def faults(server: ExplicitServer) -> int:
    answer = server.server.post(
        "/v2/models/faults/infer", json={"inputs": [json_tensor("n", "INT32", [1], [BLOCKS])]}
    )
    assert answer.status_code == 200, answer.text
    return int(answer.json()["outputs"][0]["data"][0])


def test_memory_that_an_execution_has_freed_is_there_for_the_next(isolated: ExplicitServer) -> None:
    isolated.write("faults", FAULTS)
    assert isolated.load("faults").status_code == 200
    assert min(faults(isolated) for _ in range(10)) < PAGES / 10


class NobodyTends(Tender):
    def watch(self, tended: Any) -> None:
        """The test does it."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def given_back() -> list[str]:
    return []


def test_it_is_given_back_once_when_nothing_comes_for_a_while(given_back: list[str]) -> None:
    tender = NobodyTends()
    memory = IdleMemory(lambda: given_back.append("all"), tender)
    assert not memory.tend(1000.0)
    memory.used()
    assert tender.wakes == 1
    assert memory.tend(1001.0)
    assert memory.tend(1001.0 + IDLE_S / 2)
    memory.used()
    assert memory.tend(1001.0 + IDLE_S)
    assert memory.tend(1000.5 + 2 * IDLE_S)
    assert given_back == []
    assert not memory.tend(1001.0 + 2 * IDLE_S)
    assert given_back == ["all"]
    # Something else is tended.
    assert not memory.tend(1002.0 + 2 * IDLE_S)
    assert given_back == ["all"]
    memory.used()
    assert memory.tend(2000.0)
    assert not memory.tend(2000.0 + IDLE_S)
    assert given_back == ["all", "all"]


def test_what_a_long_execution_has_left_is_given_back_as_well(given_back: list[str]) -> None:
    memory = IdleMemory(lambda: given_back.append("all"), NobodyTends())
    executing = Executing(memory.used)
    executing.begin(1, [])
    assert memory.tend(1000.0)
    assert not memory.tend(1000.0 + IDLE_S)
    executing.end(1)
    assert memory.tend(2000.0)
    assert not memory.tend(2000.0 + IDLE_S)
    assert given_back == ["all", "all"]
