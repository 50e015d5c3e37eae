"""The system shared memory extension: tensors that are not sent."""

from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from typing import Any
from urllib.parse import urlsplit

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, InferRequest
from kserve_v2_conformance.rpc import GrpcError, parameters
from kserve_v2_conformance.suite.support import both, done, failure_of, protocol, refused
from kserve_v2_conformance.target import Target
from kserve_v2_conformance.tensors import Tensor, array, to_raw

REGION = "conformance"
_SIZE = 8192
_OUTPUT_OFFSET = 4096
_ELEMENTS: list[object] = [1.5, -2.5, 3.25]


@pytest.fixture
def memory(target: Target) -> Iterator[SharedMemory]:
    """A shared memory object, gone after the case, as is the region of it."""
    if urlsplit(target.rest.url).hostname not in ("localhost", "127.0.0.1", "::1"):
        pytest.skip("the server runs on another machine")
    try:
        shared = SharedMemory(create=True, size=_SIZE)
    except OSError as error:
        pytest.skip(f"this machine gives no shared memory: {error}")
    yield shared
    target.rest.request("POST", "/v2/systemsharedmemory/unregister", b"", {})
    shared.close()
    shared.unlink()


def _buffer(memory: SharedMemory) -> memoryview:
    assert memory.buf is not None
    return memory.buf


class _Regions:
    """The calls of the extension over one protocol. None stands for success."""

    def __init__(self, target: Target, carrier: str) -> None:
        self._target, self._rest = target, carrier == "json"

    def register(self, name: str, key: str, offset: int, size: int) -> Failure | None:
        if self._rest:
            body = {"key": key, "offset": offset, "byte_size": size}
            return self._post(f"/v2/systemsharedmemory/region/{name}/register", body)
        request = pb.SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset, byte_size=size)
        return self._call(request, pb.SystemSharedMemoryRegisterResponse)

    def unregister(self, name: str) -> Failure | None:
        if self._rest:
            return self._post(f"/v2/systemsharedmemory{f'/region/{name}' if name else ''}/unregister", None)
        return self._call(
            pb.SystemSharedMemoryUnregisterRequest(name=name), pb.SystemSharedMemoryUnregisterResponse
        )

    def status(self, name: str = "") -> list[list[object]]:
        """Name, key, offset and size of each region, or of one. Raises UnreadableAnswer."""
        if not self._rest:
            request = pb.SystemSharedMemoryStatusRequest(name=name)
            message = self._target.grpc.succeed(request, pb.SystemSharedMemoryStatusResponse)
            return [[each.name, each.key, each.offset, each.byte_size] for each in message.regions.values()]
        region = f"/region/{name}" if name else ""
        entries = self._target.rest.get(f"/v2/systemsharedmemory{region}/status").json()
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise UnreadableAnswer(f"status: {entries!r}")
        return [[each.get(member) for member in ("name", "key", "offset", "byte_size")] for each in entries]

    def fails(self, name: str) -> bool:
        """Whether the status of a region is an error."""
        if self._rest:
            return self._target.rest.get(f"/v2/systemsharedmemory/region/{name}/status").status >= 400
        request = pb.SystemSharedMemoryStatusRequest(name=name)
        return isinstance(self._target.grpc.call(request, pb.SystemSharedMemoryStatusResponse), GrpcError)

    def _post(self, path: str, body: object) -> Failure | None:
        answer = self._target.rest.post(path, body)
        return failure_of(answer)

    def _call(self, request: Any, answer_type: Any) -> Failure | None:
        answer = self._target.grpc.call(request, answer_type)
        return Failure(answer.code, answer.details, False) if isinstance(answer, GrpcError) else None


def _region(name: str, offset: int, size: int) -> dict[str, object]:
    """The parameters of a tensor in a region."""
    return {"shared_memory_region": name, "shared_memory_offset": offset, "shared_memory_byte_size": size}


def _send(
    target: Target, carrier: str, source: dict[str, object] | None, sink: dict[str, object] | None
) -> tuple[Failure | None, list[object] | None, bool]:
    """Infer with the input or the output in a region. Returns the failure, the values, and whether data came."""
    model = target.model("identity.FP32")
    tensor = Tensor(model.inputs[0].name, "FP32", (3,), array("FP32", _ELEMENTS))
    if carrier == "json":
        entry: dict[str, Any] = {"name": tensor.name, "shape": [3], "datatype": "FP32"}
        entry |= {"parameters": source} if source else {"data": _ELEMENTS}
        body: dict[str, Any] = {"inputs": [entry]}
        if sink:
            body["outputs"] = [{"name": model.outputs[0].name, "parameters": sink}]
        answer = target.rest.post(f"{model.path}/infer", body)
        if answer.status != 200:
            return failure_of(answer), None, False
        output = answer.object()["outputs"][0]
        return None, output.get("data"), "data" in output
    message = pb.ModelInferRequest(model_name=model.name)
    message.inputs.add(name=tensor.name, datatype="FP32", shape=[3], parameters=parameters(source or {}))
    if source is None:
        message.raw_input_contents.append(to_raw(tensor))
    if sink:
        message.outputs.add(name=model.outputs[0].name, parameters=parameters(sink))
    result = target.grpc.call(message, pb.ModelInferResponse)
    if isinstance(result, GrpcError):
        return Failure(result.code, result.details, False), None, False
    raw = result.raw_output_contents[0] if result.raw_output_contents else b""
    return None, array("FP32", []).tolist() if not raw else _floats(raw), bool(raw)


def _floats(raw: bytes) -> list[object]:
    return list(memoryview(raw).cast("f").tolist())


@both("SHM-001", "SHM-002")
def test_register_and_unregister(carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """A region comes and goes."""
    regions, prefix = _Regions(target, carrier), protocol(carrier)
    key = f"/{memory.name.lstrip('/')}"
    failure = regions.register(REGION, key, 0, _SIZE)
    done(check, f"{prefix}-SHM-001", "register", failure)
    got = [[name, str(key).lstrip("/"), *rest] for name, key, *rest in regions.status()]
    check.that(
        f"{prefix}-SHM-001", "status", [REGION, key.lstrip("/"), 0, _SIZE] in got, "the region", str(got)
    )
    for name in (REGION, ""):
        failure = regions.unregister(name)
        check.that(
            f"{prefix}-SHM-002",
            f"unregister {name or 'all'}",
            failure is None,
            "success",
            str(failure or "success"),
        )
        names = [entry[0] for entry in regions.status()]
        check.that(f"{prefix}-SHM-002", "status", REGION not in names, "not the region", str(names))


@both("SHM-003")
@pytest.mark.parametrize("offset", [0, 64])
def test_input(offset: int, carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """An input in a region."""
    clause = f"{protocol(carrier)}-SHM-003"
    _buffer(memory)[offset : offset + 12] = array("FP32", _ELEMENTS).tobytes()
    _Regions(target, carrier).register(REGION, f"/{memory.name}", 0, _SIZE)
    failure, values, _ = _send(target, carrier, _region(REGION, offset, 12), None)
    done(check, clause, "inference", failure)
    check.equal(clause, "values", values, _ELEMENTS)


@both("SHM-004")
def test_output(carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """An output in a region."""
    clause = f"{protocol(carrier)}-SHM-004"
    _Regions(target, carrier).register(REGION, f"/{memory.name}", 0, _SIZE)
    failure, _, has_data = _send(target, carrier, None, _region(REGION, _OUTPUT_OFFSET, 12))
    done(check, clause, "inference", failure)
    check.equal(clause, "data in the response", has_data, False)
    got = _floats(bytes(_buffer(memory)[_OUTPUT_OFFSET : _OUTPUT_OFFSET + 12]))
    check.equal(clause, "values in the region", got, _ELEMENTS)


@both("SHM-005")
@pytest.mark.parametrize("wrong", ["unknown", "beyond", "small"])
def test_wrong_region(wrong: str, carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """A region that nobody registered; an input beyond its end; an output that does not fit."""
    clause = f"{protocol(carrier)}-SHM-005"
    _Regions(target, carrier).register(REGION, f"/{memory.name}", 0, _SIZE)
    source, sink = {
        "unknown": (_region("no_such_region", 0, 12), None),
        "beyond": (_region(REGION, _SIZE - 4, 12), None),
        "small": (None, _region(REGION, 0, 8)),
    }[wrong]
    failure, values, _ = _send(target, carrier, source, sink)
    check.that(clause, "inference", failure is not None, "an error", f"success {values}")


@pytest.mark.clause("REST-SHM-006")
def test_region_and_data(target: Target, check: Checks, memory: SharedMemory) -> None:
    """The data in a region, and in JSON."""
    model = target.model("identity.FP32")
    _Regions(target, "json").register(REGION, f"/{memory.name}", 0, _SIZE)
    entry = {"name": model.inputs[0].name, "shape": [3], "datatype": "FP32", "data": _ELEMENTS}
    answer = target.rest.post(
        f"{model.path}/infer", {"inputs": [entry | {"parameters": _region(REGION, 0, 12)}]}
    )
    check.that("REST-SHM-006", "status", answer.status >= 400, "an error status", str(answer.status))


@both("SHM-007")
def test_no_memory(carrier: str, target: Target, check: Checks) -> None:
    """A key that no memory has."""
    failure = _Regions(target, carrier).register(REGION, "/conformance_no_such_memory", 0, 64)
    check.that(f"{protocol(carrier)}-SHM-007", "register", failure is not None, "an error", "success")


@both("SHM-008")
@pytest.mark.parametrize("given", ["region", "size"])
def test_half_a_place(given: str, carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """A region without a size; a size without a region, beside data."""
    clause = f"{protocol(carrier)}-SHM-008"
    _Regions(target, carrier).register(REGION, f"/{memory.name}", 0, _SIZE)
    if given == "region":
        failure, _, _ = _send(target, carrier, {"shared_memory_region": REGION}, None)
    else:
        failure = _send_with_data(target, carrier, {"shared_memory_byte_size": 12})
    check.that(clause, f"a {given} alone", failure is not None, "an error", "success")


def _send_with_data(target: Target, carrier: str, given: dict[str, object]) -> Failure | None:
    """Infer with an input that has its data, and these parameters."""
    model = target.model("identity.FP32")
    tensor = Tensor(model.inputs[0].name, "FP32", (3,), array("FP32", _ELEMENTS))
    outcome = infer(target, InferRequest(model.name, (tensor,), input_parameters=given), carrier, Checks())
    return outcome if isinstance(outcome, Failure) else None


@pytest.mark.clause("GRPC-SHM-009")
def test_region_and_contents(target: Target, check: Checks, memory: SharedMemory) -> None:
    """The data in a region, and in typed contents."""
    _Regions(target, "grpc-raw").register(REGION, f"/{memory.name}", 0, _SIZE)
    failure = _send_with_data(target, "grpc-typed", _region(REGION, 0, 12))
    check.that("GRPC-SHM-009", "inference", failure is not None, "an error", "success")


@both("SHM-010")
def test_status_by_name(carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """Two regions, one of which is asked for; one that nobody registered."""
    clause, regions = f"{protocol(carrier)}-SHM-010", _Regions(target, carrier)
    for name in (REGION, f"{REGION}_other"):
        regions.register(name, f"/{memory.name}", 0, _SIZE)
    check.equal(clause, "regions", [entry[0] for entry in regions.status(REGION)], [REGION])
    check.that(clause, "status of an unknown region", regions.fails("no_such_region"), "an error", "success")


@pytest.mark.last
@both("SHM-011")
def test_region_at_an_offset(carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """A region that is the second page of its memory, and a tensor at its byte 64."""
    clause, start = f"{protocol(carrier)}-SHM-011", _OUTPUT_OFFSET
    _buffer(memory)[start + 64 : start + 76] = array("FP32", _ELEMENTS).tobytes()
    regions = _Regions(target, carrier)
    done(check, clause, "register", regions.register(REGION, f"/{memory.name}", start, _SIZE - start))
    failure, values, _ = _send(target, carrier, _region(REGION, 64, 12), None)
    done(check, clause, "inference", failure)
    check.equal(clause, "values", values, _ELEMENTS)


@pytest.mark.clause("REST-SHM-012")
def test_errors(target: Target, check: Checks) -> None:
    """No key, no memory, a region that is not registered."""
    path = f"/v2/systemsharedmemory/region/{REGION}"
    for body in ({"byte_size": 64}, {"key": "/conformance_no_such_memory", "offset": 0, "byte_size": 64}):
        refused(check, "REST-SHM-012", target.rest.post(f"{path}/register", body))
    refused(check, "REST-SHM-012", target.rest.get(f"{path}/status"))


@both("SHM-013")
def test_no_offset(carrier: str, target: Target, check: Checks, memory: SharedMemory) -> None:
    """An input at the beginning of its region."""
    clause = f"{protocol(carrier)}-SHM-013"
    _buffer(memory)[:12] = array("FP32", _ELEMENTS).tobytes()
    _Regions(target, carrier).register(REGION, f"/{memory.name}", 0, _SIZE)
    source = {name: value for name, value in _region(REGION, 0, 12).items() if name != "shared_memory_offset"}
    failure, values, _ = _send(target, carrier, source, None)
    done(check, clause, "inference", failure)
    check.equal(clause, "values", values, _ELEMENTS)
