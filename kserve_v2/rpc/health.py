"""The standard health service `grpc.health.v1.Health`: serving when the server is ready, whatever service is
asked for.
"""

from collections.abc import AsyncIterator

from kserve_v2._generated import health_pb2 as pb
from kserve_v2.inference import InferenceService
from kserve_v2.rpc.calls import Context, Rpc, ServerStreaming, Unary

SERVICE_NAME = "grpc.health.v1.Health"


class HealthServicer:
    """Answers health checks from an InferenceService."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def rpcs(self) -> tuple[Rpc, ...]:
        """All of the service."""
        return (
            Unary(f"/{SERVICE_NAME}/Check", pb.HealthCheckRequest, self.check),
            ServerStreaming(f"/{SERVICE_NAME}/Watch", pb.HealthCheckRequest, self.watch),
        )

    async def check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """The status now."""
        return _status(self._service.ready())

    async def watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """The status now and whenever it changes, until the client leaves."""
        async for ready in self._service.readiness():
            yield _status(ready)


def _status(ready: bool) -> pb.HealthCheckResponse:
    status = pb.HealthCheckResponse
    return status(status=status.SERVING if ready else status.NOT_SERVING)
