"""Chooses what speaks a target's protocol. grpc is imported where it is needed."""

from kserve_v2.bench.control import Control, RestControl
from kserve_v2.bench.http_connection import HttpConnection
from kserve_v2.bench.sender import Sender
from kserve_v2.bench.target import Protocol, Target


def control_of(target: Target, model: str, version: str = "") -> Control:
    """Asks about a model."""
    if target.protocol is Protocol.REST:
        return RestControl(target, model, version)
    from kserve_v2.bench.grpc_control import GrpcControl  # noqa: PLC0415 - see above

    return GrpcControl(target, model, version)


def sender_to(target: Target, timeout_s: float) -> Sender:
    """A connection for load, which is not open yet."""
    if target.protocol is Protocol.REST:
        return HttpConnection(target, timeout_s)
    from kserve_v2.bench.grpc_connection import GrpcConnection  # noqa: PLC0415 - see above

    return GrpcConnection(target, timeout_s)
