"""What handlers are told and given by a real server: their configuration, and a directory that outlives it."""

from pathlib import Path

import pytest

from tests.compiler import NEEDS_COMPILER
from tests.conftest import StartServer, WriteModel
from tests.integration.support import json_tensor

# Counts its loads in a file that it keeps.
KEEPING = """
import numpy as np

class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"LOADS": ("INT32", [1])}

    def load(self, context):
        file = context.cache_dir / "loads"
        self.loads = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(self.loads))

    def __call__(self, inputs):
        return {"LOADS": np.array([self.loads], np.int32)}
"""

TELLING = """
import numpy as np

class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"TEXT": ("BYTES", [1])}

    def load(self, context):
        self.context = context
        context.config.max_batch_size = 77

    def __call__(self, inputs):
        config = self.context.config
        text = f"{config.name} {config.max_batch_size} {config.parameters['a'].string_value} {config.output[0].name}"
        return {"TEXT": np.array([text], object)}
"""

REQUEST = {"inputs": [json_tensor("IN", "FP32", [1], [0])]}

pytestmark = pytest.mark.slow


def test_what_a_model_keeps_is_there_after_a_restart(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    root, kept = tmp_path / "models", tmp_path / "kept"
    write_model(root, "keeping", KEEPING)
    write_model(
        root, "keeping_isolated", KEEPING, 'parameters { key: "isolation" value { string_value: "process" } }'
    )
    write_model(root, "telling", TELLING, 'parameters { key: "a" value { string_value: "b" } }')
    for loads in (1, 2):
        server = start_server(root, f"--model-cache-dir={kept}")
        for name in ("keeping", "keeping_isolated"):
            assert server.infer(name, REQUEST).json()["outputs"][0]["data"] == [loads]
        assert [path.name.rpartition("-")[0] for path in sorted(kept.iterdir())] == [
            "keeping",
            "keeping_isolated",
        ]
        assert {path.stat().st_mode & 0o077 for path in kept.iterdir()} == {0}
        [told] = server.infer("telling", REQUEST).json()["outputs"][0]["data"]
        # What it has changed is a copy: the server has no batches for it.
        assert told == "telling 77 b TEXT"
        assert server.get("/v2/models/telling/config").json()["max_batch_size"] == 0
        assert server.stop() == 0


COMPILED = """
import torch

class Model:
    inputs = {"x": ("FP32", [3])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 4
    tensors = "torch"
    thread_safe = THREAD_SAFE

    def load(self, context):
        self.call = context.prepare(torch.nn.Softmax(-1))

    def __call__(self, inputs):
        return {"y": self.call(inputs["x"]).amax(-1, keepdim=True)}
"""


@NEEDS_COMPILER
def test_no_request_waits_for_a_compiler(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    config = """
        instance_group { count: 2 kind: KIND_CPU } dynamic_batching { }
        parameters { key: "compile" value { string_value: "default" } }
        parameters { key: "compile_batch_sizes" value { string_value: "4,1" } }
    """
    root = tmp_path / "models"
    isolation = 'parameters { key: "isolation" value { string_value: "process" } }'
    for name, thread_safe, more in (
        ("own", "False", ""),
        ("shared", "True", ""),
        ("isolated", "False", isolation),
    ):
        write_model(root, name, COMPILED.replace("THREAD_SAFE", thread_safe), config + more)
    server = start_server(root)
    for name, handlers in (("own", 2), ("shared", 1), ("isolated", 2)):
        assert server.log.count(f"model '{name}': compiled for batches of 4 rows") == handlers
        assert server.log.count(f"model '{name}': compiled for 1 row") == handlers
        for rows in (1, 2, 3, 4):
            answer = server.infer(name, {"inputs": [json_tensor("x", "FP32", [rows, 3], [0.5] * 3 * rows)]})
            assert answer.json()["outputs"][0]["data"] == pytest.approx([1 / 3] * rows)
    assert "uncompiled" not in server.log
    server.stop()


def test_a_directory_that_cannot_be_made(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    root, kept = tmp_path / "models", tmp_path / "file"
    kept.write_text("")
    write_model(root, "keeping", KEEPING)
    server = start_server(root, f"--model-cache-dir={kept}")
    [entry] = server.post("/v2/repository/index").json()
    assert entry["state"] == "UNAVAILABLE"
    assert (
        "context.cache_dir: it cannot be made: Not a directory. Start the server with --model-cache-dir"
        in (entry["reason"])
    )
    assert str(tmp_path) not in entry["reason"]
    assert str(kept) in server.log
    server.stop()
