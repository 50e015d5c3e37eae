"""Shared memory over gRPC: its RPCs, and the parameters by which a tensor says that it lies there."""

from collections.abc import Mapping
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import RegionPart, SharedMemoryRegions, region_alone, size_missing
from kserve_v2.rpc.calls import Context, Unary

_REGION = "shared_memory_region"
_OFFSET = "shared_memory_offset"
_BYTE_SIZE = "shared_memory_byte_size"


class SharedMemoryServicer:
    """Answers the shared memory RPCs of `inference.GRPCInferenceService`."""

    def __init__(self, service: InferenceService) -> None:
        self._system = service.shared_memory
        self._cuda = service.shared_memory.cuda

    def rpcs(self, path: str) -> tuple[Unary, ...]:
        """The RPCs, below the path of their service."""
        system, cuda = f"{path}SystemSharedMemory", f"{path}CudaSharedMemory"
        return (
            Unary(f"{system}Status", pb.SystemSharedMemoryStatusRequest, self.system_status),
            Unary(f"{system}Register", pb.SystemSharedMemoryRegisterRequest, self.system_register),
            Unary(f"{system}Unregister", pb.SystemSharedMemoryUnregisterRequest, self.system_unregister),
            Unary(f"{cuda}Status", pb.CudaSharedMemoryStatusRequest, self.cuda_status),
            Unary(f"{cuda}Register", pb.CudaSharedMemoryRegisterRequest, self.cuda_register),
            Unary(f"{cuda}Unregister", pb.CudaSharedMemoryUnregisterRequest, self.cuda_unregister),
        )

    async def system_status(
        self, request: pb.SystemSharedMemoryStatusRequest, context: Context
    ) -> pb.SystemSharedMemoryStatusResponse:
        """One registered region, or all."""
        answer = pb.SystemSharedMemoryStatusResponse()
        for status in self._system.status(request.name):
            region = answer.regions[status.name]
            region.name, region.key = status.name, status.key
            region.offset, region.byte_size = status.offset, status.byte_size
        return answer

    async def system_register(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: Context
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Register a region."""
        self._system.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def system_unregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget one region, or all."""
        self._system.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def cuda_status(
        self, request: pb.CudaSharedMemoryStatusRequest, context: Context
    ) -> pb.CudaSharedMemoryStatusResponse:
        """One registered CUDA region, or all."""
        answer = pb.CudaSharedMemoryStatusResponse()
        for status in self._cuda.status(request.name):
            region = answer.regions[status.name]
            region.name, region.device_id, region.byte_size = status.name, status.device_id, status.byte_size
        return answer

    async def cuda_register(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: Context
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Register a CUDA region."""
        self._cuda.register(request.name, request.raw_handle, request.device_id, request.byte_size)
        return pb.CudaSharedMemoryRegisterResponse()

    async def cuda_unregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Forget one CUDA region, or all."""
        self._cuda.unregister(request.name)
        return pb.CudaSharedMemoryUnregisterResponse()


def region_part(
    parameters: Mapping[str, pb.InferParameter], tensor: str, regions: SharedMemoryRegions
) -> RegionPart | None:
    """Where the tensor lies by its parameters; None if in no region.

    Raises InvalidArgumentError for parameters that do not fit together, and as `SharedMemoryRegions.part`.
    """
    if _REGION not in parameters:
        for name in (_OFFSET, _BYTE_SIZE):
            if name in parameters:
                raise region_alone(name, tensor)
        return None
    region = _value(parameters, _REGION, "string_param", tensor)
    offset = _value(parameters, _OFFSET, "int64_param", tensor) if _OFFSET in parameters else 0
    if _BYTE_SIZE not in parameters:
        raise size_missing(tensor)
    return regions.part(region, offset, _value(parameters, _BYTE_SIZE, "int64_param", tensor))


def _value(parameters: Mapping[str, pb.InferParameter], name: str, kind: str, tensor: str) -> Any:
    parameter = parameters[name]
    if parameter.WhichOneof("parameter_choice") != kind:
        raise InvalidArgumentError(
            f"invalid value type for '{name}' parameter for tensor '{tensor}', expected {kind}."
        )
    return getattr(parameter, kind)
