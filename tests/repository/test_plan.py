"""What is done next for a model, as a table: no threads, no files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.repository.lifecycle.plan import Action, Actual, Load, Unload, fulfilled, plan
from kserve_v2.repository.lifecycle.states import TRANSITIONS, Event, ModelState, advance

LOADING, READY, UNLOADING, UNAVAILABLE = ModelState


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        ({}, [], []),
        ({1: 1}, [], [Load(1, 1)]),
        ({2: 1, 1: 1}, [], [Load(1, 1), Load(2, 1)]),
        # What is under way or done is left alone.
        ({1: 1}, [Actual(1, 1, LOADING)], []),
        ({1: 1}, [Actual(1, 1, READY)], []),
        # A failed load is not repeated by itself.
        ({1: 1}, [Actual(1, 1, UNAVAILABLE)], []),
        # Unload; what is still loading is unloaded when it is ready.
        ({}, [Actual(1, 1, READY)], [Unload(1, 1)]),
        ({}, [Actual(1, 1, LOADING)], []),
        ({}, [Actual(1, 1, UNLOADING)], []),
        ({}, [Actual(1, 1, UNAVAILABLE)], []),
        # Loading again while the old generation is still leaving.
        ({1: 2}, [Actual(1, 1, UNLOADING)], [Load(1, 2)]),
        # A reload: the old generation serves until the new one is ready, and for good if that fails.
        ({1: 2}, [Actual(1, 1, READY)], [Load(1, 2)]),
        ({1: 2}, [Actual(1, 1, READY), Actual(1, 2, LOADING)], []),
        ({1: 2}, [Actual(1, 1, READY), Actual(1, 2, READY)], [Unload(1, 1)]),
        ({1: 2}, [Actual(1, 1, READY), Actual(1, 2, UNAVAILABLE)], []),
        # A third generation after a failed second.
        ({1: 3}, [Actual(1, 1, READY), Actual(1, 2, UNAVAILABLE)], [Load(1, 3)]),
        ({1: 3}, [Actual(1, 1, READY), Actual(1, 3, READY)], [Unload(1, 1)]),
        # A version that the policy has dropped goes when all that are to succeed it are ready.
        ({2: 2}, [Actual(1, 1, READY)], [Load(2, 2)]),
        ({2: 2}, [Actual(1, 1, READY), Actual(2, 2, LOADING)], []),
        ({2: 2}, [Actual(1, 1, READY), Actual(2, 2, UNAVAILABLE)], []),
        ({2: 2}, [Actual(1, 1, READY), Actual(2, 2, READY)], [Unload(1, 1)]),
        ({2: 2, 3: 2}, [Actual(1, 1, READY), Actual(2, 2, READY), Actual(3, 2, LOADING)], []),
        ({2: 2, 3: 2}, [Actual(1, 1, READY), Actual(2, 2, READY), Actual(3, 2, UNAVAILABLE)], []),
        # A later attempt that succeeds ends that.
        ({2: 3}, [Actual(1, 1, READY), Actual(2, 2, UNAVAILABLE), Actual(2, 3, READY)], [Unload(1, 1)]),
        # Back to what was there before a load that has failed: there is nothing to load.
        ({1: 1}, [Actual(1, 1, READY), Actual(1, 2, UNAVAILABLE)], []),
        ({1: 1}, [Actual(1, 1, READY), Actual(2, 2, READY)], [Unload(2, 2)]),
        # A changed file of version 2, a further version, and another policy leave version 1 as it is.
        ({1: 1, 2: 2}, [Actual(1, 1, READY), Actual(2, 1, READY)], [Load(2, 2)]),
        ({1: 1, 2: 2}, [Actual(1, 1, READY), Actual(2, 1, READY), Actual(2, 2, UNAVAILABLE)], []),
        ({1: 1, 2: 2}, [Actual(1, 1, READY), Actual(2, 1, READY), Actual(2, 2, READY)], [Unload(2, 1)]),
        ({1: 1, 2: 2}, [Actual(1, 1, READY)], [Load(2, 2)]),
        ({2: 1}, [Actual(1, 1, READY), Actual(2, 1, READY)], [Unload(1, 1)]),
        # What is over of other versions changes nothing, nor does what is leaving.
        ({2: 3}, [Actual(1, 1, UNAVAILABLE), Actual(1, 2, UNLOADING), Actual(2, 3, READY)], []),
        # Several changes at once, each by itself: one is new, one is changed, one goes when these are ready.
        ({2: 2, 3: 2}, [Actual(1, 1, READY), Actual(2, 1, READY)], [Load(2, 2), Load(3, 2)]),
        (
            {2: 2, 3: 2},
            [Actual(1, 1, READY), Actual(2, 1, READY), Actual(2, 2, READY), Actual(3, 2, LOADING)],
            [Unload(2, 1)],
        ),
        (
            {2: 2, 3: 2},
            [Actual(1, 1, READY), Actual(2, 2, READY), Actual(3, 2, READY)],
            [Unload(1, 1)],
        ),
    ],
)
def test_plan(wanted: dict[int, int], actual: list[Actual], expected: list[Action]) -> None:
    assert plan(wanted, actual) == expected


WANTED = st.dictionaries(st.integers(1, 3), st.integers(1, 3), max_size=3)
ACTUAL = st.lists(
    st.builds(Actual, st.integers(1, 3), st.integers(1, 3), st.sampled_from(ModelState)),
    unique_by=lambda item: (item.version, item.generation),
)


@given(WANTED, ACTUAL)
def test_what_holds_of_every_plan(wanted: dict[int, int], actual: list[Actual]) -> None:
    actions = plan(wanted, actual)
    ready = {(item.version, item.generation) for item in actual if item.state is READY}
    unloaded = {(each.version, each.generation) for each in actions if isinstance(each, Unload)}
    loaded = {(each.version, each.generation) for each in actions if isinstance(each, Load)}
    assert unloaded <= ready
    assert loaded == wanted.items() - {(item.version, item.generation) for item in actual}
    left = ready - unloaded
    # One generation of a version at most, and never one in place of that which is wanted.
    assert len({version for version, _ in left}) == len(left)
    assert wanted.items() & ready <= left
    if not wanted:
        assert not left
    elif not wanted.items() <= ready:
        # No version that answers ceases to, as long as something is missing.
        assert {version for version, _ in left} == {version for version, _ in ready}
    else:
        assert left == set(wanted.items())
    # Done once, there is nothing left to do.
    after = [item for item in actual if (item.version, item.generation) not in unloaded]
    after += [Actual(*item, UNLOADING) for item in unloaded] + [Actual(*item, LOADING) for item in loaded]
    assert plan(wanted, after) == []


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        ({}, [], True),
        ({}, [Actual(1, 1, UNAVAILABLE)], True),
        ({}, [Actual(1, 1, LOADING)], False),
        ({}, [Actual(1, 1, UNLOADING)], False),
        ({1: 1}, [Actual(1, 1, LOADING)], False),
        ({1: 1}, [Actual(1, 1, UNAVAILABLE)], False),
        ({1: 1}, [Actual(1, 1, READY)], True),
        ({1: 1, 2: 1}, [Actual(1, 1, READY), Actual(2, 1, LOADING)], False),
        # The old generation stands in for the new one, and an old version for its successor.
        ({1: 2}, [Actual(1, 1, READY), Actual(1, 2, LOADING)], True),
        ({1: 2}, [Actual(1, 1, READY), Actual(1, 2, UNAVAILABLE)], True),
        ({2: 2}, [Actual(1, 1, READY), Actual(2, 2, LOADING)], True),
        ({2: 2}, [Actual(1, 1, READY), Actual(2, 2, UNAVAILABLE)], True),
        # What leaves after it has a successor holds up nothing.
        ({1: 2}, [Actual(1, 1, UNLOADING), Actual(1, 2, READY)], True),
        ({2: 2}, [Actual(1, 1, UNLOADING), Actual(2, 2, READY)], True),
        ({1: 2}, [Actual(1, 1, UNLOADING), Actual(1, 2, LOADING)], False),
    ],
)
def test_fulfilled(wanted: dict[int, int], actual: list[Actual], expected: bool) -> None:
    assert fulfilled(wanted, actual) is expected


@pytest.mark.parametrize(
    ("wanted", "actual", "established", "expected"),
    [
        # A further version that is loading, or does not load, takes nothing from those that are there.
        ({1: 1, 2: 2}, [Actual(1, 1, READY), Actual(2, 2, LOADING)], {1}, True),
        ({1: 1, 2: 2}, [Actual(1, 1, READY), Actual(2, 2, UNAVAILABLE)], {1}, True),
        # But one that has answered before, and does not now, does.
        ({1: 1, 2: 2}, [Actual(1, 1, READY), Actual(2, 2, LOADING)], {1, 2}, False),
        ({1: 1}, [Actual(1, 1, UNAVAILABLE)], {1}, False),
        # Where nothing is wanted, nothing is established.
        ({}, [Actual(1, 1, UNLOADING)], {1}, False),
    ],
)
def test_fulfilled_as_before(
    wanted: dict[int, int], actual: list[Actual], established: set[int], expected: bool
) -> None:
    assert fulfilled(wanted, actual, established) is expected


@pytest.mark.parametrize("state", ModelState)
@pytest.mark.parametrize("event", Event)
def test_only_the_events_of_the_table_are_possible(state: ModelState, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ValueError, match=f"a version that is {state} cannot be {event}"):
            advance(state, event)
