"""PINGs in both directions, as gRPC wants them: the client's must not come too often, ours find out who has left.

The rules, and their names, are those of the gRFC A8 and A9.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from kserve_v2.http2.budget import Clock
from kserve_v2.http2.protocol import Http2Protocol
from kserve_v2.rpc.options import GrpcOptions

KEEPALIVE_PING = b"anybody?"
"""What our PINGs say."""

# The least time between pings of a client without calls, unless such pings are permitted.
_IDLE_INTERVAL_S = 7200.0


class PingStrikes:
    """Counts the PINGs that come too early."""

    def __init__(self, options: GrpcOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._strikes = 0
        self._last_s: float | None = None
        self._sent_frames = 0

    def ping(self, sent_frames: int, *, idle: bool) -> bool:
        """A PING has come; True if it is one too many. `sent_frames`: HEADERS and DATA frames that were sent so far:
        each of them forgives all PINGs before it.
        """
        if sent_frames != self._sent_frames:
            self._sent_frames = sent_frames
            self._last_s = None
            self._strikes = 0
        now, last = self._clock(), self._last_s
        self._last_s = now
        interval_s = self._options.min_recv_ping_interval_without_data_ms / 1000
        if idle and not self._options.keepalive_permit_without_calls:
            interval_s = _IDLE_INTERVAL_S
        if last is None or last + interval_s <= now:
            return False
        self._strikes += 1
        return 0 < self._options.max_ping_strikes < self._strikes


class Keepalive:
    """Pings a client that has not said anything for a while."""

    def __init__(self, options: GrpcOptions, owner: Http2Protocol[Any]) -> None:
        # What had been heard when it was looked at last.
        self._heard: object = None
        self._options = options
        self._owner = owner
        self._timer: asyncio.TimerHandle | None = None
        self._sent_frames = 0
        self._pings_without_data = 0

    def start(self) -> None:
        """The connection is there."""
        self._later(self._options.keepalive_time_ms, self._silence)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _later(self, delay_ms: int, callback: Callable[[], None]) -> None:
        self._timer = self._owner.loop.call_later(delay_ms / 1000, callback)

    def _silence(self) -> None:
        """A keepalive time is over."""
        if not self._heard_more() and self._may_ping():
            self._owner.connection.ping(KEEPALIVE_PING)
            self._later(self._options.keepalive_timeout_ms, self._no_answer)
        else:
            self._later(self._options.keepalive_time_ms, self._silence)

    def answered(self) -> None:
        """The client is there."""
        self.stop()
        self._later(self._options.keepalive_time_ms, self._silence)

    def _heard_more(self) -> bool:
        before, self._heard = self._heard, self._owner.connection.reader.progress
        return before != self._heard

    def _may_ping(self) -> bool:
        options, connection = self._options, self._owner.connection
        if not connection.streams and not options.keepalive_permit_without_calls:
            return False
        sent = connection.output.message_frames
        if sent != self._sent_frames:
            self._sent_frames, self._pings_without_data = sent, 0
        self._pings_without_data += 1
        return (
            not options.max_pings_without_data or self._pings_without_data <= options.max_pings_without_data
        )

    def _no_answer(self) -> None:
        """The time for an answer is over; anything that has come is one."""
        if self._heard_more():
            self._later(self._options.keepalive_time_ms, self._silence)
        else:
            self._owner.transport.abort()
