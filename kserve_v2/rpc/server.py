"""The gRPC server on grpcio's asyncio transport."""

import grpc

from kserve_v2.inference import InferenceService
from kserve_v2.rpc import health, reflection, servicer

_MAX_PENDING_CALLS = 100_000


class GrpcServer:
    """Serves an InferenceService, the health service and reflection over gRPC."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest message that is accepted; answers may have any size."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.max_send_message_length", -1),
                # Two servers on one port would share its connections in silence; a port in use is an error
                # instead.
                ("grpc.so_reuseport", 0),
                # Beyond 1000 calls that the loop has not come to yet, grpc would cancel new ones at random,
                # whoever's they are. How much may wait is for the models' queues to say.
                ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
                ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_CALLS),
            ]
        )
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
