"""Processes that a handler starts itself, in the server's process and in one of its own."""

import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, json_tensor

HANDLER = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import helper

def square(x):
    return x * x

class Point:
    def __init__(self, x):
        self.x = x

    def moved(self, by):
        return Point(self.x + by)

class Model:
    inputs = {"how": ("BYTES", [1])}
    outputs = {"y": ("INT64", [1])}

    def __call__(self, inputs):
        how = inputs["how"][0].decode()
        return {"y": np.array([getattr(self, how)(multiprocessing.get_context("spawn"))])}

    def pool(self, context):
        with context.Pool(1) as pool:
            return sum(pool.map(square, [1, 2, 3])) + sum(pool.map(helper.double, [1, 2]))

    def executor(self, context):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(Point(5).moved, 2).result().x

    def failing(self, context):
        with context.Pool(1) as pool:
            import broken
            return pool.apply(broken.nothing)
"""
HELPER = "def double(x):\n    return 2 * x\n"
BROKEN = """
import multiprocessing
if multiprocessing.parent_process() is not None:
    raise RuntimeError("not in this process")

def nothing():
    return 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["none", "process"])
def test_processes_that_a_handler_starts(explicit: ExplicitServer, isolation: str) -> None:
    explicit.write(
        "starts", HANDLER, f'parameters {{ key: "isolation" value {{ string_value: "{isolation}" }} }}'
    )
    version = explicit.root / "starts" / "1"
    (version / "helper.py").write_text(HELPER)
    (version / "broken.py").write_text(BROKEN)
    assert explicit.load("starts").status_code == 200
    for how, expected in (("pool", 20), ("executor", 7)):
        answer = explicit.server.infer("starts", {"inputs": [json_tensor("how", "BYTES", [1], [how])]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == [expected]
    answer = explicit.server.infer("starts", {"inputs": [json_tensor("how", "BYTES", [1], ["failing"])]})
    assert answer.status_code == 500
    assert (
        "ImportError: a function of a handler cannot be imported in a process that it has started: RuntimeError: not in "
        "this process"
    ) in error_of(answer)
    explicit.unload("starts")
