"""grpcio, as both kinds of client use it. Only the messages are generated: an RPC is its path and two functions."""

from typing import Any, Protocol

import grpc

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.client.address import Address
from kserve_v2.client.connection import Connection
from kserve_v2.client.deadline import Deadline
from kserve_v2.client.errors import (
    ConnectionLostError,
    InvitedError,
    NoServerError,
    UnreachableError,
    of_grpc_status,
)
from kserve_v2.errors import OverloadedError, ServingError, UnavailableError

SERVICE = "/inference.GRPCInferenceService/"
_PUSHBACK = "grpc-retry-pushback-ms"
"""Trailing metadata with which a server asks to be asked again, as gRPC's own retries have it."""

_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_NOT_CONNECTED = ("failed to connect to all addresses", "DNS resolution failed", "Name resolution failure")
_NOT_GRPC = ("Trying to connect an http1.x server", "Received http2 header with status")
_LOST = ("Socket closed", "Connection reset", "recvmsg:", "Stream removed", "GOAWAY", "Broken pipe")


class RpcFailure(Protocol):
    """What both kinds of client of grpcio raise."""

    def code(self) -> grpc.StatusCode:
        """The status."""
        ...

    def details(self) -> str | None:
        """What is said of it."""
        ...

    def trailing_metadata(self) -> Any:
        """Pairs of names and values."""
        ...


def channel_options(address: Address) -> list[tuple[str, int]]:
    """The server limits sizes of messages, the client does not. A server that is back is found within a second."""
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # Nothing on this machine is reached by way of a proxy.
        ("grpc.enable_http_proxy", 0 if address.local else 1),
        # What is sent again is decided here.
        ("grpc.enable_retries", 0),
        # Channels of the process with equal options would share connections, and what broke them.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def credentials(connection: Connection) -> grpc.ChannelCredentials:
    """For a server with TLS."""
    return grpc.ssl_channel_credentials(
        connection.pem("ca_file"), connection.pem("key_file"), connection.pem("cert_file")
    )


def serialized(message: Any) -> bytes:
    """A request as bytes."""
    data: bytes = message.SerializeToString()
    return data


def stream_answer(data: bytes) -> pb.ModelStreamInferResponse:
    """One answer of a stream."""
    return pb.ModelStreamInferResponse.FromString(data)


def translated(error: RpcFailure, address: Address, deadline: Deadline) -> ServingError | InvitedError:
    """What a caller is told of a call that has failed."""
    code, details = error.code(), error.details() or ""
    after_s = _pushback_s(error) if code in _RETRIED else None
    if after_s is not None:
        overloaded = code is grpc.StatusCode.RESOURCE_EXHAUSTED
        return InvitedError(OverloadedError(details) if overloaded else UnavailableError(details), after_s)
    if any(text in details for text in _NOT_GRPC):
        return NoServerError(
            f"what answers at {address.url} does not speak gRPC ({details}): if it is a REST port, give "
            "http://HOST:PORT"
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unavailable(address, details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and deadline.left_s() is not None:
        return deadline.error(address.url)
    return of_grpc_status(code.value[0], details or f"{address.url} answers {code.name}")


def _unavailable(address: Address, details: str) -> ServingError:
    """What the server says, or grpcio of the connection to it."""
    if details.startswith(_NOT_CONNECTED):
        return UnreachableError(address.url, _last_reason(details))
    if any(text in details for text in _LOST):
        return ConnectionLostError(
            f"{address.url} has closed the connection before its answer was complete ({details}): the request may have "
            "been executed"
        )
    return UnavailableError(details)


def _last_reason(details: str) -> str:
    """What the system says, of all that grpcio does: it ends in "Connection refused (111)"."""
    reason = details.rpartition("last error:")[2].strip() or details
    last = reason.rpartition(": ")[2]
    text, bracket, number = last.rpartition(" (")
    if bracket and number.removesuffix(")").isdigit():
        last = text
    # Of TLS there is "OK", behind what has failed.
    return last if len(last) > len("OK") else reason


def _pushback_s(error: RpcFailure) -> float | None:
    for name, value in error.trailing_metadata() or ():
        if name == _PUSHBACK:
            text = value if isinstance(value, str) else value.decode("latin-1")
            # A number below 0 asks for no other try.
            return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 9 else None
    return None
