"""The states of one loaded version, as a table: one lookup applies it, and no other module sets a state.

States are Triton's, as the repository index shows them. `tools/generate_states.py` draws the table into
ARCHITECTURE.md.
"""

from enum import StrEnum


class ModelState(StrEnum):
    """State of one version of a model."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class Event(StrEnum):
    """What can happen to a version."""

    LOADED = "loaded"
    FAILED = "failed"
    UNLOAD = "unload"
    UNLOADED = "unloaded"


TRANSITIONS: dict[tuple[ModelState, Event], ModelState] = {
    (ModelState.LOADING, Event.LOADED): ModelState.READY,
    (ModelState.LOADING, Event.FAILED): ModelState.UNAVAILABLE,
    (ModelState.READY, Event.UNLOAD): ModelState.UNLOADING,
    (ModelState.UNLOADING, Event.UNLOADED): ModelState.UNAVAILABLE,
}

FIRST = ModelState.LOADING
"""The state in which a version begins."""

WHEN: dict[Event, str] = {
    Event.LOADED: "the version and its instances are there, and warm",
    Event.FAILED: "something was raised on the way: the reason in the index",
    Event.UNLOAD: "it is not wanted any more, or what succeeds it is READY",
    Event.UNLOADED: "what was under way is over, and the version is closed",
}


def advance(state: ModelState, event: Event) -> ModelState:
    """The state after `event`. Raises ValueError for an event that cannot happen in `state`: a defect of the
    caller.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a version that is {state} cannot be {event}") from None
