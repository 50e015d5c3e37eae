"""The gRPC server: one of two transports, and what both have in common for whoever starts them."""

from typing import Protocol

from kserve_v2.inference import InferenceService
from kserve_v2.net.tls import TlsFiles, read_pem, server_context
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.servicer import all_rpcs


class GrpcServer(Protocol):
    """A server of all RPCs."""

    def bind(self, address: str, port: int) -> int:
        """Bind before `start`; returns the port, which is chosen for 0, or 0 for a Unix socket. Raises OSError where
        that is not possible.
        """
        ...

    async def start(self) -> None:
        """Accept connections."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new RPCs, give those under way `grace_seconds` to finish, then cancel them."""
        ...


def grpc_server(
    service: InferenceService, options: GrpcOptions, transport: str, tls: TlsFiles | None = None
) -> GrpcServer:
    """A server on `transport`: "asyncio" or "grpcio". `tls`: None for cleartext. Raises TlsError."""
    rpcs = all_rpcs(service)
    if transport == "asyncio":
        context = server_context(tls, ()) if tls else None
        return AsyncioServer(rpcs, options, context, service.inflight, service.slicer)
    # Imported only here: grpcio is a large library that starts threads of its own.
    from kserve_v2.rpc.grpcio_server import GrpcioServer  # noqa: PLC0415

    return GrpcioServer(rpcs, options, read_pem(tls) if tls else None)
