"""Which models make room for one that is to be loaded: the decision alone."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

Use = Mapping[str, int]
"""Bytes by device: `cpu`, `gpu0` and so on."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that is loaded. `used_s`: when it was last asked. `held`: whether it must not go, because it is pinned,
    or somebody needs it now.
    """

    name: str
    use: Use
    used_s: float
    held: bool = False


def total(uses: Collection[Use]) -> dict[str, int]:
    """What several use together."""
    sums: dict[str, int] = {}
    for use in uses:
        for device, size in use.items():
            sums[device] = sums.get(device, 0) + size
    return sums


def less(use: Use, gone: Use) -> dict[str, int]:
    """What is left of a use without another one."""
    return {device: size - gone.get(device, 0) for device, size in use.items()}


def excess(budget: Use, use: Use) -> dict[str, int]:
    """By how much a use is over a budget, on each device where it is. What has no budget may be used freely."""
    over = {device: use.get(device, 0) - limit for device, limit in budget.items()}
    return {device: size for device, size in over.items() if size > 0}


def evict(
    residents: Sequence[Resident], budget: Use, taken: Use, needed: Use, idle_since_s: float
) -> list[str] | None:
    """The models that are to go, so that there is room for `needed` beside what is `taken` now, which is what all use
    that are there, residents and others; empty if there is room already, None if there is not enough whatever goes.

    Those go that were not asked for longest, and have not been asked since `idle_since_s`; and of those, none whose
    memory is not needed after all.
    """
    wanted = total((taken, needed))
    short = excess(budget, wanted)
    if not short:
        return []
    chosen: list[Resident] = []
    for resident in sorted(residents, key=lambda each: (each.used_s, each.name)):
        if resident.held or resident.used_s > idle_since_s or not _helps(resident, short):
            continue
        chosen.append(resident)
        short = {device: size for device, size in less(short, resident.use).items() if size > 0}
        if not short:
            break
    else:
        return None
    # The last one may have been large enough to make up for some before it. Those that were asked last stay, rather.
    going = list(chosen)
    for resident in reversed(chosen):
        others = [each for each in going if each is not resident]
        if not excess(budget, less(wanted, total([each.use for each in others]))):
            going = others
    return [each.name for each in going]


def soonest(
    residents: Sequence[Resident], budget: Use, taken: Use, needed: Use, now_s: float, min_idle_s: float
) -> float | None:
    """In how many seconds there may be room, if nobody is asked any more, and nobody holds any of these `residents`,
    which have to be without those that stay for good; None if there is not enough whatever goes. Else as `evict`.
    """
    free = [replace(each, held=False) for each in residents]
    times = sorted({each.used_s for each in free} | {now_s - min_idle_s})
    # The later it is, the more of them may go.
    found = bisect_left(
        times, True, key=lambda used_s: evict(free, budget, taken, needed, used_s) is not None
    )
    return max(0.0, times[found] + min_idle_s - now_s) if found < len(times) else None


def _helps(resident: Resident, short: Use) -> bool:
    return any(resident.use.get(device, 0) > 0 for device in short)
