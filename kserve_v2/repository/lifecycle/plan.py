"""What to do next for one model: a pure function of what is wanted and what there is.

Wanted is kept apart from state, so "unload while loading" needs no state of its own: the load ends, and the
next plan drains.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from kserve_v2.repository.lifecycle.states import ModelState


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

    A wanted generation that does not exist is loaded. What is ready goes on serving until its successor is ready,
    and for good if that fails: a generation until a newer one of its version is, a version that is no longer wanted
    until every wanted version is. Where nothing is wanted, everything is unloaded.
    """
    known = {(item.version, item.generation) for item in actual}
    ready = _ready(actual)
    actions: list[Action] = [
        Load(version, generation)
        for version, generation in sorted(wanted.items())
        if (version, generation) not in known
    ]
    # For each version, the wanted generation if it is ready, else the newest that is.
    keeps = dict(sorted(ready)) | dict(wanted.items() & ready)
    all_ready = wanted.items() <= ready
    for version, generation in sorted(ready):
        if generation != keeps[version] or (version not in wanted and all_ready):
            actions.append(Unload(version, generation))
    return actions


def fulfilled(
    wanted: Mapping[int, int], actual: Sequence[Actual], established: Set[int] = frozenset()
) -> bool:
    """Whether a model answers as it should: every version that is wanted does, or what they are to succeed.
    `established`: the versions that did when this was so the last time. As long as all of them still do, further ones
    that are being loaded, or do not load, take nothing from anybody.

    Where nothing is wanted: whether nothing is loading or unloading any more.
    """
    if not wanted:
        return all(item.state in {ModelState.READY, ModelState.UNAVAILABLE} for item in actual)
    serving = answering_versions(actual)
    if established and established <= serving:
        return True
    return wanted.keys() <= serving or not serving <= wanted.keys()


def answering_versions(actual: Sequence[Actual]) -> frozenset[int]:
    """The versions that answer, in whatever generation."""
    return frozenset(version for version, _ in _ready(actual))


def _ready(actual: Sequence[Actual]) -> set[tuple[int, int]]:
    return {(item.version, item.generation) for item in actual if item.state is ModelState.READY}
