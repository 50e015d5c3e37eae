"""Requests of different lengths in one execution: every client gets what its own request alone would have got.

The delay is so long, and the batch so small, that four clients who send one row at a time always share their executions.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tritonclient.grpc as triton_grpc
from onnx import TensorProto, helper

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import json_tensor

CLIENTS = 4
_LENGTHS = ((3, 2, 5, 1), (1, 1, 1, 1), (4, 1, 7, 2), (6, 6, 1, 3))

_BATCHES = (
    "max_batch_size: 4 instance_group { kind: KIND_CPU count: 1 } "
    "dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 60000000 } "
    # Batches become full here, for which all requests have to come to one queue.
    'parameters { key: "home" value { string_value: "single" } } '
)


def _input(name: str, extra: str = "", data_type: str = "TYPE_FP32") -> str:
    return f'input {{ name: "{name}" data_type: {data_type} dims: -1 {extra} }} '


def _output(name: str, dims: str = "1", data_type: str = "TYPE_FP32", extra: str = "") -> str:
    return f'output {{ name: "{name}" data_type: {data_type} dims: {dims} {extra} }} '


def _made(kind: str, target: str, data_type: str = "TYPE_INT32") -> str:
    return f'batch_input {{ kind: BATCH_{kind} target_name: "{target}" data_type: {data_type} source_input: "X" }} '


_RAGGED_INPUT = _input("X", "allow_ragged_batch: true")
_SCATTER = 'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "DOUBLE" source_input: "X" } '
_RAGGED = _BATCHES + _RAGGED_INPUT + _output("SUM") + _output("DOUBLE", "-1") + _SCATTER
_TARGETS = (
    _made("ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", "STARTS", "TYPE_FP32") + _made("ELEMENT_COUNT", "COUNT")
    + _made("ITEM_SHAPE", "SHAPE") + _made("ITEM_SHAPE_FLATTEN", "FLAT_SHAPE", "TYPE_FP32")
    + _made("ACCUMULATED_ELEMENT_COUNT", "END", "TYPE_FP32") + _made("MAX_ELEMENT_COUNT_AS_SHAPE", "AS_SHAPE")
)  # fmt: skip
_RAGGED_ONNX = (
    _RAGGED + _TARGETS
    + _output("COUNTS", data_type="TYPE_INT32") + _output("SHAPES", data_type="TYPE_INT32")
    + _output("FLAT_SHAPES") + _output("ENDS") + _output("LONGEST", data_type="TYPE_INT64")
)  # fmt: skip


def _padding(value: object) -> str:
    return f"parameters {{ key: 'pad_variable_dims' value {{ string_value: '{json.dumps(value)}' }} }}"


_PADDED = _BATCHES + _input("X") + _output("MEAN") + _output("CENTRED", "-1")
_CUT = {"CENTRED": "X"}
_MASK_PADDING = _padding(
    {"inputs": {"X": 1000}, "masks": {"MASK": {"input": "X", "data_type": "FP32"}}, "outputs": _CUT}
)
_PADDED_MASK = _PADDED + _MASK_PADDING
_PADDED_LENGTH = _PADDED + _padding({"inputs": {"X": -1000}, "lengths": {"N": "X"}, "outputs": _CUT})

_HANDLER = """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"SUM": ("FP32", [1]), "DOUBLE": ("FP32", [-1]), "TOGETHER": ("INT32", [1])}
    max_batch_size = 4
    ragged = True

    %s __call__(self, inputs, requests):
        assert [len(each["X"]) for each in inputs] == [request.rows for request in requests]
        return [
            {"SUM": each["X"].sum(axis=1, keepdims=True), "DOUBLE": each["X"] * 2,
             "TOGETHER": [[len(inputs)]] * len(each["X"])}
            for each in inputs
        ]
"""

_PADDED_HANDLER = """
import numpy as np

class Model:
    tensors = "torch"

    def __call__(self, inputs):
        x, n = inputs["X"], inputs["N"]
        kept = (np.arange(x.shape[1])[None] < n.numpy()[:, None]).astype(np.float32)
        mean = (x.numpy() * kept).sum(axis=1, keepdims=True) / n.numpy()[:, None].astype(np.float32)
        return {"MEAN": mean, "CENTRED": x.numpy() - mean}
"""

_UNMASKED = """
class Model:
    def __call__(self, inputs):
        mean = inputs["X"].mean(axis=1, keepdims=True)
        return {"MEAN": mean, "CENTRED": inputs["X"] - mean}
"""

_COUNTING = """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"Y": ("FP32", [1])}
    max_batch_size = 4
    ragged = True

    def __call__(self, inputs):
        return [{"Y": [[1.0]]}]
"""


def _write(root: Path, name: str, config: str) -> Path:
    (root / name / "1").mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(config)
    return root / name / "1"


def _onnx(
    path: Path,
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    constants: dict[str, Any],
) -> None:
    info = helper.make_tensor_value_info
    values = [
        helper.make_tensor(
            name, TensorProto.FLOAT if isinstance(value[0], float) else TensorProto.INT64, [len(value)], value
        )
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        nodes, "g", [info(name, *each) for name, each in inputs.items()],
        [info(name, *each) for name, each in outputs.items()], values,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (path / "model.onnx").write_bytes(model.SerializeToString())


def ragged_onnx(path: Path) -> None:
    """Sums and doubles of a flat X, and everything else that it is told."""
    node = helper.make_node
    real, int32, int64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
    nodes = [
        node("CumSum", ["X", "axis"], ["running"]),
        node("Concat", ["nothing", "running"], ["sums"], axis=0),
        node("Cast", ["STARTS"], ["starts"], to=int64),
        node("Gather", ["sums", "starts"], ["at"]),
        node("Slice", ["at", "one", "end"], ["to"]),
        node("Slice", ["at", "zero", "minus"], ["from"]),
        node("Sub", ["to", "from"], ["SUM"]),
        node("Add", ["X", "X"], ["DOUBLE"]),
        node("Identity", ["COUNT"], ["COUNTS"]),
        node("Identity", ["SHAPE"], ["SHAPES"]),
        node("Identity", ["FLAT_SHAPE"], ["FLAT_SHAPES"]),
        node("Identity", ["END"], ["ENDS"]),
        node("Shape", ["AS_SHAPE"], ["longest"]),
        node("Shape", ["COUNT"], ["requests"]),
        node("Expand", ["longest", "requests"], ["LONGEST"]),
    ]
    inputs = {
        "X": (real, ["N"]), "STARTS": (real, ["S"]), "COUNT": (int32, ["B"]), "SHAPE": (int32, ["B", 1]),
        "FLAT_SHAPE": (real, ["F"]), "END": (real, ["B"]), "AS_SHAPE": (int32, ["L"]),
    }  # fmt: skip
    outputs = {
        "SUM": (real, ["B"]), "DOUBLE": (real, ["N"]), "COUNTS": (int32, ["B"]), "SHAPES": (int32, ["B", 1]),
        "FLAT_SHAPES": (real, ["F"]), "ENDS": (real, ["B"]), "LONGEST": (int64, ["B"]),
    }  # fmt: skip
    constants = {"axis": [0], "nothing": [0.0], "one": [1], "zero": [0], "minus": [-1], "end": [2**31]}
    _onnx(path, nodes, inputs, outputs, constants)


def padded_onnx(path: Path) -> None:
    """Mean of each row of X where MASK is 1, and X less that."""
    node, real = helper.make_node, TensorProto.FLOAT
    nodes = [
        node("Mul", ["X", "MASK"], ["kept"]),
        node("ReduceSum", ["kept", "axes"], ["sum"], keepdims=1),
        node("ReduceSum", ["MASK", "axes"], ["count"], keepdims=1),
        node("Div", ["sum", "count"], ["MEAN"]),
        node("Sub", ["X", "MEAN"], ["CENTRED"]),
    ]
    inputs = {"X": (real, ["B", "L"]), "MASK": (real, ["B", "L"])}
    outputs = {"MEAN": (real, ["B", 1]), "CENTRED": (real, ["B", "L"])}
    _onnx(path, nodes, inputs, outputs, {"axes": [1]})


class RaggedScript(torch.nn.Module):
    def forward(self, X: torch.Tensor, STARTS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sums = torch.cat([torch.zeros(1), X.cumsum(0)])[STARTS.long()]
        return sums[1:] - sums[:-1], X * 2


class PaddedScript(torch.nn.Module):
    def forward(self, X: torch.Tensor, N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept = torch.arange(X.size(1)).unsqueeze(0) < N.unsqueeze(1)
        mean = (X * kept).sum(1, keepdim=True) / N.unsqueeze(1)
        return mean, X - mean


def _write_models(root: Path, write_model: WriteModel) -> None:
    ragged_onnx(_write(root, "ragged_onnx", _RAGGED_ONNX))
    ragged_onnx(_write(root, "ragged_at_once", _RAGGED_ONNX.replace("60000000", "0")))
    padded_onnx(_write(root, "padded_onnx", _PADDED_MASK))
    padded_onnx(_write(root, "padded_minimal", _BATCHES + _MASK_PADDING))
    padded_onnx(_write(root, "padded_at_once", _PADDED_MASK.replace("60000000", "0")))
    script = _RAGGED + _made("ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", "STARTS")
    modules = {
        "ragged_script": (RaggedScript(), script),
        "padded_script": (PaddedScript(), _PADDED_LENGTH),
    }
    for name, (module, config) in modules.items():
        torch.jit.script(module).save(str(_write(root, name, config) / "model.pt"))
    # The configuration says nothing of raggedness: the class does.
    write_model(root, "ragged_handler", _HANDLER % "def", _BATCHES)
    write_model(root, "ragged_async", _HANDLER % "async def", _BATCHES + _RAGGED_INPUT)
    write_model(root, "padded_handler", _PADDED_HANDLER, _PADDED_LENGTH)
    write_model(root, "too_few", _COUNTING, _BATCHES)
    write_model(root, "unmasked", _UNMASKED, _PADDED_LENGTH)
    _write_broken_models(root, write_model)


def _write_broken_models(root: Path, write_model: WriteModel) -> None:
    not_flat = {"X": (TensorProto.FLOAT, ["B", "L"])}, {"Y": (TensorProto.FLOAT, ["B", "L"])}
    same = [helper.make_node("Identity", ["X"], ["Y"])]
    config = "max_batch_size: 4 " + _RAGGED_INPUT + _output("Y", "-1")
    _onnx(_write(root, "not_flat", config), same, *not_flat, {})
    _onnx(_write(root, "no_target", config + _made("ELEMENT_COUNT", "COUNT")), same, *not_flat, {})
    fixed = {"X": (TensorProto.FLOAT, ["N"])}, {"Y": (TensorProto.FLOAT, [2, "N"])}
    _onnx(
        _write(root, "fixed_rows", config),
        [helper.make_node("Expand", ["X", "to"], ["Y"])],
        *fixed,
        {"to": [2, 1]},
    )
    minimal = 'max_batch_size: 4 input { name: "X" allow_ragged_batch: true } '
    ragged_onnx(_write(root, "no_dims", minimal + _SCATTER + _TARGETS))
    write_model(
        root, "no_list", _HANDLER.replace("ragged = True", "") % "def", "max_batch_size: 4 " + _RAGGED_INPUT
    )


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: StartServer, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        _write_models(root, write_model)
    return start_server(root)


def rest(server: RunningServer, model: str, x: Any) -> dict[str, list[float]]:
    """The outputs, flat, by name, with their shapes as `<name>.shape`."""
    tensor = json_tensor("X", "FP32", list(x.shape), x.ravel().tolist())
    answer = server.infer(model, {"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    found = {}
    for output in answer.json()["outputs"]:
        found[output["name"]] = output["data"]
        found[output["name"] + ".shape"] = output["shape"]
    return found


def grpc(server: RunningServer, model: str, x: Any) -> dict[str, list[float]]:
    tensor = triton_grpc.InferInput("X", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        answer = client.infer(model, [tensor])
    found = {}
    for output in answer.get_response().outputs:
        array = answer.as_numpy(output.name)
        found[output.name], found[output.name + ".shape"] = array.ravel().tolist(), list(array.shape)
    return found


def rows_of(client: int, lengths: Sequence[int]) -> list[Any]:
    """What one client sends, one request after the other: small integers, which floats add up exactly."""
    return [
        np.arange(length, dtype=np.float32).reshape(1, length) + 10 * client + number
        for number, length in enumerate(lengths)
    ]


def batches(server: RunningServer, model: str) -> dict[int, int]:
    """How often each batch size was executed."""
    [statistics] = server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return {each["batch_size"]: each["compute_infer"]["count"] for each in statistics["batch_stats"]}


def check_sums(x: Any, found: dict[str, list[float]]) -> None:
    assert found["SUM"] == [x.sum()]
    assert found["SUM.shape"] == [1, 1]
    assert found["DOUBLE"] == (2 * x).ravel().tolist()
    assert found["DOUBLE.shape"] == list(x.shape)


def check_means(x: Any, found: dict[str, list[float]]) -> None:
    mean = x.mean(dtype=np.float64)
    np.testing.assert_allclose(found["MEAN"], [mean], rtol=1e-6)
    assert found["CENTRED.shape"] == list(x.shape)
    np.testing.assert_allclose(found["CENTRED"], (x - mean).ravel(), atol=1e-5)


@pytest.mark.parametrize("ask", [rest, grpc])
@pytest.mark.parametrize(
    ("model", "check"),
    [
        ("ragged_onnx", check_sums),
        ("ragged_script", check_sums),
        ("ragged_handler", check_sums),
        ("ragged_async", check_sums),
        ("padded_onnx", check_means),
        ("padded_minimal", check_means),
        ("padded_script", check_means),
        ("padded_handler", check_means),
    ],
)
def test_every_client_gets_its_own(
    server: RunningServer,
    model: str,
    check: Callable[[Any, dict[str, list[float]]], None],
    ask: Callable[[RunningServer, str, Any], dict[str, list[float]]],
) -> None:
    before = batches(server, model)

    def client(number: int) -> None:
        for x in rows_of(number, [lengths[number] for lengths in _LENGTHS]):
            check(x, ask(server, model, x))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    after = batches(server, model)
    # They were executed together, and nothing had to be executed again.
    assert set(after) == {CLIENTS}
    assert after[CLIENTS] - before.get(CLIENTS, 0) == len(_LENGTHS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "check"), [("ragged_at_once", check_sums), ("padded_at_once", check_means)]
)
def test_many_clients_with_texts_of_any_length(
    server: RunningServer, model: str, check: Callable[[Any, dict[str, list[float]]], None]
) -> None:
    """Batches of whatever has come."""

    def client(number: int) -> None:
        random = np.random.default_rng(number)
        ask = rest if number % 2 else grpc
        for x in rows_of(number, random.integers(1, 40, 20).tolist()):
            check(x, ask(server, model, x))

    def rows() -> int:
        return sum(size * count for size, count in batches(server, model).items())

    before = rows()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    assert rows() - before == 8 * 20


def test_the_model_is_told_the_sizes_of_the_batch(server: RunningServer) -> None:
    """The values are those of a real Triton, in the order in which the requests were taken."""
    xs = [np.full((1, length), length, np.float32) for length in (3, 2, 5, 1)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(lambda x: rest(server, "ragged_onnx", x), xs))
    assert [each["COUNTS"] for each in found] == [[3], [2], [5], [1]]
    assert [each["SHAPES"] for each in found] == [[3], [2], [5], [1]]
    assert [each["FLAT_SHAPES"] for each in found] == [[3.0], [2.0], [5.0], [1.0]]
    assert [each["LONGEST"] for each in found] == [[5]] * 4
    ends = sorted((int(each["ENDS"][0]), int(each["COUNTS"][0])) for each in found)
    total = 0
    for end, count in ends:
        total += count
        assert end == total


def test_a_request_of_two_rows_is_one_entry_and_an_ordinary_output_cannot_be_split(
    server: RunningServer,
) -> None:
    x = np.ones((2, 3), np.float32)
    tensor = json_tensor("X", "FP32", [2, 3], x.ravel().tolist())
    answer = server.infer("ragged_at_once", {"id": "two", "inputs": [tensor]})
    assert (answer.status_code, answer.json()["error"]) == (
        501,
        "[request id: two] failed to split the output tensor 'SUM' in responses: expected batch size of at least 2 in "
        "model output, got 1",
    )


def test_such_a_request_does_not_take_others_with_it(server: RunningServer) -> None:
    two = json_tensor("X", "FP32", [2, 1], [5, 6])
    with ThreadPoolExecutor(3) as pool:
        refused = pool.submit(server.infer, "ragged_script", {"inputs": [two]})
        answers = [pool.submit(rest, server, "ragged_script", np.full((1, n), n, np.float32)) for n in (1, 3)]
        assert [each.result()["SUM"] for each in answers] == [[1.0], [9.0]]
        assert refused.result().status_code == 501


def test_a_handler_sees_each_request_and_its_rows(server: RunningServer) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: rest(server, "ragged_handler", np.ones((2, n), np.float32)), (1, 4)))
    assert [each["TOGETHER"] for each in found] == [[2, 2], [2, 2]]
    assert [each["SUM"] for each in found] == [[1, 1], [4, 4]]
    assert [each["DOUBLE.shape"] for each in found] == [[2, 1], [2, 4]]


def test_a_handler_that_answers_too_few(server: RunningServer) -> None:
    """Its batch is executed again, one by one, and alone each has its answer."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(lambda n: rest(server, "too_few", np.ones((1, n), np.float32)), (1, 2, 3, 4)))
    assert [each["Y"] for each in found] == [[1.0]] * 4


def test_a_model_that_does_not_leave_the_padding_out_is_warned_about(server: RunningServer) -> None:
    warned = [line for line in server.log.splitlines() if "change each other's answers" in line]
    assert len(warned) == 1
    assert "model 'unmasked': " in warned[0]
    assert "the model has to leave the padding out, by lengths or by a mask" in warned[0]


def test_how_much_is_padding_is_shown(server: RunningServer) -> None:
    def shown(model: str = "padded_script") -> list[float]:
        lines = server.client.get(server.metrics).text.splitlines()
        return [
            float(line.rpartition(" ")[2])
            for name in ("padded_input_elements", "padding_elements")
            for line in lines
            if line.startswith(f"kserve_v2_{name}{{") and f'model="{model}"' in line
        ]

    # What a model is tried with when it is loaded is not counted.
    assert shown("unmasked") == [0, 0]
    given, padding = shown()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda n: rest(server, "padded_script", np.ones((1, n), np.float32)), (5, 1, 2, 5)))
    assert shown() == [given + 20, padding + 7]


def test_hidden_inputs_are_neither_shown_nor_taken(server: RunningServer) -> None:
    for model in ("ragged_onnx", "padded_onnx", "padded_minimal", "padded_script"):
        shown = server.get(f"/v2/models/{model}").json()["inputs"]
        assert [tensor["name"] for tensor in shown] == ["X"]
    sent = [json_tensor("X", "FP32", [1, 1], [1]), json_tensor("MASK", "FP32", [1, 1], [1])]
    answer = server.infer("padded_onnx", {"inputs": sent})
    assert answer.status_code == 400
    assert "MASK" in answer.json()["error"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "not_flat",
            "unable to load model 'not_flat', configuration expects model provides input with shape [-1]  for ragged "
            "input 'X', model provides [-1,-1]",
        ),
        ("no_target", "batch_input: model.onnx has no input 'COUNT'; it has: 'X'"),
        (
            "fixed_rows",
            "tensor 'Y': for the model to support batching the shape should have at least 1 dimension and the first "
            "dimension must be -1; but shape expected by the model is [2,-1]",
        ),
        (
            "no_dims",
            "batch_output: output 'DOUBLE' is cut by the shape of an input: its dims have to be given",
        ),
        (
            "no_list",
            "input[0].allow_ragged_batch: Model in model.py takes one tensor for all requests of a batch",
        ),
    ],
)
def test_models_that_cannot_do_it_are_not_loaded(server: RunningServer, model: str, expected: str) -> None:
    index = server.post("/v2/repository/index").json()
    [reason] = [entry["reason"] for entry in index if entry["name"] == model]
    assert expected in reason
