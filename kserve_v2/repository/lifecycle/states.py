"""The states of one loaded version, as a table: one lookup applies it, and no other module sets a state.

States are Triton's, as the repository index shows them.
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


def advance(state: ModelState, event: Event) -> ModelState:
    """The state after `event`. Raises ValueError for an event that cannot happen in `state`: a defect of the
    caller.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a version that is {state} cannot be {event}") from None
