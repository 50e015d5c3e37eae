"""Answers stay as they were given, whatever a model does to what it keeps; and what is new is not copied for that."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_backends.eager.backend import EagerBackend
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.pytorch.torchscript.backend import TorchScriptBackend
from onnx import TensorProto, helper
from torch import Tensor, nn

from kserve_v2.messages import InferRequest
from kserve_v2.tensors.datatypes import Array

# The deprecation is for whoever makes such files, which only these tests do here.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

SIZES = pytest.mark.parametrize("size", [3, 50_000])


def numbers(value: float, size: int = 3) -> dict[str, Array]:
    return {"x": np.full(size, value, np.float32)}


def check_first_answer_stays(instance: Any, size: int = 3) -> None:
    """Whatever comes later."""
    first = instance.execute(numbers(1, size))["y"]
    second = instance.execute(numbers(2, size))["y"]
    third = instance.execute(numbers(3, size))["y"]
    assert [first.tolist(), second.tolist(), third.tolist()] == [[1.0] * size, [2.0] * size, [3.0] * size]


def address(array: Array) -> int:
    # Not by `ctypes`, which holds on to the array.
    return int(array.__array_interface__["data"][0])


# --- handlers ---------------------------------------------------------------------------------------------------


def handler(body: str, *, tensors: str = "numpy", call: str = "def __call__") -> dict[str, str]:
    text = "\n        ".join(body.strip().splitlines())
    return {
        "model.py": f"""
import numpy as np
import torch

class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1]), "address": ("UINT64", [1])}}
    tensors = "{tensors}"
    buffer = None

    {call}(self, inputs):
        x = inputs["x"]
        nowhere = np.array([0], np.uint64)
        if self.buffer is None:
            self.buffer = torch.empty(len(x)) if self.tensors == "torch" else np.empty(len(x), np.float32)
        {text}
"""
    }


KEPT_BY_HANDLERS = {
    "the array": """
self.buffer[:] = x
return {"y": self.buffer, "address": nowhere}
""",
    "a view": """
self.buffer[:] = x
return {"y": self.buffer[:], "address": nowhere}
""",
    "a view that is kept": """
self.view = self.buffer[:]
self.view[:] = x
return {"y": self.view, "address": nowhere}
""",
    "the mapping": """
if not hasattr(self, "answer"):
    self.answer = {"y": np.empty(len(x), np.float32), "address": nowhere}
self.answer["y"][:] = x
return self.answer
""",
    "memory that numpy does not own": """
if not hasattr(self, "memory"):
    self.memory = bytearray(4 * len(x))
y = np.frombuffer(self.memory, np.float32)
y[:] = x
return {"y": y, "address": nowhere}
""",
    "the last answer": """
if hasattr(self, "last"):
    self.last[:] = -1
self.last = x + 0
return {"y": self.last, "address": nowhere}
""",
    "the input": """
if hasattr(self, "last"):
    self.last[:] = -1
self.last = x
return {"y": x, "address": nowhere}
""",
    "torch: the array's memory": """
self.buffer[:] = x
return {"y": torch.from_numpy(self.buffer), "address": nowhere}
""",
    "torch: an array of a tensor of the array's memory": """
self.buffer[:] = x
return {"y": torch.from_numpy(self.buffer).numpy(), "address": nowhere}
""",
}

KEPT_BY_TORCH_HANDLERS = {
    "the tensor": """
self.buffer.copy_(x)
return {"y": self.buffer, "address": nowhere}
""",
    "a view": """
self.buffer.copy_(x)
return {"y": self.buffer[:len(x)], "address": nowhere}
""",
    "another dtype's view": """
self.buffer.copy_(x)
return {"y": self.buffer.view(torch.int32).view(torch.float32), "address": nowhere}
""",
    "the tensor's storage": """
y = x + 0
if hasattr(self, "storage"):
    torch.empty(0).set_(self.storage).fill_(-1)
self.storage = y.untyped_storage()
return {"y": y, "address": nowhere}
""",
    "an array of the tensor": """
self.buffer.copy_(x)
return {"y": self.buffer.numpy(), "address": nowhere}
""",
    "a parameter": """
if not hasattr(self, "weight"):
    self.weight = torch.nn.Parameter(torch.empty(len(x)))
self.weight.data.copy_(x)
return {"y": self.weight, "address": nowhere}
""",
    "the last answer": """
if hasattr(self, "last"):
    self.last.fill_(-1)
self.last = x + 0
return {"y": self.last, "address": nowhere}
""",
    "an array of the last answer": """
if hasattr(self, "last"):
    self.last[:] = -1
y = x + 0
self.last = y.numpy()
return {"y": y, "address": nowhere}
""",
    "the input": """
if hasattr(self, "last"):
    self.last.fill_(-1)
self.last = x
return {"y": x, "address": nowhere}
""",
    "shared with other processes": """
self.buffer.share_memory_().copy_(x)
return {"y": self.buffer, "address": nowhere}
""",
}

HANDLERS = [
    *(pytest.param("numpy", body, id=f"numpy: {name}") for name, body in KEPT_BY_HANDLERS.items()),
    *(pytest.param("torch", body, id=f"torch: {name}") for name, body in KEPT_BY_TORCH_HANDLERS.items()),
]

NEW = {
    "numpy: the result of an operation": ("numpy", "y = x * 2", "y.__array_interface__['data'][0]"),
    "numpy: a view of what is new": ("numpy", "y = np.stack([x, x])[0]", "y.__array_interface__['data'][0]"),
    "numpy: an input that was copied": ("numpy", "y = x.copy(); y += 1", "y.__array_interface__['data'][0]"),
    "torch: the result of an operation": ("torch", "y = x * 2", "y.data_ptr()"),
    "torch: a view of what is new": ("torch", "y = torch.stack([x, x])[0]", "y.data_ptr()"),
    "torch: with a gradient": (
        "torch",
        "torch.set_grad_enabled(True); y = x * torch.nn.Parameter(torch.ones(1))",
        "y.data_ptr()",
    ),
}


@pytest.mark.parametrize("call", ["def __call__", "async def __call__"])
@pytest.mark.parametrize(("tensors", "body"), HANDLERS)
def test_what_a_handler_keeps_is_copied(loader: Any, tensors: str, body: str, call: str) -> None:
    files = handler(body, tensors=tensors, call=call)
    check_first_answer_stays(loader.serve(EagerBackend(), loader.source(files)))


@SIZES
@pytest.mark.parametrize("call", ["def __call__", "async def __call__"])
@pytest.mark.parametrize(("tensors", "statement", "where"), NEW.values(), ids=NEW)
def test_what_a_handler_makes_anew_is_not_copied(
    loader: Any, tensors: str, statement: str, where: str, call: str, size: int
) -> None:
    body = f'{statement}\nreturn {{"y": y, "address": np.array([{where}], np.uint64)}}'
    served = loader.serve(EagerBackend(), loader.source(handler(body, tensors=tensors, call=call)))
    for value in (1, 2, 3):
        answer = served.execute(numbers(value, size))
        assert address(answer["y"]) == answer["address"].item()


@pytest.fixture
def this_thread_is_an_instances() -> Iterator[None]:
    """Torch computes no gradients on the threads of instances; the test's has to do so again."""
    yield
    torch.set_grad_enabled(True)


@pytest.mark.usefixtures("this_thread_is_an_instances")
@pytest.mark.parametrize("call", ["def __call__", "async def __call__"])
def test_an_input_that_is_the_request_s_alone_is_answered_as_it_is(loader: Any, call: str) -> None:
    files = handler('x += 1\nreturn {"y": x, "address": nowhere}', call=call)
    served = loader.serve(EagerBackend(), loader.source(files))
    x = numbers(1)
    assert np.shares_memory(served.execute(x)["y"], x["x"])
    x["x"].flags.writeable = False
    answer = served.execute(x)["y"]
    assert not np.shares_memory(answer, x["x"])
    assert (answer.tolist(), x["x"].tolist()) == ([3] * 3, [2] * 3)


def test_a_handler_may_keep_its_requests(loader: Any, instance_thread: Any) -> None:
    body = """
if hasattr(self, "last"):
    self.last[0].inputs["x"][:] = -1
self.last = requests
return {"y": x, "address": nowhere}
"""
    files = handler(body)
    files["model.py"] = files["model.py"].replace("(self, inputs)", "(self, inputs, requests)")
    source = loader.source(files)
    instance = loader.load(EagerBackend(), source).instance(source.placements[0])
    answers = []
    for value in (1, 2, 3):
        asked = InferRequest("m", numbers(value))
        answers.append(instance.execute(asked.inputs, [asked])["y"])
    assert [answer.tolist() for answer in answers] == [[1] * 3, [2] * 3, [3] * 3]
    instance.close()


@pytest.mark.parametrize(("tensors", "body"), HANDLERS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_generator_keeps_is_copied(
    loader: Any, instance_thread: Any, tensors: str, body: str, asynchronous: bool
) -> None:
    call = "async def __call__" if asynchronous else "def __call__"
    files = handler(body.replace("return", "yield").replace("x + 0", "x * 1"), tensors=tensors, call=call)
    source = loader.source(files)
    instance = loader.load(EagerBackend(), source).instance(source.placements[0])

    async def first_async(value: float) -> Array:
        responses: AsyncIterator[Any] = instance.stream_async(numbers(value), InferRequest("m", {}))
        return (await anext(responses))["y"]

    def first(value: float) -> Array:
        responses: Iterator[Any] = instance.stream(numbers(value), InferRequest("m", {}))
        return next(responses)["y"]

    ask = (lambda value: asyncio.run(first_async(value))) if asynchronous else first
    answers = [ask(1), ask(2), ask(3)]
    assert [answer.tolist() for answer in answers] == [[1] * 3, [2] * 3, [3] * 3]
    instance.close()


@pytest.mark.usefixtures("this_thread_is_an_instances")
def test_a_generator_may_go_on_with_what_it_has_yielded(loader: Any) -> None:
    files = handler('y = x * 1\nfor _ in range(3):\n    yield {"y": y}\n    y += 1')
    source = loader.source(files)
    instance = loader.load(EagerBackend(), source).instance(source.placements[0])
    answers = [outputs["y"] for outputs in instance.stream(numbers(1), InferRequest("m", {}))]
    assert [answer.tolist() for answer in answers] == [[1] * 3, [2] * 3, [3] * 3]
    instance.close()


# --- TorchScript ------------------------------------------------------------------------------------------------


class View(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buf", torch.zeros(100_000))

    def forward(self, x: Tensor) -> Tensor:
        y = self.buf[: x.size(0)]
        y.copy_(x)
        return y


class Attribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.last.fill_(-1)
        self.last = x + 0
        return self.last


class AttributesView(Attribute):
    def forward(self, x: Tensor) -> Tensor:
        self.last.fill_(-1)
        self.last = x + 0
        return self.last[:]


class Weight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.weight.detach().copy_(x)
        return self.weight


class Echo(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class EchoView(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1)[:]


class LastInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.last.fill_(-1)
        self.last = x
        return x


def script(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


XY = """
input { name: "x" data_type: TYPE_FP32 dims: -1 } output { name: "y" data_type: TYPE_FP32 dims: -1 }
parameters { key: "INFERENCE_MODE" value { string_value: "%s" } }
"""


@pytest.mark.parametrize("inference_mode", ["true", "false"])
@pytest.mark.parametrize("module", [View, Attribute, AttributesView, Weight, Echo, EchoView, LastInput])
def test_what_a_torchscript_module_keeps_is_copied(
    loader: Any, module: type[nn.Module], inference_mode: str
) -> None:
    source = loader.source({"model.pt": script(module())})
    check_first_answer_stays(loader.serve(TorchScriptBackend(), source, XY % inference_mode))


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x * 2, x])[0]


@SIZES
@pytest.mark.parametrize("inference_mode", ["true", "false"])
def test_what_a_torchscript_module_makes_anew_is_not_copied(
    loader: Any, monkeypatch: pytest.MonkeyPatch, inference_mode: str, size: int
) -> None:
    served = loader.serve(
        TorchScriptBackend(), loader.source({"model.pt": script(Doubled())}), XY % inference_mode
    )
    made: list[int] = []
    call = torch.jit.RecursiveScriptModule.__call__

    def noting(self: Any, **arguments: Any) -> Any:
        returned = call(self, **arguments)
        made.append(returned.data_ptr())
        return returned

    monkeypatch.setattr(torch.jit.RecursiveScriptModule, "__call__", noting)
    for value in (1, 2, 3):
        assert address(served.execute(numbers(value, size))["y"]) == made[-1]


# --- ONNX -------------------------------------------------------------------------------------------------------


def onnx_model(kind: str) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    constant = helper.make_tensor("c", TensorProto.FLOAT, [3], [1, 2, 3])
    nodes, outputs, constants = [], [y], []
    match kind:
        case "echo":
            outputs = [x]
        case "identity":
            nodes = [helper.make_node("Identity", ["x"], ["y"])]
        case "constant":
            nodes, constants = [helper.make_node("Identity", ["c"], ["y"])], [constant]
        case "initializer":
            outputs = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])]
            constants = [constant]
        case "branch":
            then, other = (
                helper.make_graph(
                    [helper.make_node("Identity", ["x"], [name])],
                    name,
                    [],
                    [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])],
                )
                for name in ("then", "other")
            )
            nodes = [helper.make_node("If", ["t"], ["y"], then_branch=then, else_branch=other)]
            constants = [helper.make_tensor("t", TensorProto.BOOL, [], [True])]
    graph = helper.make_graph(nodes, "g", [x], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


@SIZES
@pytest.mark.parametrize("kind", ["echo", "identity", "constant", "initializer", "branch"])
def test_an_onnx_model_gives_memory_of_its_own(loader: Any, kind: str, size: int) -> None:
    settings = {"default-max-batch-size": "0"}
    served = loader.serve(OnnxBackend(), loader.source({"model.onnx": onnx_model(kind)}, settings=settings))
    x = numbers(1, size)
    first = served.execute(x)
    second = served.execute(numbers(2, size))
    (name,) = first
    before = first[name].tolist()
    assert not np.shares_memory(first[name], x["x"])
    assert not np.shares_memory(first[name], second[name])
    first_again = second[name].copy()
    first[name][:] = -1
    x["x"][:] = -2
    assert second[name].tolist() == first_again.tolist()
    assert served.execute(numbers(1, size))[name].tolist() == before
