"""CUDA shared memory with a real GPU: what the stand-in cannot show. Skipped where PyTorch finds no GPU."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils

from kserve_v2.memory.cuda import find_runtime
from tests.conftest import RunningServer
from tests.cuda.conftest import MakeMemory
from tests.cuda.device_memory import DeviceMemory
from tests.integration.clients import TritonClient

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and PyTorch with CUDA"),
]

COUNT = 1 << 20


@pytest.fixture(scope="module")
def gpu_server(start_with: Callable[[dict[str, str]], RunningServer]) -> RunningServer:
    """A server that finds the real libraries by itself."""
    return start_with({})


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, gpu_server: RunningServer) -> Iterator[TritonClient]:
    """tritonclient, over each protocol."""
    made = TritonClient(request.param, gpu_server)
    yield made
    made.unregister_cuda_shared_memory()
    made.close()


@pytest.fixture
def make_memory() -> Iterator[MakeMemory]:
    """Makes allocations on the GPU; they are gone after the test."""
    made: list[DeviceMemory] = []

    def make(byte_size: int, device: int = 0) -> DeviceMemory:
        made.append(DeviceMemory(find_runtime().library, byte_size, device))
        return made[-1]

    yield make
    for each in made:
        each.free()


class _Exported:
    """An allocation as PyTorch takes it: see "CUDA Array Interface" in Numba's documentation."""

    def __init__(self, memory: DeviceMemory) -> None:
        self.__cuda_array_interface__ = {
            "shape": (memory.byte_size // 2,),
            "typestr": "<f2",
            "data": (memory.address, False),
            "version": 3,
        }


def tensor_of(memory: DeviceMemory) -> Any:
    """A tensor of FP16 that is the allocation itself."""
    return torch.as_tensor(_Exported(memory), device=f"cuda:{memory.device}")


def test_tensors_of_torch_both_ways(client: TritonClient, make_memory: MakeMemory) -> None:
    size = COUNT * 2
    given, taken = make_memory(size), make_memory(size)
    values = torch.randn(COUNT, device="cuda:0", dtype=torch.float16)
    tensor_of(given).copy_(values)
    tensor_of(taken).zero_()
    torch.cuda.synchronize()
    for name, memory in (("given", given), ("taken", taken)):
        client.register_cuda_shared_memory(name, memory.encoded_handle, 0, size)
    module = tritonclient.http if client.is_http else tritonclient.grpc
    entry = module.InferInput("IN", [COUNT], "FP16")
    entry.set_shared_memory("given", size)
    output = module.InferRequestedOutput("OUT")
    output.set_shared_memory("taken", size)
    client.infer("id_fp16", [entry], outputs=[output])
    assert torch.equal(tensor_of(taken), values)


@pytest.mark.parametrize(
    ("raw_handle", "byte_size"), [(None, 1 << 50), (bytes(64), 64)], ids=["beyond the end", "no handle"]
)
def test_a_registration_that_is_refused(
    client: TritonClient, make_memory: MakeMemory, raw_handle: bytes | None, byte_size: int
) -> None:
    memory = make_memory(1 << 22)
    encoded = memory.encoded_handle if raw_handle is None else b64encode(raw_handle)
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.register_cuda_shared_memory("r", encoded, 0, byte_size)
    assert caught.value.message().startswith("failed to register CUDA shared memory region 'r': ")
    assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_a_name_can_be_registered_again(client: TritonClient, make_memory: MakeMemory) -> None:
    memory = make_memory(1 << 22)
    for _ in range(3):
        client.register_cuda_shared_memory("r", memory.encoded_handle, 0, memory.byte_size)
        client.unregister_cuda_shared_memory("r")
