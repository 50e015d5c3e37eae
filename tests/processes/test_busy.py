"""How busy event loops are, and what is said about it."""

import logging

import pytest

from kserve_v2.processes.busy import EVERY_S, WINDOW_S, LoopBusy
from kserve_v2.processes.count import chosen, suggested
from kserve_v2.processes.hint import BusyHint


class Clock:
    def __init__(self) -> None:
        self.now = self.cpu = 0.0

    def busy(self) -> LoopBusy:
        return LoopBusy(lambda: self.now, lambda: self.cpu)

    def pass_time(self, loop: LoopBusy, seconds: float, share: float) -> None:
        for _ in range(round(seconds / EVERY_S)):
            self.now += EVERY_S
            self.cpu += EVERY_S * share
            loop.look()


def test_the_share_is_that_of_the_last_minute() -> None:
    clock = Clock()
    loop = clock.busy()
    assert loop.ratio == 0
    clock.pass_time(loop, 30, 0.5)
    assert loop.ratio == pytest.approx(0.5)
    assert not loop.seen
    clock.pass_time(loop, 30, 1)
    assert loop.ratio == pytest.approx(0.75)
    assert loop.seen
    clock.pass_time(loop, WINDOW_S, 0.1)
    assert loop.ratio == pytest.approx(0.1)


def test_clocks_that_differ_a_little_make_no_share_above_one() -> None:
    clock = Clock()
    loop = clock.busy()
    clock.pass_time(loop, 60, 1.02)
    assert loop.ratio == 1


@pytest.mark.parametrize(("cpus", "processes"), [(1, 1), (2, 1), (4, 3), (8, 6), (16, 12), (64, 16)])
def test_what_auto_stands_for(cpus: int, processes: int) -> None:
    assert chosen(cpus) == processes


@pytest.mark.parametrize(
    ("count", "cpus", "number"), [(1, 1, None), (1, 2, 2), (1, 4, 3), (3, 4, 4), (4, 4, None)]
)
def test_how_many_to_try(count: int, cpus: int, number: int | None) -> None:
    assert suggested(count, cpus) == number


def test_the_hint_names_the_share_and_the_option_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    hint = BusyHint(8, lambda: now_s)
    with caplog.at_level(logging.INFO):
        hint.look([0.85])
        assert caplog.messages == []
        hint.look([0.96])
        hint.look([0.97])
        assert caplog.messages == ["the front end was busy 96 % of the last minute: try --processes 6"]
        now_s = 3600.0
        hint.look([0.95, 0.93])
        assert caplog.messages[1:] == [
            "the front ends of all 2 processes were busy 94 % of the last minute: try --processes 6"
        ]


def test_one_busy_process_among_idle_ones_is_no_reason_for_more(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        BusyHint(8).look([0.99, 0.2])
        BusyHint(1).look([0.99])
    assert caplog.messages == []
