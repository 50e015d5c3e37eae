"""Server reflection: lets grpcurl and its kind call the server without our proto files. Both versions of the
service.
"""

from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from kserve_v2._generated import reflection_pb2, reflection_v1_pb2
from kserve_v2._generated._pool import POOL
from kserve_v2.errors import ErrorCode
from kserve_v2.rpc.calls import Context, Streaming
from kserve_v2.rpc.typed import streaming

# The stubs of protobuf leave the pool's methods untyped.
_POOL: Any = POOL

_FIND = {
    "file_by_filename": _POOL.FindFileByName,
    "file_containing_symbol": _POOL.FindFileContainingSymbol,
}

SERVICES = {
    "grpc.reflection.v1.ServerReflection": reflection_v1_pb2,
    "grpc.reflection.v1alpha.ServerReflection": reflection_pb2,
}


def reflection_rpcs(service_names: list[str]) -> tuple[Streaming, ...]:
    """Both reflection services, for a server of `service_names`."""
    names = sorted({*service_names, *SERVICES})
    return tuple(
        streaming(f"/{service}/ServerReflectionInfo", pb.ServerReflectionRequest, _Reflection(pb, names).info)
        for service, pb in SERVICES.items()
    )


class _Reflection:
    """One version of the service; the versions differ in their package name only."""

    def __init__(self, pb: ModuleType, names: list[str]) -> None:
        self._pb: Any = pb
        self._names = names

    async def info(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """One answer for each request of the stream."""
        async for request in requests:
            response = self._pb.ServerReflectionResponse(original_request=request)
            self._answer(request, response)
            yield response

    def _answer(self, request: Any, response: Any) -> None:
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            response.list_services_response.service.extend(
                self._pb.ServiceResponse(name=name) for name in self._names
            )
            return
        error = response.error_response
        if kind not in _FIND:
            error.error_code = ErrorCode.UNSUPPORTED.value.grpc
            error.error_message = f"{kind} is not supported: there are no extensions"
            return
        wanted = getattr(request, kind)
        try:
            found = _FIND[kind](wanted)
        except KeyError:
            error.error_code = ErrorCode.NOT_FOUND.value.grpc
            error.error_message = f"not found: {wanted}"
            return
        response.file_descriptor_response.file_descriptor_proto.extend(_with_dependencies(found))


def _with_dependencies(file: FileDescriptor) -> list[bytes]:
    """The serialized descriptors of a file and of all that it imports."""
    files: dict[str, FileDescriptor] = {}
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current.name not in files:
            files[current.name] = current
            waiting.extend(current.dependencies)
    return [current.serialized_pb for current in files.values()]
