"""What to do about what has changed in a repository: a pure function of what looks at it have found.

A change is acted upon when it has settled: when two looks, at least the settle time apart, and all between them, have
found the same. So a directory that is being copied is not loaded before it is whole, unless the copying pauses for that
long.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from kserve_v2.repository.sources.retries import Failure


@dataclass(frozen=True, slots=True)
class Seen:
    """One model: `fingerprint` is what the last look has found, None if it is not there, `since_s` when that was found
    first. `acted`: the fingerprint that was acted upon last, None if there is nothing to unload. `failure`: of the last
    load.
    """

    fingerprint: str | None
    since_s: float
    acted: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What comes of one look. `seen`: what to remember. `load`, `unload`: what to do now. `waiting`: what has changed,
    but not settled. `next_s`: when there is something to do if nothing changes until then.
    """

    seen: Mapping[str, Seen]
    load: tuple[str, ...] = ()
    unload: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    next_s: float | None = None


def changes(
    before: Mapping[str, Seen],
    found: Mapping[str, str],
    now_s: float,
    settle_s: float,
    busy: Collection[str] = (),
) -> Step:
    """What to do about what a look has found. `found`: fingerprints of the models that are there, by name. `busy`:
    whose load is under way; another one waits for its end, but an unload does not.
    """
    seen: dict[str, Seen] = {}
    load: list[str] = []
    unload: list[str] = []
    waiting: list[str] = []
    times: list[float] = []
    for name in sorted({*before, *found}):
        model = _looked_at(before.get(name), found.get(name), now_s)
        fingerprint, settled_s = model.fingerprint, model.since_s + settle_s
        if fingerprint == model.acted:
            if fingerprint is None:
                # It came and went before anything was done about it.
                continue
            if model.failure is not None and name not in busy:
                if model.failure.is_due(fingerprint, now_s):
                    load.append(name)
                else:
                    times.append(model.failure.due_s)
        elif now_s < settled_s:
            waiting.append(name)
            times.append(settled_s)
        elif fingerprint is None:
            unload.append(name)
            continue
        elif name not in busy:
            load.append(name)
            model = replace(model, acted=fingerprint)
        seen[name] = model
    return Step(seen, tuple(load), tuple(unload), tuple(waiting), min(times, default=None))


def _looked_at(before: Seen | None, fingerprint: str | None, now_s: float) -> Seen:
    if before is None:
        return Seen(fingerprint, now_s)
    return (
        before
        if before.fingerprint == fingerprint
        else replace(before, fingerprint=fingerprint, since_s=now_s)
    )
