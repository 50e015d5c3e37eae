"""When a service that does not answer is asked again; the clock is a number."""

from kserve_v2.caching.back_off import FIRST_S, LONGEST_S, BackOff


def test_a_service_that_answers_is_asked_always() -> None:
    back_off = BackOff()
    assert all(back_off.may_try(now) for now in (0.0, 0.0, 1.0))
    assert not back_off.succeeded()
    assert not back_off.failing


def test_after_a_failure_one_caller_tries_when_the_time_is_up() -> None:
    back_off = BackOff()
    assert back_off.failed(10.0)
    assert back_off.failing
    assert not back_off.may_try(10.0)
    assert not back_off.may_try(10.0 + FIRST_S - 0.01)
    assert back_off.may_try(10.0 + FIRST_S)
    # The others do not try with it.
    assert not back_off.may_try(10.0 + FIRST_S)


def test_each_further_failure_doubles_the_wait_up_to_the_longest() -> None:
    back_off, now, waits = BackOff(), 0.0, []
    back_off.failed(now)
    for _ in range(9):
        step = 0.0
        while not back_off.may_try(now + step):
            step += FIRST_S / 2
        waits.append(step)
        now += step
        assert not back_off.failed(now)
    assert waits == [min(FIRST_S * 2**n, LONGEST_S) for n in range(9)]


def test_all_that_were_under_way_when_it_died_are_one_failure() -> None:
    back_off = BackOff()
    assert [back_off.failed(0.0) for _ in range(5)] == [True, False, False, False, False]
    assert back_off.may_try(FIRST_S)


def test_it_is_asked_again_as_before_when_it_has_answered() -> None:
    back_off = BackOff()
    back_off.failed(0.0)
    assert back_off.may_try(FIRST_S)
    assert back_off.succeeded()
    assert back_off.may_try(FIRST_S)
    assert back_off.may_try(FIRST_S)
    # The next failure is the first one again.
    assert back_off.failed(5.0)
    assert back_off.may_try(5.0 + FIRST_S)
