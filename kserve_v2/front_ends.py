"""The front ends as the settings want them, for every process that has some."""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from kserve_v2.memory.limit import memory_limit
from kserve_v2.net.http_server import HttpServer
from kserve_v2.net.limits import HttpLimits
from kserve_v2.net.listening import Place
from kserve_v2.net.tls import server_context
from kserve_v2.rest.protocol import HttpConnection
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.settings.settings import Settings


def rest_server(settings: Settings, app: ASGIApp, place: Place | None, lane: Any = None) -> HttpServer:
    """The server of the REST port. `lane`: what takes inference requests past ASGI, or None. Raises TlsError."""
    files = settings.tls("http")
    tls = server_context(files, ["http/1.1"]) if files else None
    origins = settings.http_cors_allow_origin
    return HttpServer(app, place, partial(http_connection(settings), lane=lane, origins=origins), tls)


def http_connection(settings: Settings) -> Callable[..., HttpConnection]:
    """What makes connections over HTTP."""
    return partial(HttpConnection, limits=HttpLimits(max_stall_s=settings.http_read_timeout_secs))


def has_fast_lane(settings: Settings) -> bool:
    """Whether inference requests over REST may go past ASGI."""
    return settings.http_fast_lane and not settings.http_cors_allow_origin


def max_inflight_bytes(settings: Settings, processes: int) -> int:
    """What requests in flight may hold in each of so many processes, which share out what all of them may hold. The
    largest request that is accepted fits in any case.
    """
    total = settings.max_inflight_bytes or memory_limit() // 4
    return max(total // processes, settings.http_max_input_size)


def grpc_options(settings: Settings) -> GrpcOptions:
    """How the gRPC server treats connections and calls."""
    return GrpcOptions(
        max_request_bytes=settings.http_max_input_size,
        keepalive_time_ms=settings.grpc_keepalive_time,
        keepalive_timeout_ms=settings.grpc_keepalive_timeout,
        keepalive_permit_without_calls=settings.grpc_keepalive_permit_without_calls,
        max_pings_without_data=settings.grpc_http2_max_pings_without_data,
        min_recv_ping_interval_without_data_ms=settings.grpc_http2_min_recv_ping_interval_without_data,
        max_ping_strikes=settings.grpc_http2_max_ping_strikes,
        max_connection_age_ms=settings.grpc_max_connection_age,
        max_connection_age_grace_ms=settings.grpc_max_connection_age_grace,
        response_compression=settings.grpc_infer_response_compression_level,
        max_stall_s=settings.http_read_timeout_secs,
    )
