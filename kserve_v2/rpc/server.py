"""The gRPC server on grpcio's asyncio transport."""

import asyncio
import logging

import grpc

from kserve_v2.inference import InferenceService
from kserve_v2.rpc import health, reflection, servicer
from kserve_v2.rpc.options import GrpcOptions

logger = logging.getLogger(__name__)


class GrpcServer:
    """Serves an InferenceService, the health service and reflection over gRPC.

    A call whose path is not UTF-8 ends the loop in which grpcio (1.85 and older) takes calls, and so the whole
    server. It is then replaced: calls that are under way are lost, later ones are answered.
    """

    def __init__(self, service: InferenceService, options: GrpcOptions) -> None:
        """`options` hold for every connection."""
        self._service = service
        self._options = options
        self._server = self._make_server()
        self._address = ""
        self._guard: asyncio.Task[None] | None = None

    def _make_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options.channel_arguments())
        server.add_generic_rpc_handlers(
            (
                servicer.InferenceServicer(self._service).handlers(),
                health.HealthServicer(self._service).handlers(),
                *reflection.reflection_handlers([servicer.SERVICE_NAME, health.SERVICE_NAME]),
            )
        )
        return server

    def bind(self, address: str, port: int) -> int:
        """Bind before `start`; returns the port, which is chosen for 0. Raises OSError where that is not
        possible.
        """
        host = f"[{address}]" if ":" in address else address
        bound = _bind(self._server, f"{host}:{port}")
        self._address = f"{host}:{bound}"
        return bound

    async def start(self) -> None:
        """Accept connections."""
        before = asyncio.all_tasks()
        await self._server.start()
        # Those of grpcio, which keeps them to itself. None of them fails as long as all is well.
        tasks = asyncio.all_tasks() - before
        self._guard = asyncio.create_task(self._replace_if_broken(tasks))

    async def _replace_if_broken(self, tasks: set[asyncio.Task[object]]) -> None:
        finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        problems = [task.exception() for task in finished if not task.cancelled()]
        if not any(problems):
            return
        logger.error("grpcio has stopped taking calls: starting again on %s", self._address)
        await self._server.stop(None)
        self._server = self._make_server()
        _bind(self._server, self._address)
        await self.start()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new RPCs, give those under way `grace_seconds` to finish, then cancel them."""
        if self._guard is not None:
            self._guard.cancel()
        await self._server.stop(grace_seconds)


def _bind(server: grpc.aio.Server, address: str) -> int:
    """Returns the port. Raises OSError."""
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}") from error
    if not bound:
        raise OSError(f"cannot listen on {address}")
    return bound
