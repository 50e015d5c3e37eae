"""Shared resources: who may begin, in tables and as properties of any history."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.scheduling.limiting.resources import Arbiter, Capacity, Claim, Device, Limits, Resource, Share

CPU = Device("CPU")
GPUS = [Device("GPU", number) for number in range(2)]


def limits(weight: int = 1, **needs: int) -> Limits:
    """Needs of the whole server's resources."""
    return Limits({Resource(name): count for name, count in needs.items()}, weight)


def local(device: Device, **needs: int) -> Limits:
    return Limits({Resource(name, device): count for name, count in needs.items()})


def beginning(arbiter: Arbiter, shares: list[Share]) -> list[Claim]:
    """All of them want to begin: the claims in the order of `shares`."""
    claims = [arbiter.enlist(share) for share in shares]
    arbiter.grant()
    return claims


def granted(arbiter: Arbiter, *instances: Limits) -> list[bool]:
    return [claim.granted for claim in beginning(arbiter, arbiter.register(instances))]


def test_capacity_is_what_the_most_demanding_instance_needs() -> None:
    assert granted(Arbiter(), limits(r=1), limits(r=1)) == [True, False]
    assert granted(Arbiter(), limits(r=2), limits(r=1), limits(r=1)) == [True, False, False]
    assert granted(Arbiter(), limits(r=1), limits(r=2), limits(r=1)) == [True, False, False]


def test_without_resources_all_run_in_parallel() -> None:
    assert granted(Arbiter(), limits(), limits(), limits(r=1)) == [True, True, True]


def test_capacity_is_changed_by_loading_and_unloading() -> None:
    arbiter = Arbiter()
    small = arbiter.register([limits(r=1), limits(r=1)])
    large = arbiter.register([limits(r=2)])
    first, second = beginning(arbiter, small)
    assert first.granted
    assert second.granted
    arbiter.end(first)
    arbiter.end(second)
    arbiter.unregister(large)
    first, second = beginning(arbiter, small)
    assert [first.granted, second.granted] == [True, False]
    arbiter.end(first)
    assert arbiter.grant() == [second]


def test_unloading_lets_what_is_running_end() -> None:
    arbiter = Arbiter()
    small, large = arbiter.register([limits(r=1)]), arbiter.register([limits(r=3)])
    [running] = beginning(arbiter, large)
    arbiter.unregister(large)
    [waiting] = beginning(arbiter, small)
    assert not waiting.granted
    arbiter.end(running)
    assert arbiter.grant() == [waiting]
    arbiter.end(waiting)
    assert not arbiter.held


def test_devices_have_resources_of_their_own() -> None:
    instances = [local(GPUS[0], r=1), local(GPUS[0], r=1), local(GPUS[1], r=1), local(CPU, r=1)]
    assert granted(Arbiter(), *instances) == [True, False, True, True]


@pytest.mark.parametrize(
    ("capacities", "expected"),
    [
        ([], [True, False, True, False]),
        ([Capacity("R", 2)], [True, True, True, True]),
        ([Capacity("r", 2, 0)], [True, True, True, False]),
        ([Capacity("r", 2, 1)], [True, False, True, True]),
        ([Capacity("r", 2), Capacity("r", 1, 0)], [True, False, True, True]),
        ([Capacity("other", 2)], [True, False, True, False]),
    ],
)
def test_what_is_set_counts(capacities: list[Capacity], expected: list[bool]) -> None:
    instances = [local(GPUS[0], r=1), local(GPUS[0], r=1), local(GPUS[1], r=1), local(GPUS[1], r=1)]
    assert granted(Arbiter(capacities), *instances) == expected


def test_of_a_global_resource_the_device_that_is_set_has_no_meaning() -> None:
    assert granted(Arbiter([Capacity("r", 2, 5)]), limits(r=1), limits(r=1), limits(r=1)) == [
        True,
        True,
        False,
    ]


def test_what_could_never_run_is_not_registered() -> None:
    arbiter = Arbiter([Capacity("R", 1)])
    with pytest.raises(InvalidArgumentError) as raised:
        arbiter.register([limits(R=1), limits(R=2)])
    assert str(raised.value) == (
        'Resource count for "R" is limited to 1 which will prevent scheduling of one or more model instances, the '
        "minimum required count is 2"
    )
    assert granted(arbiter, limits(R=1), limits(R=1)) == [True, False]


def test_all_that_is_wrong_with_resources_is_told_at_once() -> None:
    arbiter = Arbiter([Capacity("R", 1), Capacity("S", 2)])
    arbiter.register([local(CPU, T=1)])
    with pytest.raises(InvalidArgumentError) as raised:
        arbiter.register([limits(R=2, S=3, T=1), limits(R=4)])
    mixed, first, second = str(raised.value).split("; ")
    assert mixed.startswith('Resource "T" is present as both global and device-specific')
    assert first.startswith('Resource count for "R" is limited to 1')
    assert first.endswith("count is 4")
    assert second.startswith('Resource count for "S" is limited to 2')
    assert second.endswith("count is 3")


def test_a_resource_is_global_or_of_devices() -> None:
    arbiter = Arbiter()
    arbiter.register([limits(R=1)])
    with pytest.raises(InvalidArgumentError) as raised:
        arbiter.register([local(CPU, R=1)])
    assert str(raised.value) == (
        'Resource "R" is present as both global and device-specific resource in the model configuration.'
    )
    assert granted(arbiter, local(CPU, S=1), local(CPU, S=1)) == [True, False]


def saturated(arbiter: Arbiter, shares: list[Share], executions: int) -> Counter[Share]:
    """How often each instance runs if all of them always want to, and one runs at a time."""
    for share in shares:
        arbiter.enlist(share)
    ran: Counter[Share] = Counter()
    [running] = arbiter.grant()
    for _ in range(executions):
        ran[running.share] += 1
        arbiter.enlist(running.share)
        arbiter.end(running)
        [running] = arbiter.grant()
    return ran


def test_priority_weighs_executions() -> None:
    """scheduling.md 10.3: three runs of priority 1 for each of priority 3."""
    arbiter = Arbiter()
    first, third = arbiter.register([limits(1, r=1), limits(3, r=1)])
    ran = saturated(arbiter, [first, third], 400)
    assert abs(ran[first] - 300) <= 2


def test_executions_with_other_resources_do_not_count() -> None:
    arbiter = Arbiter()
    first, third, elsewhere = arbiter.register([limits(1, r=1), limits(3, r=1), limits(1, s=1)])
    for _ in range(1000):
        [claim] = beginning(arbiter, [elsewhere])
        arbiter.end(claim)
    ran = saturated(arbiter, [first, third], 400)
    assert abs(ran[first] - 300) <= 2


def test_a_newcomer_does_not_catch_up() -> None:
    arbiter = Arbiter()
    [old] = arbiter.register([limits(r=1)])
    for _ in range(1000):
        [claim] = beginning(arbiter, [old])
        arbiter.end(claim)
    [new] = arbiter.register([limits(r=1)])
    ran = saturated(arbiter, [old, new], 100)
    assert abs(ran[new] - 50) <= 1


def test_small_needs_do_not_pass_a_large_one_for_ever() -> None:
    arbiter = Arbiter([Capacity("r", 2)])
    one, other, both = arbiter.register([limits(r=1), limits(r=1), limits(r=2)])
    first, second, large = beginning(arbiter, [one, other, both])
    for _ in range(10):
        arbiter.end(first)
        first = arbiter.enlist(one)
        arbiter.grant()
        if not first.granted:
            break
    assert not first.granted
    arbiter.end(second)
    assert arbiter.grant() == [large]


def test_what_others_need_is_not_kept_by_those_who_wait_for_something_else() -> None:
    arbiter = Arbiter()
    holder, waiter, stranger = arbiter.register([limits(r=1), limits(r=1), limits(s=1)])
    assert [claim.granted for claim in beginning(arbiter, [holder, waiter, stranger])] == [True, False, True]


def test_a_claim_that_is_given_up_costs_nothing() -> None:
    arbiter = Arbiter()
    first, second = arbiter.register([limits(r=1), limits(r=1)])
    for _ in range(5):
        [claim] = beginning(arbiter, [first])
        arbiter.end(claim, executed=False)
    assert first.used == second.used
    assert not arbiter.held


@pytest.mark.parametrize(
    ("units", "callee", "callers", "missing"),
    [
        (2, [limits(r=1)], [[limits(r=1)]], None),
        (2, [limits(r=1)], [[limits(r=1)], [limits(r=1)]], "r"),
        (2, [limits(r=2)], [[limits(r=1)]], "r"),
        (2, [limits(r=2), limits(r=1)], [[limits(r=1)]], None),
        (2, [limits(r=2)], [[limits(r=1), limits(s=1)]], None),
        (2, [limits(s=1)], [[limits(r=2)]], None),
        (2, [limits()], [[limits(r=2)]], None),
    ],
)
def test_who_waits_in_vain(
    units: int, callee: list[Limits], callers: list[list[Limits]], missing: str | None
) -> None:
    """Models that wait for an answer keep what they hold: on some instance of theirs, whichever it is."""
    arbiter = Arbiter([Capacity("r", units)])
    shares = arbiter.register(callee)
    found = arbiter.vain_wait(shares, [arbiter.register(caller) for caller in callers])
    assert (found.name if found else None) == missing


NEEDS = st.dictionaries(st.sampled_from("rst"), st.integers(1, 3), max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_history(data: Any) -> None:
    """Capacity is never passed, everything ends, and nobody who wants to run is passed for ever."""
    arbiter = Arbiter()
    instances = [
        Limits(
            {Resource(name): count for name, count in data.draw(NEEDS).items()}, data.draw(st.integers(1, 4))
        )
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    shares = arbiter.register(instances)
    capacity = {
        resource: max(each.needs.get(resource, 0) for each in instances)
        for resource in {resource for each in instances for resource in each.needs}
    }
    claims: list[Claim] = []
    passed: Counter[Claim] = Counter()
    for _ in range(data.draw(st.integers(1, 60))):
        idle = [share for share in shares if all(claim.share is not share for claim in claims)]
        running = [claim for claim in claims if claim.granted]
        if idle and (not running or data.draw(st.booleans())):
            claims.append(arbiter.enlist(data.draw(st.sampled_from(idle))))
        elif running:
            claim = data.draw(st.sampled_from(running))
            claims.remove(claim)
            arbiter.end(claim)
        began = arbiter.grant()
        held: Counter[Resource] = Counter()
        for claim in claims:
            if claim.granted:
                held.update(claim.share.limits.needs)
        assert +held == Counter(arbiter.held)
        assert all(count <= capacity[resource] for resource, count in held.items())
        waiting = [claim for claim in claims if not claim.granted]
        # Whoever waits does so for something that is held: at least one runs.
        assert not waiting or any(claim.granted for claim in claims)
        for claim in waiting:
            needs = claim.share.limits.needs
            passed[claim] += sum(not needs.keys().isdisjoint(each.share.limits.needs) for each in began)
            assert passed[claim] <= 6 * len(shares)
    for claim in claims:
        arbiter.end(claim)
    assert not arbiter.held
    assert arbiter.grant() == []
