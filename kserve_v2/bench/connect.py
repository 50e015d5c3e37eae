"""Chooses what speaks a target's protocol. grpc is imported where it is needed."""

from functools import partial

from kserve_v2.bench.connection import Connection
from kserve_v2.bench.control import Control, RestControl
from kserve_v2.bench.grpc_connection import GrpcProtocol, call_headers
from kserve_v2.bench.http_connection import HttpProtocol
from kserve_v2.bench.target import Protocol, Target


def control_of(target: Target, model: str, version: str = "") -> Control:
    """Asks about a model."""
    if target.protocol is Protocol.REST:
        return RestControl(target, model, version)
    from kserve_v2.bench.grpc_control import GrpcControl  # noqa: PLC0415 - see above

    return GrpcControl(target, model, version)


def sender_to(target: Target, timeout_s: float) -> Connection:
    """A connection for load, which is not open yet."""
    if target.protocol is Protocol.REST:
        return Connection(target, timeout_s, HttpProtocol, "http/1.1")
    return Connection(target, timeout_s, partial(GrpcProtocol, call_headers(target)), "h2")
