"""The settings of a gRPC server's connections, and the channel arguments that grpcio knows them by."""

from dataclasses import dataclass

COMPRESSION_LEVELS = {"none": 0, "low": 1, "medium": 2, "high": 3}
"""Triton's names of grpc's compression levels. Which algorithm a level means depends on what the client accepts."""

# Calls that the event loop has not come to yet. Beyond 1000, its default, grpc would cancel new ones at random,
# whoever's they are. How much may wait is for the models' queues to say.
_MAX_PENDING_CALLS = 100_000

# Calls of one connection that may be under way. A client that starts more waits; it need not know.
_MAX_CONCURRENT_STREAMS = 10_000

# Metadata of one call, in bytes: what one HTTP request may have in its headers.
_MAX_METADATA_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """Settings of every connection; the defaults are Triton's.

    `max_request_bytes`: the largest message that is accepted; answers may have any size. The `max_connection_age` times
    are unlimited where they are 0.
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

    def channel_arguments(self) -> list[tuple[str, int]]:
        """The arguments for `grpc.aio.server`."""
        ages = {
            "grpc.max_connection_age_ms": self.max_connection_age_ms,
            "grpc.max_connection_age_grace_ms": self.max_connection_age_grace_ms,
        }
        return [
            ("grpc.max_receive_message_length", self.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would share its connections in silence; a port in use is an error instead.
            ("grpc.so_reuseport", 0),
            ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_CALLS),
            ("grpc.max_concurrent_streams", _MAX_CONCURRENT_STREAMS),
            # The first is what a client is told, the second what it is held to.
            ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.keepalive_time_ms", self.keepalive_time_ms),
            ("grpc.keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("grpc.keepalive_permit_without_calls", int(self.keepalive_permit_without_calls)),
            ("grpc.http2.max_pings_without_data", self.max_pings_without_data),
            ("grpc.http2.min_ping_interval_without_data_ms", self.min_recv_ping_interval_without_data_ms),
            ("grpc.http2.max_ping_strikes", self.max_ping_strikes),
            ("grpc.default_compression_level", COMPRESSION_LEVELS[self.response_compression]),
            *((name, milliseconds) for name, milliseconds in ages.items() if milliseconds),
        ]
