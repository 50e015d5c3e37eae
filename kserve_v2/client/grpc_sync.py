"""gRPC for the sync client. Threads may share it."""

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import grpc

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


class GrpcTransport:
    """A channel to one server."""

    def __init__(self, connection: Connection) -> None:
        address = self._address = connection.address
        options = channel_options(address)
        self._channel = (
            grpc.secure_channel(address.target, credentials(connection), options)
            if address.tls
            else grpc.insecure_channel(address.target, options)
        )
        self._calls: dict[str, Any] = {}

    def send(self, exchange: RpcExchange[T], headers: dict[str, str], deadline: Deadline) -> T:
        """Ask, and read the answer. Raises ServingError, InvitedError."""
        call = self._calls.get(exchange.method)
        if call is None:
            call = self._calls[exchange.method] = self._channel.unary_unary(
                SERVICE + exchange.method, serialized, exchange.answer.FromString
            )
        try:
            answer = call(exchange.request, timeout=deadline.wait_s(), metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            raise translated(cast(RpcFailure, error), self._address, deadline) from error
        return exchange.read(answer)

    def stream(self, stream: RpcStream[T], headers: dict[str, str], deadline: Deadline) -> Iterator[T]:
        """Ask, and read the answers as they come. Whoever closes the iterator leaves."""
        begin = self._channel.stream_stream(SERVICE + "ModelStreamInfer", serialized, stream_answer)
        call: Any = begin(iter((stream.request,)), timeout=deadline.wait_s(), metadata=tuple(headers.items()))
        try:
            for message in call:
                result, final = stream.read(message)
                if result is not None:
                    yield result
                if final:
                    return
        except grpc.RpcError as error:
            raise translated(cast(RpcFailure, error), self._address, deadline) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
