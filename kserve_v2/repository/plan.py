"""What to do next for one model: a pure function of what is wanted and what there is.

Wanted is kept apart from state, so "unload while loading" needs no state of its own: the load ends, and the
next plan drains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.repository.lifecycle import ModelState


@dataclass(frozen=True, slots=True)
class Actual:
    """One generation of one version, as it is now. A reload of changed files makes a new generation of the
    same version.
    """

    version: int
    generation: int
    state: ModelState


@dataclass(frozen=True, slots=True)
class Load:
    """Load this generation of this version."""

    version: int
    generation: int


@dataclass(frozen=True, slots=True)
class Unload:
    """Serve this generation no longer, let its requests finish, and free it."""

    version: int
    generation: int


Action = Load | Unload


def plan(wanted: Mapping[int, int], actual: Sequence[Actual]) -> list[Action]:
    """The actions that bring `actual` towards `wanted` (version → generation) without a gap in service.

    A wanted generation that does not exist is loaded. A ready one is unloaded when its version is no longer
    wanted, or when a newer generation of it is ready: until then, and if the newer one fails for good, the
    old one goes on serving.
    """
    known = {(item.version, item.generation) for item in actual}
    ready = {(item.version, item.generation) for item in actual if item.state is ModelState.READY}
    actions: list[Action] = [
        Load(version, generation)
        for version, generation in sorted(wanted.items())
        if (version, generation) not in known
    ]
    for version, generation in sorted(ready):
        current = wanted.get(version)
        replaced = current is not None and generation < current and (version, current) in ready
        if current is None or replaced:
            actions.append(Unload(version, generation))
    return actions
