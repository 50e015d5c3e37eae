"""The settings of a gRPC server's connections."""

from dataclasses import dataclass

COMPRESSION_LEVELS = ("none", "low", "medium", "high")
"""Triton's names of grpc's compression levels. Which algorithm a level means depends on what the client accepts."""

MAX_CONCURRENT_STREAMS = 10_000
"""Calls of one connection that may be under way. A client that starts more waits; it need not know."""

MAX_METADATA_BYTES = 64 * 1024
"""Metadata of one call: what one HTTP request may have in its headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """Settings of every connection; the defaults are Triton's.

    `max_request_bytes`: the largest message that is accepted; answers may have any size. The `max_connection_age` times
    are unlimited where they are 0. `max_stall_s`: seconds that a client may let pass without sending the rest of a
    message, or without reading more of an answer.
    """

    max_request_bytes: int
    keepalive_time_ms: int = 7_200_000
    keepalive_timeout_ms: int = 20_000
    keepalive_permit_without_calls: bool = False
    max_pings_without_data: int = 2
    min_recv_ping_interval_without_data_ms: int = 300_000
    max_ping_strikes: int = 2
    max_connection_age_ms: int = 0
    max_connection_age_grace_ms: int = 0
    response_compression: str = "none"
    max_stall_s: float = 60.0

    @property
    def max_buffered_bytes(self) -> int:
        """What the unfinished messages of one connection may take together."""
        return max(4 * self.max_request_bytes, 64 * 1024 * 1024)
