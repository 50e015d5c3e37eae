"""A budget holds while models come and go at the same time, also for those whose memory nobody knows: handlers in the
server's own process.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.conftest import RunningServer, StartServer
from tests.integration.support import json_tensor

MIB = 1024 * 1024
SIZE = 40 * MIB
HANDLER = """
import numpy as np

class Model:
    inputs = {{"x": ("FP32", [1])}}
    outputs = {{"y": ("FP32", [1])}}

    def load(self, context):
        self.parts = [np.full({part} // 4, {number}, np.float32) for _ in range({parts})]

    def __call__(self, inputs):
        return {{"y": inputs["x"] + self.parts[-1][:1]}}
"""


def write_handler(root: Path, name: str, version: int, number: int, parts: int) -> None:
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(HANDLER.format(number=number, parts=parts, part=SIZE // parts))


def resident(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def used_by_name(server: RunningServer) -> dict[str, int]:
    """What the models use that are loaded, as the index has it."""
    return {
        each["name"]: int(each["memory_bytes"]["cpu"])
        for each in server.post("/v2/repository/index").json()
        if each.get("state") == "READY"
    }


@pytest.mark.parametrize("parts", [1, 640], ids=["mapped", "heap"])
def test_handlers_that_are_loaded_while_others_go_are_counted_whole(
    tmp_path: Path, start_server: StartServer, parts: int
) -> None:
    """`parts`: large blocks are given back to the system one by one, small ones when the heap is trimmed."""
    names = ["a", "b", "c", "d"]
    for number, name in enumerate(names):
        write_handler(tmp_path, name, 1, number, parts)
    server = start_server(
        tmp_path, "--model-control-mode=on-demand", "--memory-budget=cpu=90M", "--memory-min-idle-secs=0",
        "--processes=1",
    )  # fmt: skip
    order = Random(1)  # noqa: S311 - whom clients ask

    def ask(name: str) -> None:
        response = server.infer(name, {"inputs": [json_tensor("x", "FP32", [1], [1])]})
        assert response.status_code == 200, response.text
        assert response.json()["outputs"][0]["data"] == [names.index(name) + 1]

    def ask_all(seed: int) -> None:
        for name in Random(seed).sample(names * 3, 3 * len(names)):  # noqa: S311
            ask(name)

    ask("a")
    ask("b")
    full = resident(server.process.pid)
    for _ in range(3):
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(ask_all, [order.random() for _ in range(4)]))
        used = used_by_name(server)
        assert len(used) <= 2
        assert all(0.95 * SIZE < each < 1.1 * SIZE for each in used.values()), used
        assert resident(server.process.pid) < full + SIZE / 2


WAITS = """
import numpy as np

class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        return {"y": self.context.call("other", inputs)["y"]}
"""
WARM_UP = """
model_warmup {
  name: "sample" batch_size: 1
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [1] zero_data: true } }
}
"""
LOADS_OTHERS = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        pb_utils.load_model("other")

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(each, "x").as_numpy())])
            for each in requests
        ]
"""
IN_PROCESS = """
backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
parameters { key: "isolation" value { string_value: "none" } }
"""


@pytest.mark.parametrize(
    ("code", "config"), [(WAITS, WARM_UP), (LOADS_OTHERS, IN_PROCESS)], ids=["warm-up", "load_model"]
)
def test_a_load_that_waits_for_another_one_does_not_count_it(
    tmp_path: Path, start_server: StartServer, code: str, config: str
) -> None:
    """They would wait for each other, too, until one of them is taken for one that hangs."""
    write_handler(tmp_path, "other", 1, 1, 1)
    (tmp_path / "waits" / "1").mkdir(parents=True)
    (tmp_path / "waits" / "1" / "model.py").write_text(code)
    (tmp_path / "waits" / "config.pbtxt").write_text(config)
    server = start_server(
        tmp_path, "--model-control-mode=on-demand", "--memory-budget=cpu=90M", "--processes=1"
    )
    response = server.infer("waits", {"inputs": [json_tensor("x", "FP32", [1], [1])]})
    assert response.status_code == 200, response.text
    used = used_by_name(server)
    assert 0.95 * SIZE < used["other"] < 1.1 * SIZE
    assert used["waits"] < SIZE / 2


IMPORTS = """
import numpy as np

class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}

    def load(self, context):
        import torch

        self.weights = torch.ones(1)

    def __call__(self, inputs):
        return {"y": inputs["x"] + self.weights.numpy()}
"""


@pytest.mark.parametrize("mode", ["none", "explicit", "on-demand"])
def test_libraries_that_a_load_imports_are_not_taken_for_the_model(
    tmp_path: Path, start_server: StartServer, mode: str
) -> None:
    """They are larger than the budget, and stay whatever becomes of the model."""
    (tmp_path / "imports" / "1").mkdir(parents=True)
    (tmp_path / "imports" / "1" / "model.py").write_text(IMPORTS)
    server = start_server(
        tmp_path, f"--model-control-mode={mode}", "--memory-budget=cpu=50M", "--processes=1"
    )
    if mode == "explicit":
        response = server.post("/v2/repository/models/imports/load")
        assert response.status_code == 200, response.text
    response = server.infer("imports", {"inputs": [json_tensor("x", "FP32", [1], [1])]})
    assert response.status_code == 200, response.text
    assert used_by_name(server)["imports"] < 50 * MIB
