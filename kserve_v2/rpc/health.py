"""The standard health service `grpc.health.v1.Health`: serving when the server is ready, whatever service is
asked for.
"""

from collections.abc import AsyncIterator

from kserve_v2._generated import health_pb2 as pb
from kserve_v2.inference import InferenceService
from kserve_v2.rpc.calls import Context, Rpc
from kserve_v2.rpc.typed import server_streaming, unary

SERVICE_NAME = "grpc.health.v1.Health"


def health_rpcs(service: InferenceService) -> tuple[Rpc, ...]:
    """All RPCs of the service."""

    async def check(request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """The status now."""
        return _status(service.ready())

    async def watch(
        request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """The status now and whenever it changes, until the client leaves."""
        async for ready in service.readiness():
            yield _status(ready)

    return (
        unary(f"/{SERVICE_NAME}/Check", pb.HealthCheckRequest, check),
        server_streaming(f"/{SERVICE_NAME}/Watch", pb.HealthCheckRequest, watch),
    )


def _status(ready: bool) -> pb.HealthCheckResponse:
    status = pb.HealthCheckResponse
    return status(status=status.SERVING if ready else status.NOT_SERVING)
