"""Tensors in system shared memory, with real clients and with bare requests. Texts start as Triton's do."""

import base64
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils
import tritonclient.utils.shared_memory as shm

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, launch
from tests.integration.clients import KINDS, TritonClient
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.rest_requests import IN, post_binary, read_binary
from tests.integration.support import (
    EDGE_VALUES,
    Array,
    Gate,
    Wire,
    error_of,
    gated_request,
    new_tag,
    same,
    wait_until,
)

ENABLE = "--allow-client-shm=true"
DISABLED = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shm_server(start_server: StartServer, repository: Path) -> RunningServer:
    """A server whose clients may use shared memory, and which sees no GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        return start_server(repository, ENABLE)


@pytest.fixture(scope="module")
def shm_channel(shm_server: RunningServer) -> Iterator[Channel]:
    """A gRPC connection to it."""
    with Channel(shm_server) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_stays_registered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves no region behind, and a server that answers."""
    yield
    if "shm_server" in request.fixturenames:
        server: RunningServer = request.getfixturevalue("shm_server")
        assert server.post("/v2/systemsharedmemory/unregister").status_code == 200
        answer = server.infer("bat", {"inputs": [IN]})
        assert answer.json()["outputs"][0]["data"] == [1, 2, 3]


@dataclass(frozen=True)
class SharedObject:
    """A shared memory object of the client."""

    key: str
    handle: Any

    @property
    def path(self) -> Path:
        """Its file."""
        return Path("/dev/shm", self.key)  # noqa: S108 - the system's place for them

    def put(self, array: Array, offset: int = 0) -> int:
        """Write a tensor; returns its size in bytes."""
        if array.dtype == np.object_:
            array = tritonclient.utils.serialize_byte_tensor(array)
        shm.set_shared_memory_region(self.handle, [array], offset)
        return len(array.item()) if array.dtype == np.object_ else array.nbytes

    def get(self, like: Array, offset: int = 0) -> Array:
        """Read a tensor of the form of `like`."""
        return np.array(shm.get_contents_as_numpy(self.handle, like.dtype, like.shape, offset))


@pytest.fixture
def make_object() -> Iterator[Callable[[int], SharedObject]]:
    """Makes shared memory objects with tritonclient; they are gone after the test."""
    made: list[SharedObject] = []

    def make(byte_size: int) -> SharedObject:
        key = f"test_{os.getpid()}_{next(_numbers)}"
        made.append(SharedObject(key, shm.create_shared_memory_region("r", key, byte_size, create_only=True)))
        return made[-1]

    yield make
    for each in made:
        shm.destroy_shared_memory_region(each.handle)


MakeObject = Callable[[int], SharedObject]


def objects_in_use(server: RunningServer) -> list[str]:
    """The objects in /dev/shm that the server's process has mapped or open."""
    process = Path(f"/proc/{server.process.pid}")
    mapped = [line.split(maxsplit=5)[-1] for line in (process / "maps").read_text().splitlines()]
    opened = [str(link.readlink()) for link in (process / "fd").iterdir() if link.is_symlink()]
    return sorted({name for name in mapped + opened if name.startswith("/dev/shm/")})  # noqa: S108


def register(
    server: RunningServer, shared: SharedObject, name: str = "r", offset: int = 0, **body: Any
) -> None:
    """Register a region over REST: the whole object by default."""
    size = shared.path.stat().st_size - offset
    answer = server.post(
        f"/v2/systemsharedmemory/region/{name}/register",
        json={"key": shared.key, "offset": offset, "byte_size": size, **body},
    )
    assert (answer.status_code, answer.content) == (200, b"")


def module_of(client: TritonClient) -> ModuleType:
    """Where the classes of a client's tensors are."""
    return tritonclient.http if client.is_http else tritonclient.grpc


def shared_input(
    client: TritonClient, name: str, datatype: str, array: Array, size: int, offset: int = 0
) -> Any:
    made = module_of(client).InferInput(name, list(array.shape), datatype)
    made.set_shared_memory("r", size, offset)
    return made


def shared_output(client: TritonClient, name: str, size: int, offset: int = 0) -> Any:
    made = module_of(client).InferRequestedOutput(name)
    made.set_shared_memory("r", size, offset)
    return made


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, shm_server: RunningServer) -> Iterator[TritonClient]:
    """Each of tritonclient's clients."""
    made = TritonClient(request.param, shm_server)
    yield made
    made.close()


# --- with tritonclient --------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", sorted(EDGE_VALUES))
def test_every_datatype_both_ways(client: TritonClient, make_object: MakeObject, datatype: str) -> None:
    values = EDGE_VALUES[datatype]
    shared = make_object(8192)
    # Neither the region nor the tensors are aligned.
    size = shared.put(values, 101)
    client.register_system_shared_memory("r", shared.key, 8000, 100)
    result = client.infer(
        f"id_{datatype.lower()}",
        [shared_input(client, "IN", datatype, values, size, 1)],
        outputs=[shared_output(client, "OUT", size, 4003)],
    )
    assert result.get_output("OUT")
    assert same(shared.get(values, 4103), values)


def test_several_requests_on_the_same_regions(client: TritonClient, make_object: MakeObject) -> None:
    # The way of tritonclient's examples.
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    shared = make_object(32)
    client.register_system_shared_memory("r", shared.key, 32)
    a, b = np.array([[1, 2]], np.int32), np.array([[10, 20]], np.int32)
    shared.put(b, 8)
    inputs = [shared_input(client, name, "INT32", a, 8, at) for name, at in (("A", 0), ("B", 8))]
    outputs = [shared_output(client, name, 8, at) for name, at in (("X", 16), ("Y", 24))]
    for factor in (1, 2):
        # The second request finds what the client has written since.
        shared.put(a * factor)
        client.infer("two", inputs, outputs=outputs)
        assert same(shared.get(a, 16), a * factor + b)
        assert same(shared.get(a, 24), a * factor - b)


def test_shared_and_sent_tensors_in_one_request(client: TritonClient, make_object: MakeObject) -> None:
    shared = make_object(16)
    client.register_system_shared_memory("r", shared.key, 16)
    a, b = np.array([[1, 2]], np.int32), np.array([[10, 20]], np.int32)
    shared.put(a)
    sent = client.input("B", "INT32", b)
    # The shared input comes first, the shared output last: their places among the others must not shift.
    result = client.infer(
        "two",
        [shared_input(client, "A", "INT32", a, 8), sent],
        outputs=[client.output("X"), shared_output(client, "Y", 8, 8)],
    )
    assert same(result.as_numpy("X"), a + b)
    assert same(shared.get(a, 8), a - b)


def test_the_status_of_regions(client: TritonClient, make_object: MakeObject) -> None:
    shared = make_object(64)
    client.register_system_shared_memory("r2", "/" + shared.key, 16, 8)
    client.register_system_shared_memory("r1", shared.key, 64)
    first = {"name": "r1", "key": shared.key, "offset": 0, "byte_size": 64}
    second = {"name": "r2", "key": "/" + shared.key, "offset": 8, "byte_size": 16}
    assert regions_of(client) == [first, second]
    assert regions_of(client, "r2") == [second]
    for _ in range(2):
        client.unregister_system_shared_memory("r1")
        assert regions_of(client) == [second]
    client.unregister_system_shared_memory()
    assert regions_of(client) == []


def regions_of(client: TritonClient, name: str = "") -> list[dict[str, Any]]:
    """The answer of the status call, in one form for both protocols."""
    answer = client.get_system_shared_memory_status(name)
    if client.is_http:
        return list(answer)
    return [
        {"name": key, "key": region.key, "offset": region.offset, "byte_size": region.byte_size}
        for key, region in sorted(answer.regions.items())
    ]


def test_the_extension_is_advertised(client: TritonClient) -> None:
    extensions = client.as_dict(client.get_server_metadata())["extensions"]
    assert "system_shared_memory" in extensions
    assert "cuda_shared_memory" not in extensions


def test_cuda_regions_without_a_gpu(client: TritonClient) -> None:
    assert client.as_dict(client.get_cuda_shared_memory_status() or {}) == {}
    client.unregister_cuda_shared_memory("x")
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.register_cuda_shared_memory("x", base64.b64encode(bytes(64)), 0, 64)
    if client.is_http:
        said = "failed to register CUDA shared memory region: 'x', GPUs not supported: "
        reason = caught.value.message().removeprefix(said)
        # Frameworks may bring a library for GPUs to where there are none.
        assert reason.startswith("no ") or "cudaGetDeviceCount" in reason


# --- bare requests ------------------------------------------------------------------------------------------


def in_region(**parameters: Any) -> dict[str, Any]:
    """The input of `bat` in shared memory."""
    given = {"shared_memory_region": "r", "shared_memory_byte_size": 12, **parameters}
    parameters = {name: value for name, value in given.items() if value is not None}
    return {"name": "IN", "datatype": "FP32", "shape": [1, 3], "parameters": parameters}


def out_region(**parameters: Any) -> dict[str, Any]:
    """A request of which shared memory takes the output."""
    given = {"shared_memory_region": "r", "shared_memory_byte_size": 12, **parameters}
    parameters = {name: value for name, value in given.items() if value is not None}
    return {"inputs": [IN], "outputs": [{"name": "OUT", "parameters": parameters}]}


def test_an_output_in_shared_memory_has_no_data(shm_server: RunningServer, make_object: MakeObject) -> None:
    shared = make_object(64)
    register(shm_server, shared)
    answer = shm_server.infer("bat", out_region(shared_memory_byte_size=64)).json()
    assert answer["outputs"] == [{"name": "OUT", "datatype": "FP32", "shape": [1, 3]}]
    assert shared.get(np.zeros(4, np.float32)).tolist() == [1, 2, 3, 0]


def test_an_output_in_shared_memory_is_empty_over_grpc(
    shm_server: RunningServer, shm_channel: Channel, make_object: MakeObject
) -> None:
    shared = make_object(64)
    register(shm_server, shared)
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="X", parameters=region(size=8))
    other = pb.ModelInferRequest.InferRequestedOutputTensor(name="Y")
    data = np.array([[3, 4]], np.int32)
    inputs = [tensor(name, "INT32", [1, 2]) for name in "AB"]
    request = request_of("two", *inputs, raw=[data.tobytes()] * 2, outputs=[output, other])
    answer = shm_channel.infer(request)
    assert [output.name for output in answer.outputs] == ["X", "Y"]
    assert list(answer.raw_output_contents) == [b"", bytes(8)]
    assert same(shared.get(data), data * 2)


def test_json_binary_and_shared_inputs_in_one_request(
    shm_server: RunningServer, make_object: MakeObject
) -> None:
    shared = make_object(8)
    shared.put(np.array([1, 2], np.int32))
    register(shm_server, shared)
    header = {
        "inputs": [
            {"name": "A", "datatype": "INT32", "shape": [1, 2],
             "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8}},
            {"name": "B", "datatype": "INT32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        ],
        "outputs": [{"name": "Y", "parameters": {"binary_data": True}}, {"name": "X"}],
    }  # fmt: skip
    document, binary = read_binary(
        post_binary(shm_server, "two", header, np.array([10, 20], np.int32).tobytes())
    )
    assert document["outputs"][0]["data"] == [11, 22]
    assert np.frombuffer(binary, np.int32).tolist() == [-9, -18]


def test_shared_memory_in_a_stream(
    shm_server: RunningServer, shm_channel: Channel, make_object: MakeObject
) -> None:
    shared = make_object(24)
    register(shm_server, shared)
    shared.put(np.array([5, 6, 7], np.float32))
    stream = shm_channel.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="OUT", parameters=region(offset=12))
    good = request_of("bat", shared_tensor(), outputs=[output])
    bad = request_of("bat", shared_tensor(name="nosuch"))
    answers = list(stream(iter([good, bad]), timeout=60))
    assert [answer.error_message for answer in answers] == [
        "", "Unable to find shared memory region: 'nosuch'",
    ]  # fmt: skip
    assert shared.get(np.zeros(3, np.float32), 12).tolist() == [5, 6, 7]


def region(name: str = "r", size: int | None = 12, offset: int | None = None) -> dict[str, pb.InferParameter]:
    """Parameters of a tensor in shared memory."""
    made = {"shared_memory_region": pb.InferParameter(string_param=name)}
    if size is not None:
        made["shared_memory_byte_size"] = pb.InferParameter(int64_param=size)
    if offset is not None:
        made["shared_memory_offset"] = pb.InferParameter(int64_param=offset)
    return made


def shared_tensor(**place: Any) -> pb.ModelInferRequest.InferInputTensor:
    """The input of `bat` in shared memory."""
    return with_parameters(region(**place))


def with_parameters(parameters: dict[str, pb.InferParameter]) -> pb.ModelInferRequest.InferInputTensor:
    """The input of `bat` with these parameters and without data."""
    return pb.ModelInferRequest.InferInputTensor(
        name="IN", datatype="FP32", shape=[1, 3], parameters=parameters
    )


# --- a region that is in use --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/v2/systemsharedmemory/unregister", "/v2/systemsharedmemory/region/r/unregister"]
)
def test_a_region_can_be_unregistered_while_it_is_in_use(
    shm_server: RunningServer, make_object: MakeObject, path: str
) -> None:
    shared = make_object(8192)
    register(shm_server, shared)
    with Gate() as gate, Wire(shm_server) as wire:
        request = gated_request(new_tag(), gate.port)
        shared.put(np.array([[gate.port]], np.int32))
        request["inputs"][0] = {
            "name": "PORT", "datatype": "INT32", "shape": [1, 1],
            "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4},
        }  # fmt: skip
        parameters = {
            "shared_memory_region": "r",
            "shared_memory_byte_size": 8000,
            "shared_memory_offset": 100,
        }
        request["outputs"] = [{"name": "TAGS", "parameters": parameters}]
        wire.send_infer("gated", request)
        gate.await_start()
        assert shm_server.post(path).status_code == 200
        assert shm_server.get("/v2/systemsharedmemory/status").json() == []
        assert str(shared.path) in objects_in_use(shm_server)
        # Another region may take the name meanwhile.
        register(shm_server, make_object(16))
        gate.open()
        assert wire.response().status_code == 200
    # The instance's thread lets go of its inputs a moment after the answer.
    wait_until(lambda: str(shared.path) not in objects_in_use(shm_server))
    assert shared.get(np.zeros((1, 1), np.object_), 100).item().startswith(b"[")


def test_a_client_may_remove_its_object_first(shm_server: RunningServer, make_object: MakeObject) -> None:
    shared = make_object(64)
    shared.put(np.array([1, 2, 3], np.float32))
    register(shm_server, shared)
    content = shared.path.read_bytes()
    shared.path.unlink()
    try:
        answer = shm_server.infer("bat", {"inputs": [in_region()]})
        assert answer.json()["outputs"][0]["data"] == [1, 2, 3]
    finally:
        shared.path.write_bytes(content)


@pytest.mark.parametrize("body", [{"inputs": [in_region()]}, out_region()], ids=["input", "output"])
def test_an_object_that_has_shrunk_is_an_error(
    shm_server: RunningServer, make_object: MakeObject, body: dict[str, Any]
) -> None:
    shared = make_object(8192)
    register(shm_server, shared)
    os.truncate(shared.path, 0)
    answer = shm_server.infer("bat", body)
    assert answer.status_code == 400
    assert error_of(answer).startswith("Invalid offset + byte size for shared memory region: 'r': its object")


# --- errors of a registration -------------------------------------------------------------------------------

GOOD = {"key": "k", "byte_size": 64}

# Body, status, and what the text begins with; OBJECT is an object of 64 bytes.
REGISTRATION: list[tuple[str, Any, int, str]] = [
    ("empty", None, 400, "failed to parse the request JSON buffer: The document is empty. at 0"),
    ("no object", [], 400, "attempt to get members for non-object"),
    ("no key", {"byte_size": 64}, 400, "Shared memory register request has no 'key' field"),
    ("no size", {"key": "OBJECT"}, 400, "Shared memory register request has no 'byte_size' field"),
    ("key is a number", {"key": 1, "byte_size": 64}, 400, "attempt to access JSON non-string as string"),
    *((f"size is {size!r}", {"key": "OBJECT", "byte_size": size}, 400,
       "attempt to access JSON non-unsigned-integer as unsigned-integer") for size in ("64", -1, 1.0, True)),
    ("size is null", {"key": "OBJECT", "byte_size": None}, 400, "Shared memory register request has no 'byte_size' field"),
    ("offset is a list", {"key": "OBJECT", "byte_size": 64, "offset": []}, 400,
     "attempt to access JSON non-unsigned-integer as unsigned-integer"),
    ("no such object", {"key": "/nosuchkey", "byte_size": 64}, 500, "Unable to open shared memory region: '/nosuchkey'"),
    ("too long", {"key": "OBJECT", "byte_size": 65}, 400, "failed to register shared memory region 'r': invalid args"),
    ("too far", {"key": "OBJECT", "byte_size": 64, "offset": 1}, 400,
     "failed to register shared memory region 'r': invalid args"),
    ("overflow", {"key": "OBJECT", "byte_size": 2**64 - 1, "offset": 2**64 - 1}, 400,
     "failed to register shared memory region 'r': invalid args"),
    ("size 0", {"key": "OBJECT", "byte_size": 0}, 400,
     "failed to register shared memory region 'r': unable to process address space"),
    ("reserved", {"key": "/triton_python_backend_shm_region_1", "byte_size": 64}, 400,
     "cannot register shared memory region 'r' with key '/triton_python_backend_shm_region_1' as the key contains the "
     "reserved prefix 'triton_python_backend_shm_region_'"),
    ("slashes", {"key": "//", "byte_size": 64}, 400, "cannot register shared memory region 'r' - invalid shm key '//'"),
    ("outside", {"key": "../../etc/passwd", "byte_size": 64}, 400,
     "cannot register shared memory region 'r' - invalid shm key '../../etc/passwd'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "text"), [row[1:] for row in REGISTRATION], ids=[row[0] for row in REGISTRATION]
)
def test_a_registration_that_is_refused(
    shm_server: RunningServer, make_object: MakeObject, body: Any, status: int, text: str
) -> None:
    if isinstance(body, dict) and body.get("key") == "OBJECT":
        body = {**body, "key": make_object(64).key}
    options = {} if body is None else {"json": body}
    answer = shm_server.post("/v2/systemsharedmemory/region/r/register", **options)
    assert answer.status_code == status
    assert error_of(answer).startswith(text)
    assert shm_server.get("/v2/systemsharedmemory/status").json() == []


INVALID, INTERNAL, MISSING = STATUS.INVALID_ARGUMENT, STATUS.INTERNAL, STATUS.NOT_FOUND

GRPC_REGISTRATION: list[tuple[str, dict[str, Any], Any, str]] = [
    ("no name", {"name": ""}, INVALID, "'region name' is necessary to register system shared memory region"),
    ("no key", {"key": ""}, INVALID, "cannot register shared memory region 'r' - invalid shm key ''"),
    ("no size", {"byte_size": 0}, INVALID,
     "failed to register shared memory region 'r': unable to process address space"),
    ("no such object", {"key": "/nosuchkey"}, INTERNAL, "Unable to open shared memory region: '/nosuchkey'"),
    ("too long", {"byte_size": 2**64 - 1}, INVALID, "failed to register shared memory region 'r': invalid args"),
    ("reserved", {"key": "triton_python_backend_shm_region_1"}, INVALID,
     "cannot register shared memory region 'r' with key 'triton_python_backend_shm_region_1' as"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [row[1:] for row in GRPC_REGISTRATION],
    ids=[row[0] for row in GRPC_REGISTRATION],
)
def test_a_registration_that_is_refused_over_grpc(
    shm_channel: Channel, make_object: MakeObject, fields: dict[str, Any], status: Any, text: str
) -> None:
    message = pb.SystemSharedMemoryRegisterRequest(
        **{"name": "r", "key": make_object(64).key, "byte_size": 64, **fields}
    )
    code, details = shm_channel.fails(
        "SystemSharedMemoryRegister", message, pb.SystemSharedMemoryRegisterResponse
    )
    assert code is status
    assert details.startswith(text)


def test_an_offset_that_is_null_is_none(shm_server: RunningServer, make_object: MakeObject) -> None:
    body = {"key": make_object(64).key, "byte_size": 64, "offset": None}
    assert shm_server.post("/v2/systemsharedmemory/region/r/register", json=body).status_code == 200
    (region,) = shm_server.get("/v2/systemsharedmemory/status").json()
    assert (region["offset"], region["byte_size"]) == (0, 64)


def test_a_name_that_is_taken(
    shm_server: RunningServer, shm_channel: Channel, make_object: MakeObject
) -> None:
    shared = make_object(64)
    register(shm_server, shared)
    message = pb.SystemSharedMemoryRegisterRequest(name="r", key=shared.key, byte_size=64)
    assert shm_channel.fails(
        "SystemSharedMemoryRegister", message, pb.SystemSharedMemoryRegisterResponse
    ) == (STATUS.ALREADY_EXISTS, "shared memory region 'r' already in manager")
    answer = shm_server.post(
        "/v2/systemsharedmemory/region/r/register", json={"key": shared.key, "byte_size": 64}
    )
    assert (answer.status_code, error_of(answer)) == (409, "shared memory region 'r' already in manager")


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_a_name_is_needed(shm_server: RunningServer, kind: str) -> None:
    answer = shm_server.post(f"/v2/{kind}sharedmemory/register", json=GOOD)
    assert (answer.status_code, error_of(answer)) == (
        400,
        f"'region name' is necessary to register {kind} shared memory region",
    )


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_the_status_of_an_unknown_region(shm_server: RunningServer, shm_channel: Channel, kind: str) -> None:
    text = f"Unable to find {kind} shared memory region: 'r1'"
    answer = shm_server.get(f"/v2/{kind}sharedmemory/region/r1/status")
    assert (answer.status_code, error_of(answer)) == (404, text)
    method = f"{kind.title()}SharedMemoryStatus"
    message, response = getattr(pb, f"{method}Request")(name="r1"), getattr(pb, f"{method}Response")
    assert shm_channel.fails(method, message, response) == (STATUS.NOT_FOUND, text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"device_id": 0, "byte_size": 64}, "Shared memory register request has no 'raw_handle' field"),
        *(({"raw_handle": handle}, "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")
          for handle in ("AAAA", {}, {"b64": 1}, {"b64": "?"}, {"b64": "é"}, {"b64": "AAAA"})),
        ({"raw_handle": {"b64": base64.b64encode(bytes(64)).decode()}, "device_id": 0, "byte_size": 64},
         "failed to register CUDA shared memory region: 'x', GPUs not supported"),
    ],
)  # fmt: skip
def test_a_cuda_registration_is_refused(shm_server: RunningServer, body: Any, text: str) -> None:
    answer = shm_server.post("/v2/cudasharedmemory/region/x/register", json=body)
    assert answer.status_code == 400
    assert error_of(answer).startswith(text)
    assert shm_server.get("/v2/cudasharedmemory/status").json() == []


# --- errors of an inference ---------------------------------------------------------------------------------

FAR = "Invalid offset for shared memory region: 'r'"
LONG = "Invalid offset + byte size for shared memory region: 'r'"
SIZE_MISSING = "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'NAME'"
SOURCES = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. But set"
)

# What the region of 64 bytes is used for; status; what the text begins with.
USES: list[tuple[str, dict[str, Any], int, str]] = [
    ("unknown", {"inputs": [in_region(shared_memory_region="zz")]}, 404, "Unable to find shared memory region: 'zz'"),
    ("far", {"inputs": [in_region(shared_memory_offset=64)]}, 400, FAR),
    ("long", {"inputs": [in_region(shared_memory_offset=53)]}, 400, LONG),
    ("overflow", {"inputs": [in_region(shared_memory_offset=1, shared_memory_byte_size=2**64 - 1)]}, 400, LONG),
    ("no size", {"inputs": [in_region(shared_memory_byte_size=None)]}, 400, SIZE_MISSING.replace("NAME", "IN")),
    ("region is a number", {"inputs": [in_region(shared_memory_region=1)]}, 400,
     "Unable to parse 'shared_memory_region': attempt to access JSON non-string as string"),
    ("negative offset", {"inputs": [in_region(shared_memory_offset=-1)]}, 400, "Unable to parse 'shared_memory_offset': "),
    ("size is a string", {"inputs": [in_region(shared_memory_byte_size="12")]}, 400,
     "Unable to parse 'shared_memory_byte_size': attempt to access JSON non-unsigned-integer as unsigned-integer"),
    ("wrong size", {"inputs": [in_region(shared_memory_byte_size=8)]}, 400,
     "[request id: <id_unknown>] input byte size mismatch for input 'IN' for model 'bat'. Expected 12, got 8"),
    ("data too", {"inputs": [{**in_region(), "data": [1, 2, 3]}]}, 400, f"{SOURCES} 'data' 'shared_memory_region'"),
    ("binary too", {"inputs": [in_region(binary_data_size=12)]}, 400,
     f"{SOURCES} 'binary_data_size' 'shared_memory_region'"),
    ("all three", {"inputs": [{**in_region(binary_data_size=12), "data": []}]}, 400,
     f"{SOURCES} 'data' 'binary_data_size' 'shared_memory_region'"),
    ("output unknown", out_region(shared_memory_region="zz"), 404, "Unable to find shared memory region: 'zz'"),
    ("output far", out_region(shared_memory_offset=64), 400, FAR),
    ("output long", out_region(shared_memory_byte_size=65), 400, LONG),
    ("output too small", out_region(shared_memory_byte_size=8), 500,
     "shared memory size specified with the request for output 'OUT' (8 bytes) should be at least 12 bytes to hold the "
     "results"),
    ("output without size", out_region(shared_memory_byte_size=None), 400, SIZE_MISSING.replace("NAME", "OUT")),
    ("output region is a number", out_region(shared_memory_region=1), 400, "Unable to parse 'shared_memory_region'"),
    ("output binary", out_region(binary_data=True), 400,
     "Output can't set both 'shared_memory_region' and 'binary_data'"),
    ("output classified", out_region(classification=1), 400,
     "Output can't set both 'shared_memory_region' and 'classification'"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "text"), [row[1:] for row in USES], ids=[row[0] for row in USES])
def test_a_use_that_is_refused(
    shm_server: RunningServer, make_object: MakeObject, body: dict[str, Any], status: int, text: str
) -> None:
    shared = make_object(64)
    register(shm_server, shared)
    answer = shm_server.infer("bat", body)
    assert answer.status_code == status
    assert error_of(answer).startswith(text)
    assert shm_server.post("/v2/systemsharedmemory/region/r/unregister").status_code == 200
    assert str(shared.path) not in objects_in_use(shm_server)


@pytest.mark.parametrize(
    "parameters", [{"shared_memory_offset": 5}, {"shared_memory_byte_size": 5}], ids=["offset", "size"]
)
def test_an_offset_or_a_size_without_a_region_is_refused_over_rest(
    shm_server: RunningServer, parameters: dict[str, int]
) -> None:
    [name] = parameters
    binary = {key: value for key, value in IN.items() if key != "data"}
    for tensor_name, body in {
        "IN": {"inputs": [{**IN, "parameters": parameters}]},
        "OUT": {"inputs": [IN], "outputs": [{"name": "OUT", "parameters": parameters}]},
    }.items():
        answer = shm_server.infer("bat", body)
        assert answer.status_code == 400
        assert error_of(answer) == (
            f"'{name}' can not be specified without 'shared_memory_region' parameter for tensor '{tensor_name}'"
        )
    header = {"inputs": [{**binary, "parameters": {"binary_data_size": 12, **parameters}}]}
    answer = post_binary(shm_server, "bat", header, bytes(12))
    assert (answer.status_code, error_of(answer).split()[0]) == (400, f"'{name}'")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_raw_contents_are_for_inputs_without_a_region(
    shm_server: RunningServer, shm_channel: Channel, make_object: MakeObject, count: int
) -> None:
    """One too many may have been meant for the input in shared memory, and the other one would get it."""
    shared = make_object(8)
    shared.put(np.array([1, 2], np.int32))
    register(shm_server, shared)
    first = tensor("A", "INT32", [1, 2])
    for name, value in region(size=8).items():
        first.parameters[name].CopyFrom(value)
    raw = [np.array([number, number], np.int32).tobytes() for number in range(10, 10 + count)]
    request = request_of("two", first, tensor("B", "INT32", [1, 2]), raw=raw)
    if count == 1:
        answer = shm_channel.infer(request)
        assert np.frombuffer(answer.raw_output_contents[0], np.int32).tolist() == [11, 12]
        return
    code, details = shm_channel.infer_fails(request)
    assert code == INVALID
    assert details == (
        "unexpected 'content' provided when using shared memory for input tensor 'A' for model 'two': "
        f"raw_input_contents has {count - 1} more than there are inputs without a region"
    )


NUMBER, TEXT = pb.InferParameter(int64_param=1), pb.InferParameter(string_param="1")

# Parameters of the tensor, the code, and what the text begins with; NAME is the tensor's name.
GRPC_USES: list[tuple[str, dict[str, pb.InferParameter], Any, str]] = [
    ("unknown", region("zz"), MISSING, "Unable to find shared memory region: 'zz'"),
    ("far", region(offset=64), INVALID, FAR),
    ("negative offset", region(offset=-1), INVALID, FAR),
    ("long", region(offset=53), INVALID, LONG),
    ("negative size", region(size=-1), INVALID, LONG),
    ("no size", region(size=None), INVALID, SIZE_MISSING),
    ("offset alone", {"shared_memory_offset": NUMBER}, INVALID,
     "'shared_memory_offset' can not be specified without 'shared_memory_region' parameter for tensor 'NAME'"),
    ("size alone", {"shared_memory_byte_size": NUMBER}, INVALID,
     "'shared_memory_byte_size' can not be specified without 'shared_memory_region' parameter for tensor 'NAME'"),
    ("region is a number", {**region(), "shared_memory_region": NUMBER}, INVALID,
     "invalid value type for 'shared_memory_region' parameter for tensor 'NAME', expected string_param."),
    ("offset is a string", {**region(), "shared_memory_offset": TEXT}, INVALID,
     "invalid value type for 'shared_memory_offset' parameter for tensor 'NAME', expected int64_param."),
    ("size is a string", {**region(), "shared_memory_byte_size": TEXT}, INVALID,
     "invalid value type for 'shared_memory_byte_size' parameter for tensor 'NAME', expected int64_param."),
]  # fmt: skip


@pytest.mark.parametrize("tensor_name", ["IN", "OUT"])
@pytest.mark.parametrize(
    ("parameters", "status", "text"), [row[1:] for row in GRPC_USES], ids=[row[0] for row in GRPC_USES]
)
def test_a_use_that_is_refused_over_grpc(
    shm_server: RunningServer,
    shm_channel: Channel,
    make_object: MakeObject,
    tensor_name: str,
    parameters: dict[str, pb.InferParameter],
    status: Any,
    text: str,
) -> None:
    register(shm_server, make_object(64))
    requests = {
        "IN": request_of("bat", with_parameters(parameters)),
        "OUT": request_for_output(parameters),
    }
    code, details = shm_channel.infer_fails(requests[tensor_name])
    assert code is status
    assert details.startswith(text.replace("NAME", tensor_name))


def request_for_output(parameters: dict[str, pb.InferParameter]) -> pb.ModelInferRequest:
    """A request whose output has these parameters."""
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="OUT", parameters=parameters)
    return request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3]), outputs=[output])


def test_more_that_is_refused_over_grpc(
    shm_server: RunningServer, shm_channel: Channel, make_object: MakeObject
) -> None:
    register(shm_server, make_object(64))
    wrong_size = request_of("bat", shared_tensor(size=8))
    both = shared_tensor()
    both.contents.fp32_contents.extend([1, 2, 3])
    classified = request_for_output({**region(), "classification": NUMBER})
    small = request_for_output(region(size=8))
    missing = request_of("two", tensor("A", "INT32", [1, 2]), shared_tensor(), raw=[])
    for request, status, text in (
        (wrong_size, INVALID, "[request id: <id_unknown>] input byte size mismatch for input 'IN' for model 'bat'. "),
        (request_of("bat", both), INVALID,
         "unexpected 'content' provided when using shared memory for input tensor 'IN' for model 'bat'"),
        (classified, INVALID, "output can't set both 'shared_memory_region' and 'classification'"),
        (small, INTERNAL, "shared memory size specified with the request for output 'OUT' (8 bytes) should be at least 12"),
        (missing, INVALID, "unable to find data for input tensor 'A' for model 'two' in request."),
    ):  # fmt: skip
        code, details = shm_channel.infer_fails(request)
        assert code is status
        assert details.startswith(text)


# --- a server that does not allow it ------------------------------------------------------------------------


def test_client_shared_memory_is_off_unless_allowed(server: RunningServer, channel: Channel) -> None:
    for kind in ("system", "cuda"):
        answer = server.post(f"/v2/{kind}sharedmemory/region/r/register", json=GOOD)
        assert (answer.status_code, error_of(answer)) == (501, DISABLED)
        method = f"{kind.title()}SharedMemoryRegister"
        message, response = getattr(pb, f"{method}Request")(name="r"), getattr(pb, f"{method}Response")
        assert channel.fails(method, message, response) == (STATUS.UNIMPLEMENTED, DISABLED)
        assert server.get(f"/v2/{kind}sharedmemory/status").json() == []
        assert server.post(f"/v2/{kind}sharedmemory/unregister").status_code == 200
        assert server.post(f"/v2/{kind}sharedmemory/region/r/unregister").status_code == 200
    for body in ({"inputs": [in_region()]}, out_region()):
        answer = server.infer("bat", body)
        assert (answer.status_code, error_of(answer)) == (501, DISABLED)
    assert channel.infer_fails(request_of("bat", shared_tensor())) == (STATUS.UNIMPLEMENTED, DISABLED)
    assert "system_shared_memory" not in server.get("/v2").json()["extensions"]


# --- what stays behind --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_server_leaves_the_clients_object_as_it_was(
    tmp_path: Path, repository: Path, make_object: MakeObject
) -> None:
    shared = make_object(4096)
    shared.put(np.arange(1024, dtype=np.float32))
    content = shared.path.read_bytes()
    server = launch(tmp_path, repository, ENABLE)
    assert objects_in_use(server) == []
    register(server, shared)
    assert server.infer("bat", {"inputs": [in_region()]}).json()["outputs"][0]["data"] == [0, 1, 2]
    # The object of the client is the only one that the server knows: it makes none itself.
    assert objects_in_use(server) == [str(shared.path)]
    server.stop(signal.SIGKILL)
    assert shared.path.read_bytes() == content
