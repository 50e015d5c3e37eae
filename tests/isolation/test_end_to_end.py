"""Models of every backend in processes of their own: loaded, completed, asked, failing and unloaded."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, json_tensor, wait_until
from tests.isolation.conftest import children, exists

HANDLER = """
import os
import numpy as np

with open({imports!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")

class Model:
    inputs = {{"x": ("FP32", [2])}}
    outputs = {{"y": ("FP32", [2]), "pid": ("INT64", [1]), "ids": ("BYTES", [1])}}
    max_batch_size = 4

    def load(self, context):
        self.factor = float(context.parameters.get("factor", 2))
        self.name = context.placement.name

    def __call__(self, inputs, requests):
        x = inputs["x"]
        if (x == -1).any():
            from kserve_v2.errors import InvalidArgumentError
            raise InvalidArgumentError("no negative numbers")
        if (x == -3).any():
            from kserve_v2.errors import InvalidArgumentError
            raise InvalidArgumentError("")
        if (x == -2).any():
            raise ValueError(f"boom in {{__file__}}")
        for request in requests:
            request.response_parameters["seen"] = str(sorted(request.parameters.items()))
        ids = [[f"{{each.id}}|{{each.rows}}|{{self.name}}".encode()] for each in requests for _ in range(each.rows)]
        return {{"y": x * self.factor, "pid": np.full((len(x), 1), os.getpid()), "ids": np.array(ids, object)}}
"""


def request(*values: float, **more: Any) -> dict[str, Any]:
    return {"inputs": [json_tensor("x", "FP32", [1, 2], list(values))], **more}


def outputs(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


@pytest.fixture
def handler(isolated: ExplicitServer, tmp_path: Path) -> ExplicitServer:
    code = HANDLER.format(imports=str(tmp_path / "imports"))
    isolated.write("handler", code, 'parameters { key: "factor" value { string_value: "3" } }')
    answer = isolated.load("handler")
    assert answer.status_code == 200, answer.text
    return isolated


def test_a_handler_is_completed_loaded_and_executed_in_one_process_that_ends_with_it(
    handler: ExplicitServer, tmp_path: Path
) -> None:
    server = handler.server
    answer = outputs(server.infer("handler", request(1, 2)))
    (pid,) = answer["pid"]
    assert answer["y"] == [3, 6]
    assert pid != server.process.pid
    assert children(server.process.pid) == [pid]
    # It is imported once: completed in the process that it is executed in.
    assert (tmp_path / "imports").read_text().split() == [str(pid)]
    config = server.get("/v2/models/handler/config").json()
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (4, [2])
    assert handler.unload("handler").status_code == 200
    wait_until(lambda: children(server.process.pid) == [])
    assert not exists(pid)


def test_requests_and_responses_cross_with_all_that_they_say(handler: ExplicitServer) -> None:
    answer = handler.server.infer("handler", request(1, 2, id="seven", parameters={"a": 1, "b": "x"}))
    assert outputs(answer)["ids"] == ["seven|1|handler_0"]
    assert answer.json()["parameters"] == {"seen": "[('a', 1), ('b', 'x')]"}
    answer = handler.server.infer("handler", request(1, 2))
    assert answer.json()["parameters"] == {"seen": "[]"}


def test_a_client_s_mistake_stays_one(handler: ExplicitServer) -> None:
    answer = handler.server.infer("handler", request(-1, 2))
    assert (answer.status_code, error_of(answer)) == (400, "no negative numbers")


def test_a_mistake_that_says_nothing_names_the_model(handler: ExplicitServer) -> None:
    answer = handler.server.infer("handler", request(-3, 2))
    text = "Failed to process the request(s) for model 'handler_0', message: an error without a text (INVALID_ARGUMENT)"
    assert (answer.status_code, error_of(answer)) == (400, text)


def test_an_exception_has_its_type_and_text_and_its_traceback_is_in_the_log(handler: ExplicitServer) -> None:
    answer = handler.server.infer("handler", request(-2, 2, id="eight"))
    assert answer.status_code == 500
    text = error_of(answer)
    assert text == (
        "Failed to process the request(s) for model 'handler_0', message: ValueError: boom in model.py "
        "(request_id=eight in the server's log)"
    )
    log = handler.server.log
    assert "request_id=eight" in log
    assert 'raise ValueError(f"boom in {__file__}")' in log
    assert outputs(handler.server.infer("handler", request(1, 1)))["y"] == [3, 3]


BROKEN = {
    "syntax": ("class Model(:\n", ""),
    "import": ("import nothing_like_this\n", ""),
    "no_class": ("x = 1\n", ""),
    "raises": (
        "class Model:\n    inputs = outputs = {}\n    def load(self, c): raise OSError('no disk')\n",
        "",
    ),
    "mistaken": (
        "from kserve_v2.errors import InvalidArgumentError\nclass Model:\n"
        "    inputs = outputs = {'x': ('FP32', [1])}\n"
        "    def load(self, c): raise InvalidArgumentError('weights are missing')\n",
        "",
    ),
    "contradiction": (
        "class Model:\n    inputs = outputs = {'x': ('FP32', [1])}\n    def __call__(self, i): return i\n",
        'input { name: "z" data_type: TYPE_FP32 dims: [ 1 ] }',
    ),
    "exits": ("raise SystemExit(3)\n", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_load_says_what_it_would_say_in_the_server_s_process(
    isolated: ExplicitServer, name: str
) -> None:
    code, config = BROKEN[name]
    none = 'parameters { key: "isolation" value { string_value: "none" } }'
    isolated.write(f"broken_{name}", code, config + none)
    expected = isolated.load(f"broken_{name}")
    assert isolated.unload(f"broken_{name}").status_code == 200
    isolated.write(f"broken_{name}", code, config + none.replace("none", "process"))
    answer = isolated.load(f"broken_{name}")
    assert (answer.status_code, error_of(answer)) == (expected.status_code, error_of(expected))
    assert expected.status_code == 400
    wait_until(lambda: children(isolated.server.process.pid) == [])


def test_a_process_that_dies_in_a_load_is_what_is_wrong_with_the_model(isolated: ExplicitServer) -> None:
    isolated.write("dies_in_load", "import os\nos._exit(5)\n")
    answer = isolated.load("dies_in_load")
    assert answer.status_code == 400
    assert "the process of model 'dies_in_load' exited with status 5" in error_of(answer)
    isolated.write("dies_in_load", HANDLER.format(imports=os.devnull))
    assert isolated.load("dies_in_load").status_code == 200


def _onnx(path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.mkdir(parents=True)
    (path / "model.onnx").write_bytes(model.SerializeToString())


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x


_TORCH = """
backend: "pytorch" max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] }
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["double_onnx", "double_torch"])
def test_onnx_and_torchscript_models(isolated: ExplicitServer, name: str) -> None:
    path = isolated.root / name
    if name == "double_onnx":
        _onnx(path / "1")
    else:
        (path / "1").mkdir(parents=True)
        with pytest.warns(DeprecationWarning, match="torch.jit"):
            torch.jit.script(Double()).save(str(path / "1" / "model.pt"))
        (path / "config.pbtxt").write_text(_TORCH)
    answer = isolated.load(name)
    assert answer.status_code == 200, answer.text
    (group,) = isolated.server.get(f"/v2/models/{name}/config").json()["instance_group"]
    assert len(children(isolated.server.process.pid)) == group["count"]
    for rows in (1, 3):
        values = np.arange(rows * 2, dtype=np.float32)
        body = {"inputs": [json_tensor("x", "FP32", [rows, 2], values.tolist())]}
        assert outputs(isolated.server.infer(name, body))["y"] == (values * 2).tolist()
    answer = isolated.server.infer(name, {"inputs": [json_tensor("z", "FP32", [1, 2], [1, 2])]})
    assert answer.status_code == 400


def test_a_backend_that_is_not_there_cannot_be_isolated(start_server: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="--isolate: there is no backend 'pythn'"):
        start_server(tmp_path, "--isolate=python,pythn")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("isolation", "yes"), ("isolation", ""), ("isolation_processes", "0"), ("isolation_processes", "two"),
        ("execution_timeout", "-1"), ("execution_timeout", "nan"), ("execution_timeout", "soon"),
    ],
)  # fmt: skip
def test_a_parameter_that_means_nothing_is_refused(isolated: ExplicitServer, name: str, value: str) -> None:
    code = HANDLER.format(imports=os.devnull)
    isolated.write("wrong", code, f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}')
    answer = isolated.load("wrong")
    assert answer.status_code == 400
    assert f"parameters['{name}']: expected" in error_of(answer)
    assert f"got '{value}'" in error_of(answer)
