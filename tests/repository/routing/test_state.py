"""When what a load has read comes into force: a table of what happens, and what holds in the end."""

import pytest

from kserve_v2.config.release import Release
from kserve_v2.repository.routing.state import ReleaseState
from kserve_v2.repository.routing.store import Found


def found(version: int) -> Found:
    return Found(Release({"PROD": version}), "release.json")


@pytest.mark.parametrize(
    ("steps", "holds"),
    [
        # The first load: at once, whether it ends well or not.
        (["read", "offer 1 at once"], 1),
        (["read", "offer 1 at once", "loaded"], 1),
        # The next ones: when their versions are there.
        (["read", "offer 1 at once", "loaded", "read", "offer 2"], 1),
        (["read", "offer 1 at once", "loaded", "read", "offer 2", "loaded"], 2),
        # One that fails leaves what was, and nothing for the one after it.
        (["read", "offer 1 at once", "loaded", "read", "offer 2", "read", "offer 3", "loaded"], 3),
        (["read", "offer 1 at once", "loaded", "read", "offer 2", "read", "call 4", "offer 3", "loaded"], 4),
        # A call outweighs what was read before it, wherever it comes.
        (["read", "call 5", "offer 1 at once", "loaded"], 5),
        (["read", "call 5", "offer 1", "loaded"], 5),
        (["read", "offer 1", "call 5", "loaded"], 5),
        (["read", "offer 1", "loaded", "call 5"], 5),
        # But not what is read after it.
        (["call 5", "read", "offer 1", "loaded"], 1),
    ],
)
def test_what_holds(steps: list[str], holds: int) -> None:
    state, moment = ReleaseState("m"), 0
    for step in steps:
        kind, *rest = step.split()
        match kind:
            case "read":
                moment = state.moment
            case "offer":
                state.offer(found(int(rest[0])), moment, at_once=len(rest) > 1)
            case "call":
                state.change(found(int(rest[0])), "a client")
            case "loaded":
                state.loaded()
    assert state.release.labels == {"PROD": holds}
