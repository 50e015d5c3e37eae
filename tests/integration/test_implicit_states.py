"""Implicit state over real sockets: kept with the sequence for every backend and strategy, and never on the wire."""

import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import Array, error_of, json_tensor, statistics

FIRST = 10
"""The number in the file of the initial state: requests 1, 2, 3 are answered 11, 13, 16."""

DIRECT = "direct { max_queue_delay_microseconds: 2000 minimum_slot_utilization: 1 }"
OLDEST = "oldest { max_candidate_sequences: 8 max_queue_delay_microseconds: 2000 }"

# Nobody is executed before all four sequences are there.
TOGETHER = {
    "direct": "direct { max_queue_delay_microseconds: 60000000 minimum_slot_utilization: 1 }",
    "oldest": "oldest { max_queue_delay_microseconds: 60000000 preferred_batch_size: [ 4 ] }",
}

ADDER = """
class Model:
    inputs = {"X": ("INT32", [1])}
    outputs = {"SUM": ("INT32", [1])}
    def __call__(self, inputs):
        if (inputs["X"] == 666).any():
            inputs["S"][...] = 5
            raise ValueError("that number")
        total = inputs["S"]
        total += inputs["X"]
        return {"SUM": total, "SO": total}
"""

# What it answers is as long as what it has been told so far; a text is kept, too.
GROWING = """
import numpy as np
class Model:
    def __call__(self, inputs):
        told = np.concatenate([inputs["S"], inputs["X"]], axis=1)
        said = np.array([[s + b"<%d>" % x] for [s], [x] in zip(inputs["T"], inputs["X"])], object)
        return {"ALL": told, "SO": told, "SAID": said, "TO": said}
"""

GROWING_CONFIG = """
max_batch_size: 4
input { name: "X" data_type: TYPE_INT32 dims: 1 }
output { name: "ALL" data_type: TYPE_INT32 dims: -1 }
output { name: "SAID" data_type: TYPE_STRING dims: 1 }
sequence_batching {
  STRATEGY
  state { input_name: "S" output_name: "SO" data_type: TYPE_INT32 dims: -1 }
  state { input_name: "T" output_name: "TO" data_type: TYPE_STRING dims: 1 }
}
"""


def state(name: str = "SO", initial: str = 'data_file: "ten"') -> str:
    first = f'initial_state {{ name: "ten" data_type: TYPE_INT32 dims: 1 {initial} }}' if initial else ""
    return f'state {{ input_name: "S" output_name: "{name}" data_type: TYPE_INT32 dims: 1 {first} }}'


def config(strategy: str, *, batch: int = 4, instances: int = 1, more: str = "", state: str = state()) -> str:
    return (
        f"max_batch_size: {batch} instance_group {{ count: {instances} kind: KIND_CPU }} {more}"
        f" sequence_batching {{ {strategy} {state} }}"
    )


def onnx_adder(batched: bool = True) -> bytes:
    """SUM = SO = X + S."""
    shape = ["batch", 1] if batched else [1]
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.INT32, shape)
        for name in ("X", "S", "SUM", "SO")
    }
    nodes = [helper.make_node("Add", ["X", "S"], ["SO"]), helper.make_node("Identity", ["SO"], ["SUM"])]
    graph = helper.make_graph(nodes, "adder", [tensors["X"], tensors["S"]], [tensors["SUM"], tensors["SO"]])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


class TorchAdder(torch.nn.Module):
    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = x + state
        return total, total


TORCH_TENSORS = """
input { name: "INPUT__0" data_type: TYPE_INT32 dims: 1 } output { name: "OUTPUT__0" data_type: TYPE_INT32 dims: 1 }
"""
TORCH_STATE = state("OUTPUT__1").replace('"S"', '"INPUT__1"')


def write(root: Path, name: str, text: str, file: str, content: bytes) -> None:
    directory = root / name
    (directory / "1").mkdir(parents=True)
    (directory / "initial_state").mkdir()
    (directory / "initial_state" / "ten").write_bytes(struct.pack("<i", FIRST))
    (directory / "1" / file).write_bytes(content)
    (directory / "config.pbtxt").write_text(text)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: StartServer, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("states")
    for kind, strategy in (("direct", DIRECT), ("oldest", OLDEST)):
        text = config(strategy, instances=2)
        write(root, f"onnx_{kind}", text, "model.onnx", onnx_adder())
        write(root, f"handler_{kind}", text, "model.py", ADDER.encode())
        together = config(TOGETHER[kind])
        write(root, f"onnx_together_{kind}", together, "model.onnx", onnx_adder())
        write(root, f"handler_together_{kind}", together, "model.py", ADDER.encode())
        growing = GROWING_CONFIG.replace("STRATEGY", strategy)
        write(root, f"growing_{kind}", growing, "model.py", GROWING.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        archive = root / "torch.pt"
        torch.jit.script(TorchAdder()).save(archive)
    text = config(OLDEST, more=TORCH_TENSORS, state=TORCH_STATE)
    write(root, "torchscript", text, "model.pt", archive.read_bytes())
    archive.unlink()
    write(root, "single", config("direct { }", batch=0), "model.onnx", onnx_adder(batched=False))
    write(root, "zeros", config(OLDEST, state=state(initial="")), "model.onnx", onnx_adder())
    more = 'output { name: "SUM" } output { name: "SO" data_type: TYPE_INT32 dims: 1 }'
    write(root, "answered", config(OLDEST, more=more), "model.onnx", onnx_adder())
    return start_server(root)


def ask(
    server: RunningServer,
    model: str,
    number: int,
    sequence: int | str,
    *,
    start: bool = False,
    end: bool = False,
) -> httpx.Response:
    name, shape = ("INPUT__0" if model == "torchscript" else "X"), [1] if model == "single" else [1, 1]
    parameters = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
    return server.infer(
        model, {"inputs": [json_tensor(name, "INT32", shape, [number])], "parameters": parameters}
    )


def outputs(response: httpx.Response) -> dict[str, list[Any]]:
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


def total(server: RunningServer, model: str, number: int, sequence: int | str, **flags: bool) -> int:
    answer = outputs(ask(server, model, number, sequence, **flags))
    return int(answer["OUTPUT__0" if model == "torchscript" else "SUM"][0])


def run(server: RunningServer, model: str, numbers: Sequence[int], sequence: int | str) -> list[int]:
    """A whole sequence."""
    last = len(numbers) - 1
    return [
        total(server, model, number, sequence, start=index == 0, end=index == last)
        for index, number in enumerate(numbers)
    ]


ADDERS = [
    "onnx_direct",
    "onnx_oldest",
    "handler_direct",
    "handler_oldest",
    "torchscript",
    "single",
    "answered",
]


@pytest.mark.parametrize("model", ADDERS)
def test_a_sequence_begins_with_the_file_every_time(server: RunningServer, model: str) -> None:
    for _ in range(2):
        assert run(server, model, [1, 2, 3], 7) == [11, 13, 16]
    assert total(server, model, 5, 7, start=True) == 15
    # START again: the former sequence is over, and so is its state.
    assert total(server, model, 1, 7, start=True) == 11
    assert total(server, model, 1, 7, end=True) == 12


def test_without_a_word_it_begins_with_zeros(server: RunningServer) -> None:
    assert run(server, "zeros", [1, 2, 3], 7) == [1, 3, 6]


@pytest.mark.parametrize("model", ADDERS)
def test_sequences_never_mix(server: RunningServer, model: str) -> None:
    """More of them than there are slots, on all instances, from as many clients."""

    def client(sequence: int) -> list[int]:
        return run(server, model, [sequence * 100 + step for step in range(6)], sequence)

    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(client, range(1, 13)))
    sums = [FIRST + np.cumsum([sequence * 100 + step for step in range(6)]) for sequence in range(1, 13)]
    assert answers == [each.tolist() for each in sums]


@pytest.mark.parametrize("model", ["onnx_together_direct", "onnx_together_oldest", "handler_together_direct"])
def test_states_are_merged(server: RunningServer, model: str) -> None:
    """A batch waits for all four sequences, so each step of theirs is one execution."""

    def client(sequence: int) -> list[int]:
        return run(server, model, [sequence, 10, 20, 30, 40], sequence)

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(client, range(1, 5)))
    assert answers == [[10 + n, 20 + n, 40 + n, 70 + n, 110 + n] for n in range(1, 5)]
    sizes = {
        batch["batch_size"]: batch["compute_infer"]["count"]
        for batch in statistics(server, model)["batch_stats"]
    }
    assert sizes == {4: 5}


@pytest.mark.parametrize("model", ["growing_direct", "growing_oldest"])
def test_a_state_may_grow(server: RunningServer, model: str) -> None:
    """Also where sequences of all lengths wait for the same instance."""

    def client(sequence: int) -> None:
        told, said = [0], ""
        for step in range(sequence):
            answer = outputs(ask(server, model, step, sequence, start=step == 0, end=step == sequence - 1))
            told, said = [*told, step], f"{said}<{step}>"
            assert answer == {"ALL": told, "SAID": [said]}

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(client, range(1, 9)))


@pytest.mark.parametrize("model", ["handler_direct", "handler_oldest"])
def test_a_failed_execution_leaves_the_state_as_it_was(server: RunningServer, model: str) -> None:
    assert total(server, model, 1, "fails", start=True) == 11
    assert "that number" in error_of(ask(server, model, 666, "fails"))
    assert total(server, model, 2, "fails", end=True) == 13


def test_states_are_neither_seen_nor_sent_nor_asked_for(server: RunningServer) -> None:
    metadata = server.get("/v2/models/onnx_oldest").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["X"]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["SUM"]
    assert list(outputs(ask(server, "onnx_oldest", 1, 3, start=True, end=True))) == ["SUM"]
    number = json_tensor("X", "INT32", [1, 1], [1])
    parameters = {"sequence_id": 4, "sequence_start": True}
    wrong = [
        {"inputs": [number, json_tensor("S", "INT32", [1, 1], [1])], "parameters": parameters},
        {"inputs": [number], "outputs": [{"name": "SO"}], "parameters": parameters},
    ]
    texts = ["expected 1 inputs but got 2 inputs", "unexpected inference output 'SO' for model 'onnx_oldest'"]
    for body, text in zip(wrong, texts, strict=True):
        response = server.infer("onnx_oldest", body)
        assert (response.status_code, text in error_of(response)) == (400, True)


def test_a_state_that_is_an_output_is_answered(server: RunningServer) -> None:
    first = outputs(ask(server, "answered", 1, 3, start=True))
    second = outputs(ask(server, "answered", 2, 3, end=True))
    assert (first, second) == ({"SUM": [11], "SO": [11]}, {"SUM": [13], "SO": [13]})


@pytest.fixture
def grpc(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def test_over_grpc(grpc: triton.InferenceServerClient) -> None:
    def number(value: int) -> list[triton.InferInput]:
        tensor = triton.InferInput("X", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.array([[value]], np.int32))
        return [tensor]

    def step(value: int, **flags: bool) -> Array:
        answer = grpc.infer("onnx_direct", number(value), sequence_id=2**63 - 1, **flags)
        return answer.as_numpy("SUM")

    assert [step(1, sequence_start=True), step(2), step(3, sequence_end=True)] == [[[11]], [[13]], [[16]]]
    with pytest.raises(InferenceServerException, match="must specify the START flag"):
        step(4)


@pytest.mark.slow
def test_what_is_wrong_with_the_files_fails_the_load(tmp_path: Path, start_server: StartServer) -> None:
    write(tmp_path, "short", config(OLDEST), "model.onnx", onnx_adder())
    (tmp_path / "short" / "initial_state" / "ten").write_bytes(b"12")
    write(tmp_path, "outside", config(OLDEST), "model.onnx", onnx_adder())
    (tmp_path / "secret").write_bytes(b"1234")
    (tmp_path / "outside" / "initial_state" / "ten").unlink()
    (tmp_path / "outside" / "initial_state" / "ten").symlink_to(tmp_path / "secret")
    unknown = config(OLDEST, state=state().replace('"S"', '"NO"'))
    write(tmp_path, "unknown", unknown, "model.onnx", onnx_adder())
    write(
        tmp_path, "type", config(OLDEST, state=state().replace("INT32", "INT64")), "model.onnx", onnx_adder()
    )
    server = start_server(tmp_path)
    reasons = {
        entry["name"]: entry["reason"] for entry in server.post("/v2/repository/index", json={}).json()
    }
    assert (
        "initial_state setting expects 4 bytes, but the data provided from ten only has 2 bytes."
        in reasons["short"]
    )
    assert "file 'ten' is outside of the model's directory" in reasons["outside"]
    assert "model.onnx has no input 'NO'" in reasons["unknown"]
    assert "'S' is TYPE_INT32 in model.onnx, the configuration says TYPE_INT64" in reasons["type"]


@pytest.mark.slow
def test_another_initial_state_is_another_generation(tmp_path: Path, start_server: StartServer) -> None:
    """Live sequences go on with what they have; a file that is wrong leaves the former one in service."""
    write(tmp_path, "adder", config(OLDEST), "model.onnx", onnx_adder())
    file = tmp_path / "adder" / "initial_state" / "ten"
    server = start_server(tmp_path, "--model-control-mode=explicit", "--load-model=adder")
    assert total(server, "adder", 1, 1, start=True) == 11
    file.write_bytes(struct.pack("<i", 20))
    assert server.post("/v2/repository/models/adder/load").status_code == 200
    assert total(server, "adder", 1, 1, end=True) == 12
    assert run(server, "adder", [1, 2], 1) == [21, 23]
    file.write_bytes(b"1")
    assert "only has 1 bytes" in error_of(server.post("/v2/repository/models/adder/load"))
    assert run(server, "adder", [1, 2], 1) == [21, 23]
