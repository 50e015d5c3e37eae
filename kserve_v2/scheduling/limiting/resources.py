"""Which of the executions that wait may begin: resources shared by models, as plain state without threads.

Each execution of an instance holds what its configuration says of every resource, of the server as a whole or of the
instance's device, and gives it back at its end. Among those that wait, the one goes first whose instance has had the
least executions in relation to its weight: an instance of weight 1 runs three times for each run of one of weight 3.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.errors import InvalidArgumentError


class Device(NamedTuple):
    """Where an instance is. Resources of one device say nothing about those of another."""

    kind: str
    number: int = 0


class Resource(NamedTuple):
    """What executions hold units of; `device` is None for a resource of the whole server."""

    name: str
    device: Device | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What each execution of one instance needs. `weight`: how much one execution counts."""

    needs: Mapping[Resource, int] = field(default_factory=dict)
    weight: int = 1


def instance_limits(config: ModelConfig, placements: Sequence[Placement]) -> tuple[Limits, ...]:
    """What each instance of a valid configuration needs, in the order of `placements`."""
    groups = [
        group
        for group in config.instance_group
        for _ in range((group.count or 1) * (len(group.gpus) if group.kind == group.KIND_GPU else 1))
    ]
    return tuple(
        Limits(
            {
                Resource(each.name, None if getattr(each, "global") else Device(placement.kind, placement.device_id)):
                each.count
                for each in group.rate_limiter.resources
                if each.count
            },
            group.rate_limiter.priority or 1,
        )
        for group, placement in zip(groups, placements, strict=True)
    )  # fmt: skip


class Capacity(NamedTuple):
    """What the operator has said of one resource: so many units, on the device of this number, or on every device."""

    name: str
    units: int
    device: int | None = None


@dataclass(slots=True, eq=False)
class Share:
    """One registered instance. `used`: its executions with each resource, each counted with its weight."""

    limits: Limits
    used: dict[Resource, int]


@dataclass(slots=True, eq=False)
class Claim:
    """One execution that wants to begin, or has begun."""

    share: Share
    number: int
    granted: bool = False


class Arbiter:
    """Grants claims. The state is changed by one caller at a time."""

    def __init__(self, capacities: Iterable[Capacity] = ()) -> None:
        """`capacities`: what is set. Of any other resource there is as much as the most demanding instance needs."""
        # The names in flags are compared without their case, as Triton does.
        self._set = {(each.name.casefold(), each.device): each.units for each in capacities}
        self._shares: set[Share] = set()
        self._capacity: dict[Resource, int] = {}
        self._held: dict[Resource, int] = {}
        self._waiting: dict[Claim, None] = {}
        self._claims = 0
        # How far the executions with each resource have come, by the measure of `Share.used`.
        self._reached: dict[Resource, int] = {}

    # --- instances ------------------------------------------------------------------------------------------------

    def register(self, instances: Sequence[Limits]) -> list[Share]:
        """Add the instances of a model. Raises InvalidArgumentError, and adds none, if one could never run."""
        shares = [Share(limits, dict.fromkeys(limits.needs, 0)) for limits in instances]
        together = [*self._shares, *shares]
        capacity = self._capacities(together)
        problems = [*self._mixed(together), *self._beyond(instances, capacity)]
        if problems:
            raise InvalidArgumentError("; ".join(problems))
        self._shares.update(shares)
        self._capacity = capacity
        return shares

    def unregister(self, shares: Iterable[Share]) -> None:
        """Remove instances. Their claims have to be withdrawn or released by then, or later."""
        self._shares.difference_update(shares)
        self._capacity = self._capacities(self._shares)
        self._reached = {
            resource: used for resource, used in self._reached.items() if resource in self._capacity
        }

    @staticmethod
    def _mixed(shares: Iterable[Share]) -> list[str]:
        """What is said of resources that belong to the server and to single devices at the same time."""
        is_global: dict[str, bool] = {}
        mixed = [
            resource.name
            for share in shares
            for resource in share.limits.needs
            if is_global.setdefault(resource.name, resource.device is None) != (resource.device is None)
        ]
        return [
            f'Resource "{name}" is present as both global and device-specific resource in the model configuration.'
            for name in dict.fromkeys(mixed)
        ]

    @staticmethod
    def _beyond(instances: Iterable[Limits], capacity: Mapping[Resource, int]) -> list[str]:
        """What is said of resources of which an instance needs more than there are."""
        needed: dict[Resource, int] = {}
        for limits in instances:
            for resource, count in limits.needs.items():
                needed[resource] = max(needed.get(resource, 0), count)
        return [
            f'Resource count for "{resource.name}" is limited to {capacity[resource]} which will prevent scheduling '
            f"of one or more model instances, the minimum required count is {count}"
            for resource, count in needed.items()
            if count > capacity[resource]
        ]

    def _capacities(self, shares: Iterable[Share]) -> dict[Resource, int]:
        found: dict[Resource, int] = {}
        for share in shares:
            for resource, count in share.limits.needs.items():
                limit = self._limit(resource)
                found[resource] = max(found.get(resource, 0), count) if limit is None else limit
        return found

    def _limit(self, resource: Resource) -> int | None:
        """What is set for a resource, None if nothing is."""
        name = resource.name.casefold()
        if resource.device is not None and (name, resource.device.number) in self._set:
            return self._set[name, resource.device.number]
        if (name, None) in self._set:
            return self._set[name, None]
        if resource.device is None:
            # There is no device for what the whole server has: whichever was given is meant.
            return next((count for (known, _), count in self._set.items() if known == name), None)
        return None

    def vain_wait(self, shares: Iterable[Share], callers: Iterable[Sequence[Share]]) -> Resource | None:
        """A resource that none of these instances can get while an execution of each caller, whichever of its instances
        that is on, keeps its own. None if one of them may run.
        """
        kept: Counter[Resource] = Counter()
        for caller in callers:
            needs = [share.limits.needs for share in caller]
            kept.update({each: min(other.get(each, 0) for other in needs) for each in needs[0]})
        missing: Resource | None = None
        for share in shares:
            missing = next(
                (
                    each
                    for each, count in share.limits.needs.items()
                    if kept[each] + count > self._capacity.get(each, count)
                ),
                None,
            )
            if missing is None:
                return None
        return missing

    # --- executions -----------------------------------------------------------------------------------------------

    def enlist(self, share: Share) -> Claim:
        """An execution of this instance wants to begin; `grant` says when it may."""
        # Whoever has been away, or has just been loaded, does not catch up: until it had, nobody else would run.
        for resource, used in share.used.items():
            share.used[resource] = max(used, self._reached.get(resource, 0))
        self._claims += 1
        claim = Claim(share, self._claims)
        self._waiting[claim] = None
        return claim

    def end(self, claim: Claim, *, executed: bool = True) -> None:
        """The claim is over: its execution has ended, or will not begin."""
        self._waiting.pop(claim, None)
        if not claim.granted:
            return
        claim.granted = False
        share = claim.share
        for resource, count in share.limits.needs.items():
            self._held[resource] -= count
            if not self._held[resource]:
                del self._held[resource]
            if not executed:
                share.used[resource] -= share.limits.weight

    def grant(self) -> list[Claim]:
        """Let as many as possible of those that wait begin, and return them.

        Who cannot begin yet keeps what it needs from those behind it: else those with small needs would pass one with
        large ones for ever.
        """
        granted: list[Claim] = []
        while (claim := self._next()) is not None:
            del self._waiting[claim]
            share = claim.share
            for resource, count in share.limits.needs.items():
                self._held[resource] = self._held.get(resource, 0) + count
                self._reached[resource] = max(self._reached.get(resource, 0), share.used[resource])
                share.used[resource] += share.limits.weight
            claim.granted = True
            granted.append(claim)
        return granted

    def _next(self) -> Claim | None:
        kept: set[Resource] = set()
        for claim in sorted(self._waiting, key=self._precedence):
            needs = claim.share.limits.needs
            if kept.isdisjoint(needs) and self._fits(needs):
                return claim
            kept.update(needs)
        return None

    def _precedence(self, claim: Claim) -> tuple[int, int]:
        """The smaller, the earlier: how far the instance is ahead of the others that use its resources, where it is so
        the least. Compared with those others alone, since executions with other resources may be much slower.
        """
        used = claim.share.used
        return min((used[each] - self._reached.get(each, 0) for each in used), default=0), claim.number

    def _fits(self, needs: Mapping[Resource, int]) -> bool:
        return all(
            self._held.get(resource, 0) + count <= self._capacity.get(resource, count)
            for resource, count in needs.items()
        )

    @property
    def held(self) -> Mapping[Resource, int]:
        """How much of each resource executions hold now."""
        return self._held
