"""How often a client may ping: the rules of gRFC A8, as grpc's own servers have them."""

from typing import Any

import pytest

from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.transport.keepalive import PingStrikes


class Pings:
    """PINGs at times of one's own choice."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 1e6
        made = GrpcOptions(max_request_bytes=1, min_recv_ping_interval_without_data_ms=10_000, **options)
        self.strikes = PingStrikes(made, lambda: self.now_s)

    def ping(self, after_s: float, *, sent: int = 0, idle: bool = False) -> bool:
        """One more, `after_s` after the last; `sent` frames have been sent so far."""
        self.now_s += after_s
        return self.strikes.ping(sent, idle=idle)


def test_two_strikes_are_forgiven_and_the_third_is_not() -> None:
    pings = Pings()
    assert [pings.ping(1) for _ in range(5)] == [False, False, False, True, True]


def test_pings_that_leave_the_interval() -> None:
    pings = Pings()
    assert not any(pings.ping(10) for _ in range(100))


def test_whatever_is_sent_forgives() -> None:
    pings = Pings()
    assert not any(pings.ping(0, sent=number // 3) for number in range(100))


def test_without_calls_the_interval_is_two_hours() -> None:
    pings = Pings()
    assert [pings.ping(3600, idle=True) for _ in range(4)] == [False, False, False, True]
    pings = Pings(keepalive_permit_without_calls=True)
    assert not any(pings.ping(10, idle=True) for _ in range(100))


@pytest.mark.parametrize(("strikes", "allowed"), [(1, 2), (5, 6)])
def test_the_number_of_strikes(strikes: int, allowed: int) -> None:
    pings = Pings(max_ping_strikes=strikes)
    assert [pings.ping(0) for _ in range(allowed + 1)] == [False] * allowed + [True]


def test_any_number_of_strikes() -> None:
    pings = Pings(max_ping_strikes=0)
    assert not any(pings.ping(0) for _ in range(1000))
