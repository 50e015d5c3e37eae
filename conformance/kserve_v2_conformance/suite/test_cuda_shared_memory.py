"""The CUDA shared memory extension, as far as it needs no device: its calls, and how they fail."""

import base64

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import refused
from kserve_v2_conformance.target import Target

_PATH = "/v2/cudasharedmemory"
_REGION = "conformance"
# As long as a handle is, but of no device.
_HANDLE = bytes(64)


@pytest.mark.clause("REST-CUDA-001")
def test_status(target: Target, check: Checks) -> None:
    """All regions, and one that nobody registered."""
    answer = target.rest.get(f"{_PATH}/status")
    check.equal("REST-CUDA-001", "status", answer.status, 200)
    check.has_type("REST-CUDA-001", "regions", answer.json(), list)
    refused(check, "REST-CUDA-001", target.rest.get(f"{_PATH}/region/no_such_region/status"))


@pytest.mark.clause("GRPC-CUDA-001")
def test_grpc_status(target: Target, check: Checks) -> None:
    """All regions, and one that nobody registered."""
    for name, expected in (("", "OK"), ("no_such_region", "an error")):
        request = pb.CudaSharedMemoryStatusRequest(name=name)
        answer = target.grpc.call(request, pb.CudaSharedMemoryStatusResponse)
        got = "an error" if isinstance(answer, GrpcError) else "OK"
        check.equal("GRPC-CUDA-001", f"status of {name or 'all regions'}", got, expected)


@pytest.mark.clause("REST-CUDA-002")
def test_unregister(target: Target, check: Checks) -> None:
    """All regions."""
    check.equal("REST-CUDA-002", "status", target.rest.post(f"{_PATH}/unregister").status, 200)


@pytest.mark.clause("GRPC-CUDA-002")
def test_grpc_unregister(target: Target, check: Checks) -> None:
    """All regions."""
    answer = target.grpc.call(pb.CudaSharedMemoryUnregisterRequest(), pb.CudaSharedMemoryUnregisterResponse)
    check.that("GRPC-CUDA-002", "status", not isinstance(answer, GrpcError), "OK", str(answer))


@pytest.mark.clause("REST-CUDA-003")
@pytest.mark.parametrize("handle", ["***", base64.b64encode(_HANDLE).decode()], ids=["no-base64", "zeros"])
def test_wrong_handle(handle: str, target: Target, check: Checks) -> None:
    """What is no base64, and what is no handle."""
    body = {"raw_handle": {"b64": handle}, "device_id": 0, "byte_size": 64}
    refused(check, "REST-CUDA-003", target.rest.post(f"{_PATH}/region/{_REGION}/register", body))


@pytest.mark.clause("GRPC-CUDA-003")
def test_grpc_wrong_handle(target: Target, check: Checks) -> None:
    """What is no handle."""
    request = pb.CudaSharedMemoryRegisterRequest(name=_REGION, raw_handle=_HANDLE, device_id=0, byte_size=64)
    answer = target.grpc.call(request, pb.CudaSharedMemoryRegisterResponse)
    check.that("GRPC-CUDA-003", "status", isinstance(answer, GrpcError), "an error", "OK")
