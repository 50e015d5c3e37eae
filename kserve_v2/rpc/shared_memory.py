"""Shared memory over gRPC: its RPCs, and the parameters by which a tensor says that it lies there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import REGION, CudaRegions, RegionPart, SharedMemoryRegions
from kserve_v2.rpc.calls import Rpc
from kserve_v2.rpc.typed import inference_rpc


def shared_memory_rpcs(service: InferenceService) -> tuple[Rpc, ...]:
    """The RPCs of both kinds of regions."""
    system = service.shared_memory
    cuda = system.cuda

    def register_system(request: pb.SystemSharedMemoryRegisterRequest) -> None:
        system.register(request.name, request.key, request.offset, request.byte_size)

    def register_cuda(request: pb.CudaSharedMemoryRegisterRequest) -> None:
        cuda.register(request.name, request.raw_handle, request.device_id, request.byte_size)

    return *_rpcs("System", system, register_system), *_rpcs("Cuda", cuda, register_cuda)


def _rpcs(
    kind: str, regions: SharedMemoryRegions | CudaRegions, register_region: Callable[[Any], None]
) -> Iterator[Rpc]:
    """The RPCs of one kind. Their messages have the same fields, but for what a region is registered by."""

    async def status(request: Any) -> dict[str, Any]:
        """One registered region, or all."""
        shown = getattr(pb, f"{kind}SharedMemoryStatusResponse").RegionStatus
        return {"regions": {each.name: shown(**asdict(each)) for each in regions.status(request.name)}}

    async def register(request: Any) -> dict[str, Any]:
        register_region(request)
        return {}

    async def unregister(request: Any) -> dict[str, Any]:
        """Forget one region, or all."""
        regions.unregister(request.name)
        return {}

    yield inference_rpc(f"{kind}SharedMemoryStatus", status)
    yield inference_rpc(f"{kind}SharedMemoryRegister", register)
    yield inference_rpc(f"{kind}SharedMemoryUnregister", unregister)


def region_part(
    parameters: Mapping[str, pb.InferParameter], tensor: str, regions: SharedMemoryRegions
) -> RegionPart | None:
    """Where the tensor lies by its parameters; None if in no region. Raises as `SharedMemoryRegions.announced`."""

    def read(name: str) -> Any:
        kind = "string_param" if name == REGION else "int64_param"
        if parameters[name].WhichOneof("parameter_choice") != kind:
            raise InvalidArgumentError(
                f"invalid value type for '{name}' parameter for tensor '{tensor}', expected {kind}."
            )
        return getattr(parameters[name], kind)

    return regions.announced(parameters, tensor, read)
