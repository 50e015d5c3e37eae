"""When a process that has died is started again."""

from kserve_v2.isolation.delays import FIRST_S, LONGEST_S, STABLE_S, RestartDelays


def test_the_first_restart_is_at_once_and_each_that_dies_young_doubles_the_delay() -> None:
    delays = RestartDelays()
    found = [delays.after(1) for _ in range(14)]
    assert found[:4] == [0, FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert found[-2:] == [LONGEST_S, LONGEST_S]


def test_a_process_that_was_all_right_for_long_is_started_again_at_once() -> None:
    delays = RestartDelays()
    for _ in range(8):
        delays.after(0)
    assert delays.after(STABLE_S) == 0
    assert delays.after(STABLE_S - 1) == FIRST_S
