"""httpx, as both kinds of client use it."""

import errno
import os
import ssl
from typing import Any

import httpx

from kserve_v2.client.address import Address
from kserve_v2.client.connection import Connection
from kserve_v2.client.deadline import Deadline
from kserve_v2.client.errors import ConnectionLostError, NoServerError, UnreachableError
from kserve_v2.client.exchange import HttpAnswer
from kserve_v2.errors import InvalidArgumentError, ServingError

# Below the time after which servers and what stands in front of them close idle connections.
_KEEPALIVE_S = 30
# What h11 and httpcore say of an answer that has an end too early; they say other things of what is no HTTP/1.1.
_CUT_OFF = ("peer closed connection", "Server disconnected")
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE_S)


def client_options(connection: Connection) -> dict[str, Any]:
    """What a client of httpx is made with, but for its transport."""
    return {
        # Nothing on this machine is reached by way of a proxy.
        "trust_env": not connection.address.local,
        "follow_redirects": False,
        # Tensors are hardly worth the time that it takes to compress them.
        "headers": {"accept-encoding": "identity", "user-agent": "kserve-v2"},
    }


def transport_options(connection: Connection) -> dict[str, Any]:
    """What clients, or the transport of a Unix socket, are made with."""
    options: dict[str, Any] = {"limits": _LIMITS}
    if connection.address.tls:
        options["verify"] = connection.ssl_context(httpx.create_ssl_context)
    return options


def base_url(address: Address) -> str:
    """In front of paths."""
    return "http://localhost" if address.path else address.url


def limits_of_time(deadline: Deadline) -> httpx.Timeout:
    """For one request. Each piece of it may take what is left of the whole."""
    return httpx.Timeout(deadline.wait_s())


def answer_of(response: httpx.Response, body: bytes) -> HttpAnswer:
    """Of a response whose body has been read."""
    return HttpAnswer(response.status_code, dict(response.headers), body, str(response.request.url))


def translated(error: Exception, address: Address, deadline: Deadline) -> ServingError:
    """What a caller is told of an error of httpx."""
    match error:
        case httpx.TimeoutException():
            return deadline.error(address.url)
        case httpx.ConnectError() | httpx.ProxyError():
            return UnreachableError(address.url, reason_of(error))
        case httpx.RemoteProtocolError() if not any(text in str(error) for text in _CUT_OFF):
            return NoServerError(
                f"what answers at {address.url} does not speak HTTP/1.1 ({error}): if it is a gRPC port, give "
                "grpc://HOST:PORT"
            )
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return ConnectionLostError(
                f"{address.url} has closed the connection before its answer was complete ({reason_of(error)}): the "
                "request may have been executed"
            )
        case httpx.DecodingError():
            return NoServerError(f"the answer of {address.url} cannot be decompressed: {error}")
        case _:
            return InvalidArgumentError(f"{address.url} cannot be asked: {error}")


def reason_of(error: BaseException) -> str:
    """What the system says, below the layers that have passed it on."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {current.verify_message}; give its authority as ca_file"
        if isinstance(current, ssl.SSLError):
            return f"no TLS: {current.reason or current}"
        if isinstance(current, OSError) and current.strerror:
            # asyncio has words of its own for what the system says.
            number = current.errno or 0
            return os.strerror(number) if number in errno.errorcode else current.strerror
        waiting += [current.__context__, current.__cause__]
        waiting += getattr(current, "exceptions", ())
    return str(error) or type(error).__name__
