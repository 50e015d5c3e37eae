"""The gRPC server on grpcio's asyncio transport."""

import grpc

from kserve_v2.inference import InferenceService
from kserve_v2.rpc import health, reflection, servicer
from kserve_v2.rpc.options import GrpcOptions


class GrpcServer:
    """Serves an InferenceService, the health service and reflection over gRPC."""

    def __init__(self, service: InferenceService, options: GrpcOptions) -> None:
        """`options` hold for every connection."""
        self._server = grpc.aio.server(options=options.channel_arguments())
        self._server.add_generic_rpc_handlers(
            (
                servicer.InferenceServicer(service).handlers(),
                health.HealthServicer(service).handlers(),
                *reflection.reflection_handlers([servicer.SERVICE_NAME, health.SERVICE_NAME]),
            )
        )

    def bind(self, address: str, port: int) -> int:
        """Bind before `start`; returns the port, which is chosen for 0. Raises OSError where that is not
        possible.
        """
        host = f"[{address}]" if ":" in address else address
        try:
            bound = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host}:{port}") from error
        if not bound:
            raise OSError(f"cannot listen on {host}:{port}")
        return bound

    async def start(self) -> None:
        """Accept connections."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new RPCs, give those under way `grace_seconds` to finish, then cancel them."""
        await self._server.stop(grace_seconds)
