"""CUDA shared memory over both protocols, with tritonclient and with bare requests.

All is real but the GPU: a stand-in for libcudart, compiled by the fixture, keeps "device" memory in the host's. This
process is the client and makes the allocations. With a GPU see `test_gpu`. Texts start as Triton's do.
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.cuda.conftest import MakeMemory
from tests.cuda.device_memory import DeviceMemory
from tests.integration.clients import KINDS, TritonClient
from tests.integration.grpc_requests import STATUS, Channel, request_of
from tests.integration.support import EDGE_VALUES, Array, error_of, same

FP32_IN = {"name": "IN", "datatype": "FP32", "shape": [1, 3]}
SYSTEM = "/v2/systemsharedmemory"
CUDA = "/v2/cudasharedmemory"


@pytest.fixture(autouse=True)
def nothing_stays_registered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves no region behind, neither registered nor mapped, and a server that answers."""
    yield
    if "cuda_server" in request.fixturenames:
        server: RunningServer = request.getfixturevalue("cuda_server")
        for kind in (SYSTEM, CUDA):
            assert server.post(f"{kind}/unregister").status_code == 200
        assert mapped(server) == []
        answer = server.infer("bat", {"inputs": [{**FP32_IN, "data": [1, 2, 3]}]})
        assert answer.json()["outputs"][0]["data"] == [1, 2, 3]


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, cuda_server: RunningServer) -> Iterator[TritonClient]:
    """Each of tritonclient's clients."""
    made = TritonClient(request.param, cuda_server)
    yield made
    made.close()


def mapped(server: RunningServer) -> list[str]:
    """The allocations that the server has open."""
    lines = Path(f"/proc/{server.process.pid}/maps").read_text().splitlines()
    return sorted(line.split(maxsplit=5)[-1] for line in lines if "/cuda_standin_" in line)


def object_of(memory: DeviceMemory) -> Path:
    """Where the stand-in keeps an allocation."""
    return Path("/dev/shm", memory.raw_handle.rstrip(b"\0").decode().lstrip("/"))  # noqa: S108


def module_of(client: TritonClient) -> ModuleType:
    """Where the classes of a client's tensors are."""
    return tritonclient.http if client.is_http else tritonclient.grpc


def shared_input(
    client: TritonClient, name: str, datatype: str, array: Array, region: str, size: int, offset: int = 0
) -> Any:
    made = module_of(client).InferInput(name, list(array.shape), datatype)
    made.set_shared_memory(region, size, offset)
    return made


def shared_output(client: TritonClient, name: str, region: str, size: int, offset: int = 0) -> Any:
    made = module_of(client).InferRequestedOutput(name)
    made.set_shared_memory(region, size, offset)
    return made


def registration(memory: DeviceMemory, **changes: Any) -> dict[str, Any]:
    """The body that registers an allocation over REST."""
    handle = {"b64": memory.encoded_handle.decode()}
    body = {"raw_handle": handle, "device_id": memory.device, "byte_size": memory.byte_size, **changes}
    return {name: value for name, value in body.items() if value is not None}


def register(server: RunningServer, memory: DeviceMemory, name: str = "r", **changes: Any) -> None:
    answer = server.post(f"{CUDA}/region/{name}/register", json=registration(memory, **changes))
    assert (answer.status_code, answer.content) == (200, b"")


# --- with tritonclient --------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", ["FP16", "INT64", "BYTES"])
@pytest.mark.parametrize("devices", [(0, 0), (0, 1), (1, 0)])
def test_tensors_on_devices(
    client: TritonClient, make_memory: MakeMemory, datatype: str, devices: tuple[int, int]
) -> None:
    values = EDGE_VALUES[datatype]
    given, taken = (make_memory(4096, device) for device in devices)
    for name, memory in (("given", given), ("taken", taken)):
        client.register_cuda_shared_memory(name, memory.encoded_handle, memory.device, memory.byte_size)
    size = given.put(values, 3)
    result = client.infer(
        f"id_{datatype.lower()}",
        [shared_input(client, "IN", datatype, values, "given", size, 3)],
        outputs=[shared_output(client, "OUT", "taken", size + 10, 5)],
    )
    assert result.get_output("OUT")
    assert same(taken.get(values, 5, size), values)


def test_several_requests_on_the_same_regions(client: TritonClient, make_memory: MakeMemory) -> None:
    # The way of tritonclient's examples.
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    memory = make_memory(32)
    client.register_cuda_shared_memory("r", memory.encoded_handle, 0, 32)
    a, b = np.array([[1, 2]], np.int32), np.array([[10, 20]], np.int32)
    memory.put(b, 8)
    inputs = [shared_input(client, name, "INT32", a, "r", 8, at) for name, at in (("A", 0), ("B", 8))]
    outputs = [shared_output(client, name, "r", 8, at) for name, at in (("X", 16), ("Y", 24))]
    for factor in (1, 2):
        # The second request finds what the client has written since.
        memory.put(a * factor)
        client.infer("two", inputs, outputs=outputs)
        assert same(memory.get(a, 16), a * factor + b)
        assert same(memory.get(a, 24), a * factor - b)


def test_tensors_on_a_device_and_in_the_message(client: TritonClient, make_memory: MakeMemory) -> None:
    memory = make_memory(16)
    client.register_cuda_shared_memory("r", memory.encoded_handle, 0, 16)
    a, b = np.array([[1, 2]], np.int32), np.array([[10, 20]], np.int32)
    memory.put(a)
    result = client.infer(
        "two",
        [shared_input(client, "A", "INT32", a, "r", 8), client.input("B", "INT32", b)],
        outputs=[client.output("X"), shared_output(client, "Y", "r", 8, 8)],
    )
    assert same(result.as_numpy("X"), a + b)
    assert same(memory.get(a, 8), a - b)


def test_a_device_and_system_memory_in_one_request(
    client: TritonClient, make_memory: MakeMemory, tmp_path: Path
) -> None:
    values = np.array([[1, 2, 3]], np.float32)
    memory, system = make_memory(12), make_memory(12)
    memory.put(values)
    client.register_cuda_shared_memory("cuda", memory.encoded_handle, 0, 12)
    # To the system an allocation of the stand-in is an object like any other.
    client.register_system_shared_memory("system", object_of(system).name, 12)
    client.infer(
        "bat",
        [shared_input(client, "IN", "FP32", values, "cuda", 12)],
        outputs=[shared_output(client, "OUT", "system", 12)],
    )
    assert same(system.get(values), values)


def test_the_status_of_regions(client: TritonClient, make_memory: MakeMemory) -> None:
    first, second = make_memory(64), make_memory(128, 1)
    client.register_cuda_shared_memory("r2", second.encoded_handle, 1, 100)
    client.register_cuda_shared_memory("r1", first.encoded_handle, 0, 64)
    expected = [
        {"name": "r1", "device_id": 0, "byte_size": 64},
        {"name": "r2", "device_id": 1, "byte_size": 100},
    ]
    assert regions_of(client) == expected
    assert regions_of(client, "r2") == expected[1:]
    for _ in range(2):
        client.unregister_cuda_shared_memory("r1")
        assert regions_of(client) == expected[1:]
    client.unregister_cuda_shared_memory()
    assert regions_of(client) == []


def regions_of(client: TritonClient, name: str = "") -> list[dict[str, Any]]:
    """The answer of the status call, in one form for both protocols."""
    answer = client.get_cuda_shared_memory_status(name)
    if client.is_http:
        return list(answer)
    return [
        {"name": key, "device_id": region.device_id, "byte_size": region.byte_size}
        for key, region in sorted(answer.regions.items())
    ]


def test_the_extension_is_advertised(client: TritonClient) -> None:
    extensions = client.as_dict(client.get_server_metadata())["extensions"]
    assert extensions[-2:] == ["system_shared_memory", "cuda_shared_memory"]


# --- one set of names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken_by", ["system", "cuda"])
@pytest.mark.parametrize("asked_of", ["system", "cuda"])
def test_a_name_is_taken_by_either_kind(
    cuda_server: RunningServer, make_memory: MakeMemory, taken_by: str, asked_of: str
) -> None:
    memory = make_memory(64)
    bodies = {"cuda": registration(memory), "system": {"key": object_of(memory).name, "byte_size": 64}}
    path = f"/v2/{taken_by}sharedmemory/region/r/register"
    assert cuda_server.post(path, json=bodies[taken_by]).status_code == 200
    answer = cuda_server.post(f"/v2/{asked_of}sharedmemory/region/r/register", json=bodies[asked_of])
    assert (answer.status_code, error_of(answer)) == (409, "shared memory region 'r' already in manager")


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_a_region_of_the_other_kind(
    cuda_server: RunningServer, cuda_channel: Channel, make_memory: MakeMemory, kind: str
) -> None:
    memory = make_memory(64)
    if kind == "cuda":
        body = {"key": object_of(memory).name, "byte_size": 64}
        assert cuda_server.post(f"{SYSTEM}/region/r/register", json=body).status_code == 200
        text = "The region named 'r' is registered as system shared memory, not CUDA shared memory"
        other = SYSTEM
    else:
        register(cuda_server, memory)
        text = "The region named 'r' is registered as CUDA shared memory, not system shared memory"
        other = CUDA
    answer = cuda_server.get(f"/v2/{kind}sharedmemory/region/r/status")
    assert (answer.status_code, error_of(answer)) == (404, text)
    method = f"{kind.title()}SharedMemoryStatus"
    message, response = getattr(pb, f"{method}Request")(name="r"), getattr(pb, f"{method}Response")
    assert cuda_channel.fails(method, message, response) == (STATUS.NOT_FOUND, text)
    for path in ("unregister", "region/r/unregister"):
        assert cuda_server.post(f"/v2/{kind}sharedmemory/{path}").status_code == 200
    assert cuda_server.get(f"/v2/{kind}sharedmemory/status").json() == []
    assert [region["name"] for region in cuda_server.get(f"{other}/status").json()] == ["r"]


# --- errors of a registration -------------------------------------------------------------------------------


def b64(raw: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(raw).decode()}


REFUSED = "failed to register CUDA shared memory region 'r': "
NO_HANDLE = "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t: got 63 bytes, expected 64"
WRONG_HANDLE = (
    f"{REFUSED}failed to open CUDA IPC handle: cudaIpcOpenMemHandle: invalid argument (CUDA error 1)"
)
GONE = (
    f"{REFUSED}failed to open CUDA IPC handle: cudaIpcOpenMemHandle: invalid resource handle (CUDA error 400)"
)
TOO_SMALL = f"{REFUSED}invalid args: byte_size 65 is beyond the end of the allocation, which has 64 bytes"

# What is changed of a good request for 64 bytes, and the text.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"raw_handle": bytes(63)}, NO_HANDLE),
    ({"raw_handle": bytes(64)}, WRONG_HANDLE),
    ({"raw_handle": b"/cuda_standin_none".ljust(64, b"\0")}, GONE),
    ({"device_id": 2}, f"{REFUSED}device_id is 2, expected 0 to 1"),
    ({"device_id": 2**62}, f"{REFUSED}device_id is {2**62}, expected 0 to 1"),
    ({"byte_size": 0}, f"{REFUSED}byte_size is 0"),
    ({"byte_size": 65}, TOO_SMALL),
    ({"byte_size": 2**64 - 1}, TOO_SMALL.replace("65", str(2**64 - 1))),
]


@pytest.mark.parametrize(("changes", "text"), WRONG)
def test_a_registration_that_is_refused(
    cuda_server: RunningServer,
    cuda_channel: Channel,
    make_memory: MakeMemory,
    changes: dict[str, Any],
    text: str,
) -> None:
    memory = make_memory(64)
    rest = {name: b64(value) if name == "raw_handle" else value for name, value in changes.items()}
    answer = cuda_server.post(f"{CUDA}/region/r/register", json=registration(memory, **rest))
    assert (answer.status_code, error_of(answer)) == (400, text)
    fields = {"raw_handle": memory.raw_handle, "device_id": 0, "byte_size": 64, **changes}
    assert refused_over_grpc(cuda_channel, **fields) == (STATUS.INVALID_ARGUMENT, text)
    assert cuda_server.get(f"{CUDA}/status").json() == []
    assert mapped(cuda_server) == []


def refused_over_grpc(channel: Channel, **fields: Any) -> tuple[grpc.StatusCode, str]:
    """Status and details of a registration as `r`."""
    message = pb.CudaSharedMemoryRegisterRequest(name="r", **fields)
    return channel.fails("CudaSharedMemoryRegister", message, pb.CudaSharedMemoryRegisterResponse)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"device_id": None}, "Shared memory register request has no 'device_id' field"),
        ({"byte_size": None}, "Shared memory register request has no 'byte_size' field"),
        ({"device_id": -1}, "attempt to access JSON non-unsigned-integer as unsigned-integer: 'device_id' "),
        (
            {"byte_size": "64"},
            "attempt to access JSON non-unsigned-integer as unsigned-integer: 'byte_size' ",
        ),
    ],
)
def test_more_that_is_refused_over_rest(
    cuda_server: RunningServer, make_memory: MakeMemory, changes: dict[str, Any], text: str
) -> None:
    answer = cuda_server.post(f"{CUDA}/region/r/register", json=registration(make_memory(64), **changes))
    assert answer.status_code == 400
    assert error_of(answer).startswith(text)


def test_more_that_is_refused_over_grpc(cuda_server: RunningServer, cuda_channel: Channel) -> None:
    code, details = refused_over_grpc(cuda_channel, raw_handle=bytes(64), device_id=-1, byte_size=64)
    assert (code, details) == (
        STATUS.INVALID_ARGUMENT,
        f"{REFUSED}device_id is -1, expected 0 to 1",
    )


def test_an_allocation_that_cannot_be_mapped(
    cuda_server: RunningServer, cuda_channel: Channel, make_memory: MakeMemory
) -> None:
    memory = make_memory(64)
    object_of(memory).write_bytes(b"")
    text = (
        f"{REFUSED}failed to open CUDA IPC handle: cudaIpcOpenMemHandle: mapping of buffer object failed "
        "(CUDA error 205)"
    )
    answer = cuda_server.post(f"{CUDA}/region/r/register", json=registration(memory))
    assert (answer.status_code, error_of(answer)) == (500, text)
    fields = {"raw_handle": memory.raw_handle, "device_id": 0, "byte_size": 64}
    assert refused_over_grpc(cuda_channel, **fields) == (STATUS.INTERNAL, text)


# --- errors of an inference ---------------------------------------------------------------------------------


def place(**parameters: Any) -> dict[str, Any]:
    """Parameters of the tensor of `bat`, on the device."""
    return {"shared_memory_region": "r", "shared_memory_byte_size": 12, **parameters}


def from_device(**parameters: Any) -> dict[str, Any]:
    """A request whose input is on the device."""
    return {"inputs": [{**FP32_IN, "parameters": place(**parameters)}]}


def to_device(**parameters: Any) -> dict[str, Any]:
    """A request whose output goes to the device."""
    outputs = [{"name": "OUT", "parameters": place(**parameters)}]
    return {"inputs": [{**FP32_IN, "data": [1, 2, 3]}], "outputs": outputs}


FAR = "Invalid offset for shared memory region: 'r': got 64, the region has 64 bytes"
LONG = "Invalid offset + byte size for shared memory region: 'r': got 53 + 12, the region has 64 bytes"
SMALL = (
    "shared memory size specified with the request for output 'OUT' (8 bytes) should be at least 12 bytes to hold "
    "the results"
)
UNKNOWN = "Unable to find shared memory region: 'zz'"
Body = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("body", "parameters", "status", "text"),
    [
        *((body, {"shared_memory_region": "zz"}, 404, UNKNOWN) for body in (from_device, to_device)),
        *((body, {"shared_memory_offset": 64}, 400, FAR) for body in (from_device, to_device)),
        *((body, {"shared_memory_offset": 53}, 400, LONG) for body in (from_device, to_device)),
        (to_device, {"shared_memory_byte_size": 8}, 500, SMALL),
    ],
)
def test_a_use_that_is_refused(
    cuda_server: RunningServer,
    make_memory: MakeMemory,
    body: Body,
    parameters: dict[str, Any],
    status: int,
    text: str,
) -> None:
    # The allocation goes on beyond the end of the region.
    register(cuda_server, make_memory(128), byte_size=64)
    answer = cuda_server.infer("bat", body(**parameters))
    assert (answer.status_code, error_of(answer)) == (status, text)


def test_a_region_that_was_unregistered(cuda_server: RunningServer, make_memory: MakeMemory) -> None:
    register(cuda_server, make_memory(64))
    assert len(mapped(cuda_server)) == 1
    assert cuda_server.post(f"{CUDA}/region/r/unregister").status_code == 200
    assert mapped(cuda_server) == []
    answer = cuda_server.infer("bat", from_device())
    assert (answer.status_code, error_of(answer)) == (404, "Unable to find shared memory region: 'r'")


def test_a_copy_that_fails(
    cuda_server: RunningServer, cuda_channel: Channel, make_memory: MakeMemory
) -> None:
    memory = make_memory(64)
    register(cuda_server, memory)
    object_of(memory).write_bytes(b"")
    text = (
        "Unable to {} shared memory region: 'r': cudaMemcpyAsync: an illegal memory access was encountered "
        "(CUDA error 700)"
    )
    for body, what in ((from_device, "read from"), (to_device, "write to")):
        answer = cuda_server.infer("bat", body())
        assert (answer.status_code, error_of(answer)) == (500, text.format(what))
    parameters = {
        "shared_memory_region": pb.InferParameter(string_param="r"),
        "shared_memory_byte_size": pb.InferParameter(int64_param=12),
    }
    tensor = pb.ModelInferRequest.InferInputTensor(**FP32_IN, parameters=parameters)
    code, details = cuda_channel.infer_fails(request_of("bat", tensor))
    assert (code, details) == (STATUS.INTERNAL, text.format("read from"))
