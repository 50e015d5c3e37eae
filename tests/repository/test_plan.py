"""What is done next for a model, as a table: no threads, no files."""

import pytest

from kserve_v2.repository.lifecycle import TRANSITIONS, Event, ModelState, advance
from kserve_v2.repository.plan import Action, Actual, Load, Unload, plan

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
        # A version that the policy has dropped goes, whatever becomes of the others.
        ({2: 1}, [Actual(1, 1, READY), Actual(2, 1, LOADING)], [Unload(1, 1)]),
    ],
)
def test_plan(wanted: dict[int, int], actual: list[Actual], expected: list[Action]) -> None:
    assert plan(wanted, actual) == expected


@pytest.mark.parametrize("state", ModelState)
@pytest.mark.parametrize("event", Event)
def test_only_the_events_of_the_table_are_possible(state: ModelState, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ValueError, match=f"a version that is {state} cannot be {event}"):
            advance(state, event)
