"""What one HTTP/2 connection may cost: every bound in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something may happen: `burst` times at once, and `per_second` times for as long as one likes."""

    burst: int
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Limits:
    """Limits of one connection.

    Announced to the client (RFC 9113, section 6.5.2): `max_concurrent_streams`; `max_header_list_bytes`, counted with
    32 bytes for each field; `max_frame_bytes`; `header_table_bytes`; `stream_window_bytes`. `connection_window_bytes`:
    what all streams together may have on their way.

    `max_header_block_bytes`: a header block before it is decoded, and what it may decode to before the connection is
    ended for it; a list between the two sizes costs its stream alone. `max_header_fields`: fields of one block. There
    is no way to pass over the rest without decoding it, and both sides' tables have to stay the same, so this, too,
    ends the connection. `max_continuations`: CONTINUATION frames of one block. `max_control_frame_bytes`: any frame but
    DATA and those of header blocks.

    The rates: `resets` (streams that the client opens and gives up; every stream that is answered allows one more),
    `settings`, `pings`, `empty_data` (DATA frames that bring nothing), `overhead` (WINDOW_UPDATE, PRIORITY and unknown
    frames, frames on streams that are closed; every DATA frame that is sent allows more) and `header_fields` (those
    beyond the first `usual_header_fields` of each block that has to be decoded: one byte of the client's may be one).

    `max_unread_bytes`: what may wait in the socket's buffer beside the bodies of answers, which wait in their streams.
    `max_queued_bytes`: bodies that wait there, in all; beyond it, new streams are refused until the client reads.
    `max_stall_s`: seconds that a client may let pass without sending the rest of a frame, or without reading or giving
    leave to send more of an answer. It is checked twice in this time, so a client is cut off after once to one and a
    half times as long.
    """

    max_concurrent_streams: int = 10_000
    max_header_list_bytes: int = 64 * 1024
    max_header_block_bytes: int = 128 * 1024
    max_header_fields: int = 256
    usual_header_fields: int = 64
    max_continuations: int = 32
    header_table_bytes: int = 4096
    max_frame_bytes: int = 1024 * 1024
    max_control_frame_bytes: int = 16 * 1024
    stream_window_bytes: int = 16 * 1024 * 1024
    connection_window_bytes: int = 16 * 1024 * 1024
    resets: Rate = Rate(burst=1000, per_second=100)
    settings: Rate = Rate(burst=100, per_second=10)
    pings: Rate = Rate(burst=1000, per_second=100)
    empty_data: Rate = Rate(burst=1000, per_second=100)
    overhead: Rate = Rate(burst=20_000, per_second=2000)
    header_fields: Rate = Rate(burst=20_000, per_second=20_000)
    max_unread_bytes: int = 16 * 1024 * 1024
    max_queued_bytes: int = 256 * 1024 * 1024
    max_stall_s: float = 60.0
