"""Shared memory over gRPC: its RPCs, and the parameters by which a tensor says that it lies there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from google.protobuf.message import Message

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import REGION, CudaRegions, RegionPart, SharedMemoryRegions
from kserve_v2.rpc.calls import Context, Rpc
from kserve_v2.rpc.typed import unary


def shared_memory_rpcs(service: InferenceService, path: str) -> tuple[Rpc, ...]:
    """The RPCs of both kinds of regions, below the path of their service."""
    system = service.shared_memory
    cuda = system.cuda

    def register_system(request: pb.SystemSharedMemoryRegisterRequest) -> None:
        system.register(request.name, request.key, request.offset, request.byte_size)

    def register_cuda(request: pb.CudaSharedMemoryRegisterRequest) -> None:
        cuda.register(request.name, request.raw_handle, request.device_id, request.byte_size)

    return (
        *_rpcs(path, "System", system, register_system),
        *_rpcs(path, "Cuda", cuda, register_cuda),
    )


def _rpcs(
    path: str, kind: str, regions: SharedMemoryRegions | CudaRegions, register: Callable[[Any], None]
) -> Iterator[Rpc]:
    """The RPCs of one kind. Their messages have the same fields, but for what a region is registered by."""

    def status(request: Any) -> dict[str, Any]:
        """One registered region, or all."""
        shown = getattr(pb, f"{kind}SharedMemoryStatusResponse").RegionStatus
        return {"regions": {each.name: shown(**asdict(each)) for each in regions.status(request.name)}}

    def unregister(request: Any) -> None:
        """Forget one region, or all."""
        regions.unregister(request.name)

    prefix = f"{kind}SharedMemory"
    yield _rpc(path, f"{prefix}Status", status)
    yield _rpc(path, f"{prefix}Register", register)
    yield _rpc(path, f"{prefix}Unregister", unregister)


def _rpc(path: str, name: str, act: Callable[[Any], dict[str, Any] | None]) -> Rpc:
    """`act` takes the request, and returns the fields of the answer, if that has any."""

    async def answer(request: Any, _: Context) -> Message:
        made: Message = getattr(pb, f"{name}Response")(**(act(request) or {}))
        return made

    return unary(f"{path}{name}", getattr(pb, f"{name}Request"), answer)


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
