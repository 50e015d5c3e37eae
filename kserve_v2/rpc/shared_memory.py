"""Shared memory over gRPC: its RPCs, and the parameters by which a tensor says that it lies there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from google.protobuf.message import Message

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import CudaRegions, RegionPart, SharedMemoryRegions, region_alone, size_missing
from kserve_v2.rpc.calls import Context, Rpc
from kserve_v2.rpc.typed import unary

REGION = "shared_memory_region"
"""The parameter that says in which region a tensor lies."""

_OFFSET = "shared_memory_offset"
_BYTE_SIZE = "shared_memory_byte_size"


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
    """Where the tensor lies by its parameters; None if in no region.

    Raises InvalidArgumentError for parameters that do not fit together, and as `SharedMemoryRegions.part`.
    """
    if REGION not in parameters:
        for name in (_OFFSET, _BYTE_SIZE):
            if name in parameters:
                raise region_alone(name, tensor)
        return None
    region = _value(parameters, REGION, "string_param", tensor)
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
