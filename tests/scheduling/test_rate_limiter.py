"""The rate limiter with real threads: they sleep until they may execute, and nothing is held by those who do nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.scheduling.limiting.rate_limiter import Gate, Permit, RateLimiter
from kserve_v2.scheduling.limiting.resources import Capacity, Limits, Resource

ONE = Limits({Resource("r"): 1})


def gate(limiter: RateLimiter, instances: int = 1, limits: Limits = ONE) -> Gate:
    made = limiter.gate([limits] * instances)
    assert made is not None
    return made


def acquire(gate: Gate, slot: int = 0) -> Permit:
    """As an instance does that has something to execute."""
    while (permit := gate.ask(slot)) is None:
        gate.wait(slot)
    return permit


def test_a_model_that_needs_nothing_has_no_gate() -> None:
    assert RateLimiter().gate([Limits()] * 3) is None


def test_one_at_a_time_across_models_and_instances() -> None:
    limiter = RateLimiter()
    gates = [gate(limiter, 2), gate(limiter, 1)]
    running = peak = 0
    lock = threading.Lock()

    def execute(gate: Gate, slot: int) -> None:
        nonlocal running, peak
        for _ in range(50):
            permit = acquire(gate, slot)
            with lock:
                running += 1
                peak = max(peak, running)
            with lock:
                running -= 1
            permit.release(again=True)
        gate.decline(slot)

    with ThreadPoolExecutor(3) as threads:
        work = [threads.submit(execute, gates[0], slot) for slot in range(2)]
        work.append(threads.submit(execute, gates[1], 0))
        for each in work:
            each.result()
    assert peak == 1


def test_what_is_declined_is_free_for_others() -> None:
    limiter = RateLimiter()
    first, second = gate(limiter), gate(limiter)
    acquire(first).release(
        again=True
    )  # there is more to do: it stands in line again at once, and is granted it
    assert second.ask(0) is None
    first.decline(0)  # what was to be done has been cancelled meanwhile
    assert second.ask(0) is not None


def test_who_has_more_to_do_is_in_line_before_others_get_what_it_held() -> None:
    """Or its weight would not count: whoever waits when an execution ends would always be the next."""
    limiter = RateLimiter()
    light, heavy = gate(limiter), gate(limiter, limits=Limits({Resource("r"): 1}, weight=3))
    permits: dict[str, Permit | None] = {"light": acquire(light), "heavy": None}
    order = []
    for _ in range(40):
        permits["heavy"] = permits["heavy"] or heavy.ask(0)
        permits["light"] = permits["light"] or light.ask(0)
        [running] = [name for name, permit in permits.items() if permit is not None]
        order.append(running)
        permit, permits[running] = permits[running], None
        assert permit is not None
        permit.release(again=True)
    assert order.count("light") == 30


def test_releasing_twice_gives_nothing_back_twice() -> None:
    limiter = RateLimiter([Capacity("r", 1)])
    first, second, third = (gate(limiter) for _ in range(3))
    permit = acquire(first)
    permit.release()
    assert second.ask(0) is not None
    permit.release()
    permit.release(again=True)
    assert third.ask(0) is None


def test_ringing_wakes_who_waits_for_something_that_is_gone() -> None:
    limiter = RateLimiter()
    busy, waiting = gate(limiter), gate(limiter)
    acquire(busy)
    assert waiting.ask(0) is None
    with ThreadPoolExecutor(1) as threads:
        sleeping = threads.submit(waiting.wait, 0)
        waiting.ring()
        sleeping.result(60)


def test_an_unloaded_model_holds_nothing_whatever_its_instances_do() -> None:
    limiter = RateLimiter([Capacity("r", 2)])
    hanging = gate(limiter, 2, Limits({Resource("r"): 2}))
    acquire(hanging)
    assert hanging.ask(1) is None
    other = gate(limiter)
    assert other.ask(0) is None
    hanging.close()
    assert other.ask(0) is not None


def test_a_late_release_after_the_unload_changes_nothing() -> None:
    limiter = RateLimiter()
    gone = gate(limiter)
    permit = acquire(gone)
    gone.close()
    first, second = gate(limiter), gate(limiter)
    acquire(first)
    permit.release(again=True)
    assert second.ask(0) is None


def test_bells_do_not_fill_up() -> None:
    """An instance that is always let in never sleeps, so nobody would take out what is put in."""
    made = gate(RateLimiter())
    for _ in range(10):
        acquire(made).release(again=True)
    assert made._bells[0].qsize() <= 1


def test_a_model_that_could_never_run_has_no_gate() -> None:
    limiter = RateLimiter([Capacity("r", 1)])
    with pytest.raises(InvalidArgumentError, match="minimum required count is 2"):
        limiter.gate([Limits({Resource("r"): 2})])
    assert gate(limiter).ask(0) is not None
