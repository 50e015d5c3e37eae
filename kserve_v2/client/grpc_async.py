"""gRPC for the async client. A channel belongs to the event loop in which it is first used."""

from collections.abc import AsyncGenerator
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

from kserve_v2.client.connection import Connection
from kserve_v2.client.deadline import Deadline
from kserve_v2.client.exchange import RpcExchange, RpcStream
from kserve_v2.client.grpc_common import (
    SERVICE,
    RpcFailure,
    channel_options,
    credentials,
    serialized,
    stream_answer,
    translated,
)

T = TypeVar("T")


class AsyncGrpcTransport:
    """A channel to one server."""

    def __init__(self, connection: Connection) -> None:
        address = self._address = connection.address
        options = channel_options(address)
        self._channel = (
            grpc.aio.secure_channel(address.target, credentials(connection), options)
            if address.tls
            else grpc.aio.insecure_channel(address.target, options)
        )

    async def send(self, exchange: RpcExchange[T], headers: dict[str, str], deadline: Deadline) -> T:
        """Ask, and read the answer. Raises ServingError, InvitedError."""
        call: Any = self._channel.unary_unary(
            SERVICE + exchange.method, serialized, exchange.answer.FromString
        )
        try:
            answer = await call(exchange.request, timeout=deadline.wait_s(), metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            raise translated(cast(RpcFailure, error), self._address, deadline) from error
        return exchange.read(answer)

    async def stream(
        self, stream: RpcStream[T], headers: dict[str, str], deadline: Deadline
    ) -> AsyncGenerator[T, None]:
        """Ask, and read the answers as they come. Whoever closes the iterator leaves."""
        begin: Any = self._channel.stream_stream(SERVICE + "ModelStreamInfer", serialized, stream_answer)
        call = begin(iter((stream.request,)), timeout=deadline.wait_s(), metadata=tuple(headers.items()))
        try:
            async for message in call:
                result, final = stream.read(message)
                if result is not None:
                    yield result
                if final:
                    return
        except grpc.RpcError as error:
            raise translated(cast(RpcFailure, error), self._address, deadline) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)
