"""Handlers and what lies beside them, in a running server: loaded, reloaded, refused and unloaded."""

from pathlib import Path

import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import json_tensor

# Says in a file that it is executed; unpickles what lies beside it when it is asked, on threads of any kind.
HANDLER = """
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

with Path(__file__).parents[1].joinpath("executions").open("a") as file:
    file.write("executed\\n")

class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    max_batch_size = 4

    def load(self, context):
        self.pickled = context.path.joinpath("pipe.pkl").read_bytes()
        self.pool = ThreadPoolExecutor(1)

    def __call__(self, inputs):
        pipe = self.pool.submit(pickle.loads, self.pickled).result()
        return {"OUT": pipe.transform(inputs["IN"])}

    def close(self):
        self.pool.shutdown()
"""

PREPROCESS = """
class Scale:
    def transform(self, x): return x * self.k * {factor}
"""

# An instance of preprocess.Scale with k=3.
PIPE = b"\x80\x04cpreprocess\nScale\n)\x81}\x8c\x01kK\x03sb."


def write(explicit: ExplicitServer, name: str, factor: int, config: str = "", code: str = HANDLER) -> Path:
    """A model with a neighbour; returns the file that counts how often its handler is executed."""
    model = explicit.write(name, code, config)
    (model / "1" / "preprocess.py").write_text(PREPROCESS.format(factor=factor))
    (model / "1" / "pipe.pkl").write_bytes(PIPE)
    executions = model / "executions"
    executions.unlink(missing_ok=True)
    return executions


def scaled(explicit: ExplicitServer, name: str) -> float:
    answer = explicit.server.infer(name, {"inputs": [json_tensor("IN", "FP32", [1, 1], [1])]})
    assert answer.status_code == 200, answer.text
    return float(answer.json()["outputs"][0]["data"][0])


@pytest.mark.slow
def test_models_with_neighbours_of_one_name_are_loaded_side_by_side(explicit: ExplicitServer) -> None:
    for name, factor in (("imports_a", 1), ("imports_b", 10)):
        write(explicit, name, factor)
        assert explicit.load(name).status_code == 200
    assert [scaled(explicit, name) for name in ("imports_a", "imports_b")] == [3, 30]
    executions = write(explicit, "imports_a", 2)
    assert explicit.load("imports_a").status_code == 200
    assert executions.read_text() == "executed\n"
    assert [scaled(explicit, name) for name in ("imports_a", "imports_b")] == [6, 30]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ('output { name: "OUT" dims: [ 7 ] }', HANDLER),
        ('output { name: "OUT" label_filename: "no_such_file" }', HANDLER),
        ("", HANDLER.replace("def load(self, context):", "def load(self, context):\n        1 / 0")),
    ],
    ids=["contradiction", "labels", "load"],
)
def test_a_load_that_fails_executes_the_handler_once(
    explicit: ExplicitServer, config: str, code: str
) -> None:
    executions = write(explicit, "imports_a", 1, config, code)
    assert explicit.load("imports_a").status_code == 400
    assert executions.read_text() == "executed\n"
