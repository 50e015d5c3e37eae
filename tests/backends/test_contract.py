"""What the server may rely on, whichever backend it loads: one suite over the fake and all real ones."""

import gc
import io
import operator
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_backends.eager.backend import EagerBackend
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.pytorch.exported.backend import ExportedBackend
from kserve_v2_backends.pytorch.torchscript.backend import TorchScriptBackend
from onnx import TensorProto, helper

from kserve_v2.backend import AsyncInstance, Backend, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import BOOL, BY_CONFIG_ENUM, BYTES, DATATYPES, FP32, Array, Datatype

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
]

IDENTITY_CONFIG = """
max_batch_size: 4
input {{ name: "x" data_type: {type} dims: -1 }}
output {{ name: "y" data_type: {type} dims: -1 }}
dynamic_batching {{ }}
"""


@dataclass(frozen=True)
class Candidate:
    """A backend, and how to make an identity model for it: input `x` to output `y`, batches of up to 4 rows.
    A `picky` one fails on FP32 rows of any length but 1 and 3.

    `shared`: path from an instance to the object that all instances of a device share. `declares`: whether
    the file itself says what the inputs and outputs are.
    """

    make: Callable[[ModuleType], Backend]
    identity: Callable[[Datatype], Mapping[str, str | bytes]]
    picky: Callable[[], Mapping[str, str | bytes]]
    shared: str
    declares: bool = True
    lacks: frozenset[Datatype] = frozenset()

    def config(self, datatype: Datatype) -> str:
        """What has to stand in config.pbtxt."""
        return "" if self.declares else IDENTITY_CONFIG.format(type=datatype.config_name)


def fake_identity(datatype: Datatype) -> dict[str, str | bytes]:
    return {"model.fake": f"max_batch_size 4\ninput x {datatype.name} -1\noutput y {datatype.name} -1\n"}


ONNX_TYPES = {
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING, "BF16": TensorProto.BFLOAT16,
}  # fmt: skip


def onnx_model(onnx_type: int, node: Any, initializers: list[Any]) -> dict[str, str | bytes]:
    graph = helper.make_graph(
        [node],
        "identity",
        [helper.make_tensor_value_info("x", onnx_type, ["batch", "n"])],
        [helper.make_tensor_value_info("y", onnx_type, ["batch", "n"])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return {"model.onnx": model.SerializeToString()}


def onnx_identity(datatype: Datatype) -> dict[str, str | bytes]:
    onnx_type = ONNX_TYPES.get(datatype.name) or TensorProto.DataType.Value(datatype.name)
    return onnx_model(onnx_type, helper.make_node("Identity", ["x"], ["y"]), [])


def onnx_picky() -> dict[str, str | bytes]:
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [3], [0.0] * 3)
    return onnx_model(TensorProto.FLOAT, helper.make_node("Add", ["x", "zeros"], ["y"]), [zeros])


class IdentityModule(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class PickyModule(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(3)


def torchscript_model(module: torch.nn.Module) -> dict[str, str | bytes]:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return {"model.pt": buffer.getvalue()}


class PickyLookup(torch.nn.Module):
    """Fails in a kernel, whose demands are not in the file."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place = (3 - x.sum()).to(torch.int64).reshape(1)
        return x + torch.zeros(1).index_select(0, place)


class Named(torch.nn.Module):
    """Another module, whose result is called `y`."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": self.module(x)}


def exported_model(module: torch.nn.Module, datatype: Datatype) -> dict[str, str | bytes]:
    dtype = getattr(torch, datatype.dtype.name) if datatype is not BYTES else torch.uint8
    varying = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.AUTO}
    example = torch.zeros(2, 3, dtype=dtype)
    program = torch.export.export(Named(module), (example,), dynamic_shapes={"x": varying})
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return {"model.pt2": buffer.getvalue()}


def eager_model(tensors: str, datatype: Datatype, expression: str) -> dict[str, str | bytes]:
    return {
        "model.py": f"""
class Model:
    inputs = {{"x": ("{datatype.name}", [-1])}}
    outputs = {{"y": ("{datatype.name}", [-1])}}
    max_batch_size = 4
    tensors = "{tensors}"
    thread_safe = True

    def load(self, context):
        self.framework = __import__("{tensors}")

    def __call__(self, inputs):
        return {{"y": {expression}}}
"""
    }


def eager(tensors: str) -> Candidate:
    return Candidate(
        make=lambda _: EagerBackend(),
        identity=lambda datatype: eager_model(tensors, datatype, "inputs['x']"),
        picky=lambda: eager_model(
            tensors, FP32, "inputs['x'] + self.framework.zeros(3, dtype=inputs['x'].dtype)"
        ),
        shared="_handler.model",
    )


CANDIDATES = {
    "fake": Candidate(
        make=lambda fake: fake.FakeBackend(),
        identity=fake_identity,
        picky=lambda: fake_identity(FP32),
        shared="model",
    ),
    "onnxruntime": Candidate(
        make=lambda _: OnnxBackend(), identity=onnx_identity, picky=onnx_picky, shared="_session"
    ),
    "pytorch": Candidate(
        make=lambda _: TorchScriptBackend(),
        identity=lambda _: torchscript_model(IdentityModule()),
        picky=lambda: torchscript_model(PickyModule()),
        shared="_called",
        declares=False,
        lacks=frozenset({BYTES}),
    ),
    "pytorch-export": Candidate(
        make=lambda _: ExportedBackend(),
        identity=lambda datatype: exported_model(IdentityModule(), datatype),
        picky=lambda: exported_model(PickyLookup(), FP32),
        shared="_module",
        lacks=frozenset({BYTES}),
    ),
    "python-numpy": eager("numpy"),
    "python-torch": eager("torch"),
}


@pytest.fixture(params=CANDIDATES.values(), ids=CANDIDATES.keys())
def candidate(request: pytest.FixtureRequest) -> Candidate:
    chosen: Candidate = request.param
    return chosen


@pytest.fixture
def backend(candidate: Candidate, fake: ModuleType) -> Backend:
    return candidate.make(fake)


def some_array(datatype: Datatype, shape: tuple[int, int]) -> Array:
    """Values of every bit pattern, except that a BOOL is 0 or 1."""
    random = np.random.default_rng(7)
    if datatype is BYTES:
        texts = [b"", "naïve ☃".encode(), b"a\0b", b"x" * 300]
        return np.array([texts[i % 4] for i in range(shape[0] * shape[1])], object).reshape(shape)
    if datatype is BOOL:
        return random.integers(0, 2, shape).astype(bool)
    return np.frombuffer(random.bytes(shape[0] * shape[1] * datatype.item_size), datatype.dtype).reshape(
        shape
    )


def same(left: Array, right: Array) -> bool:
    """Equal datatype, shape and bits."""
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    return left.tolist() == right.tolist() if left.dtype == object else left.tobytes() == right.tobytes()


def test_a_backend_says_what_it_is(backend: Backend) -> None:
    assert backend.default_filename.startswith("model.")
    assert isinstance(backend.platform, str)
    assert backend.gpu_count() >= 0


def test_completion_fills_everything_and_changes_nothing(
    loader: Any, candidate: Candidate, backend: Backend
) -> None:
    source = loader.source(candidate.identity(FP32))
    config = loader.complete(backend, source, candidate.config(FP32))
    (x,), (y,) = config.input, config.output
    assert (x.name, BY_CONFIG_ENUM[x.data_type].name, list(x.dims)) == ("x", "FP32", [-1])
    assert (y.name, BY_CONFIG_ENUM[y.data_type].name, list(y.dims)) == ("y", "FP32", [-1])
    assert config.max_batch_size == 4
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    again = type(config)()
    again.CopyFrom(config)
    backend.complete(source, again)
    assert again == config


@pytest.mark.parametrize("datatype", DATATYPES, ids=lambda datatype: datatype.name)
@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (2, 0)], ids=str)
def test_every_datatype_and_shape_comes_through_bit_by_bit(
    loader: Any, candidate: Candidate, backend: Backend, datatype: Datatype, shape: tuple[int, int]
) -> None:
    if datatype in candidate.lacks:
        pytest.skip("the framework has no such tensors")
    served = loader.serve(backend, loader.source(candidate.identity(datatype)), candidate.config(datatype))
    for array in (some_array(datatype, shape), some_array(datatype, shape).copy()):
        before = array.copy()
        array.flags.writeable = False
        output = served.execute({"x": array})["y"]
        assert same(output, before)
        assert output.flags.c_contiguous
        assert same(array, before)


def test_an_instance_can_be_used_again_and_again(loader: Any, candidate: Candidate, backend: Backend) -> None:
    served = loader.serve(backend, loader.source(candidate.identity(FP32)), candidate.config(FP32))
    assert not isinstance(served.instance, AsyncInstance)
    inputs = [np.full((1 + n % 4, 2), n, np.float32) for n in range(20)]
    outputs = [served.execute({"x": array})["y"] for array in inputs]
    assert all(same(output, array) for output, array in zip(outputs, inputs, strict=True))


def test_a_failing_execution_is_no_fault_of_the_client_and_leaves_the_instance_usable(
    loader: Any, candidate: Candidate, fake: ModuleType
) -> None:
    backend = candidate.make(fake)
    if isinstance(backend, fake.FakeBackend):
        backend = fake.FakeBackend(lambda tensors: np.broadcast_shapes(tensors["x"].shape, (3,)))
    served = loader.serve(backend, loader.source(candidate.picky()), candidate.config(FP32))
    good, bad = np.ones((1, 3), np.float32), np.ones((1, 2), np.float32)
    for _ in range(2):
        assert same(served.execute({"x": good})["y"], good)
        with pytest.raises((InternalError, ValueError, RuntimeError)):
            served.execute({"x": bad})


def test_instances_share_the_weights_and_closing_releases_them(
    loader: Any, candidate: Candidate, backend: Backend, instance_thread: Any
) -> None:
    source = loader.source(candidate.identity(FP32), instances=2)
    model = backend.load(source, loader.complete(backend, source, candidate.config(FP32)))
    threads = [instance_thread(model, placement) for placement in source.placements]
    weights = [operator.attrgetter(candidate.shared)(thread.instance) for thread in threads]
    assert weights[0] is weights[1]
    alive = weakref.ref(weights[0])
    del weights
    array = np.ones((2, 2), np.float32)
    assert all(same(thread.execute({"x": array})["y"], array) for thread in threads)
    threads[0].close()
    assert same(threads[1].execute({"x": array})["y"], array)
    threads[1].close()
    model.close()
    del model, threads
    gc.collect()
    assert alive() is None


def test_two_versions_are_independent(loader: Any, candidate: Candidate, backend: Backend) -> None:
    text = candidate.config(FP32)
    old = backend.load(
        first := loader.source(candidate.identity(FP32), version=1), loader.complete(backend, first, text)
    )
    served = loader.serve(backend, loader.source(candidate.identity(FP32), version=2), text)
    old.close()
    array = np.ones((1, 2), np.float32)
    assert same(served.execute({"x": array})["y"], array)


def test_a_missing_file_is_the_operators_mistake(loader: Any, candidate: Candidate, backend: Backend) -> None:
    source = loader.source({})
    config = loader.config(backend, source, candidate.config(FP32))
    with pytest.raises(InvalidArgumentError, match=backend.default_filename):
        backend.load(source, config)
    if candidate.declares:
        with pytest.raises(InvalidArgumentError, match=backend.default_filename):
            backend.complete(source, config)


def test_a_contradiction_is_the_operators_mistake(
    loader: Any, candidate: Candidate, backend: Backend
) -> None:
    source = loader.source(candidate.identity(FP32))
    text = candidate.config(FP32).replace('"x"', '"z__7"') or 'input { name: "z__7" }'
    with pytest.raises(InvalidArgumentError, match="'z__7'"):
        loader.load(backend, source, text)


def test_files_are_found_under_another_name(loader: Any, candidate: Candidate, backend: Backend) -> None:
    renamed = backend.default_filename.replace("model.", "other.")
    (content,) = candidate.identity(FP32).values()
    files = {renamed: content}
    text = candidate.config(FP32) + f'default_model_filename: "{renamed}"'
    array = np.ones((1, 2), np.float32)
    assert same(loader.serve(backend, loader.source(files), text).execute({"x": array})["y"], array)


def test_the_placements_device_is_spelt_as_in_pytorch() -> None:
    assert Placement("m_0_0", "CPU").device == "cpu"
    assert Placement("m_0_0", "GPU", 2).device == "cuda:2"
