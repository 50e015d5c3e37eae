"""One connection over gRPC, for calls of ModelInfer with messages that were serialized beforehand."""

import asyncio

import grpc
import grpc.aio

from kserve_v2.bench.grpc_control import OPTIONS
from kserve_v2.bench.sender import Outcome, shortened
from kserve_v2.bench.target import Target

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class GrpcConnection:
    """See `sender.Sender`. The channel connects again by itself, which is not counted."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self.reconnects = 0
        if target.tls:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.aio.secure_channel(target.authority, credentials, options=OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(target.authority, options=OPTIONS)
        self._call = self._channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)

    async def open(self) -> None:
        """See `sender.Sender`."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), self._timeout_s)
        except TimeoutError:
            raise ConnectionError("no connection in time") from None

    async def ask(self, request: bytes) -> Outcome:
        """See `sender.Sender`."""
        try:
            await self._call(request, timeout=self._timeout_s, metadata=self._target.headers)
        except grpc.aio.AioRpcError as error:
            return shortened(error.code().name, (error.details() or "").encode())
        return None

    async def close(self) -> None:
        """See `sender.Sender`."""
        await self._channel.close(None)
