"""The rate limiter: executions of all models share resources, and instances wait for them on their own threads.

An instance asks when there is a batch that it could take, and takes that only once it is allowed to. So requests go on
waiting in their queue, where they can be joined by others, expire, or be cancelled; and nothing is held by an instance
that has nothing to do.
"""

import threading
from collections.abc import Iterable, Sequence
from queue import SimpleQueue

from kserve_v2.scheduling.limiting.resources import Arbiter, Capacity, Claim, Limits, Resource, Share

Owner = tuple[str, int]
"""Name and version of a loaded model."""


class RateLimiter:
    """One for the whole server: the models' gates share its lock and its resources."""

    def __init__(self, capacities: Iterable[Capacity] = ()) -> None:
        """`capacities`: see `Arbiter`."""
        self._lock = threading.Lock()
        self._arbiter = Arbiter(capacities)
        # Where the instance of a share sleeps. A bell holds one token at most, since all that ring hold the lock.
        self._bells: dict[Share, SimpleQueue[None]] = {}
        self._owned: dict[Owner, Sequence[Share]] = {}

    def __repr__(self) -> str:
        held = {str(resource.name): count for resource, count in self._arbiter.held.items()}
        return f"<RateLimiter instances={len(self._bells)} held={held}>"

    def gate(self, instances: Sequence[Limits], owner: Owner = ("", 0)) -> "Gate | None":
        """The gate for the instances of a model, by their numbers. None if they need nothing. `owner`: the model.

        Raises InvalidArgumentError if one of them could never be executed.
        """
        if not any(limits.needs for limits in instances):
            return None
        with self._lock:
            shares = self._arbiter.register(instances)
            bells: list[SimpleQueue[None]] = [SimpleQueue() for _ in shares]
            self._bells.update(zip(shares, bells, strict=True))
            self._owned[owner] = shares
        return Gate(self, shares, bells)

    def enlist(self, share: Share) -> Claim:
        """The instance wants to execute something. The claim may be granted at once."""
        with self._lock:
            claim = self._arbiter.enlist(share)
            self._grant()
            return claim

    def end(self, claim: Claim, *, executed: bool) -> None:
        """A claim is over, whether it was granted or not."""
        with self._lock:
            self._arbiter.end(claim, executed=executed)
            self._grant()

    def follow(self, claim: Claim) -> Claim:
        """An execution has ended, and the instance has more to do: it stands in line again before others get what was
        held, or it would always be passed, whatever its weight.
        """
        with self._lock:
            following = self._arbiter.enlist(claim.share)
            self._arbiter.end(claim)
            self._grant()
            return following

    def ring(self, shares: Iterable[Share]) -> None:
        """Wake the instances that sleep. Once too often does no harm: they look again."""
        with self._lock:
            for share in shares:
                self._ring(share)

    def vain_wait(self, shares: Iterable[Share], callers: Iterable[Owner]) -> Resource | None:
        """A resource that would be waited for in vain, because `callers` hold it; None if there is none."""
        with self._lock:
            return self._arbiter.vain_wait(
                shares, [self._owned[each] for each in callers if each in self._owned]
            )

    def leave(self, shares: Sequence[Share]) -> None:
        """The instances are no more: what others may have is found out anew."""
        with self._lock:
            self._arbiter.unregister(shares)
            for share in shares:
                self._bells.pop(share, None)
            # The next generation of the model may have taken its place.
            self._owned = {owner: owned for owner, owned in self._owned.items() if owned is not shares}
            self._grant()

    def _grant(self) -> None:
        for claim in self._arbiter.grant():
            self._ring(claim.share)

    def _ring(self, share: Share) -> None:
        bell = self._bells.get(share)
        if bell is not None and bell.empty():
            bell.put(None)


class Gate:
    """What stands between the queue of one model and its instances. Each slot is used by one thread at a time, but for
    `Permit.release` and `ring`.
    """

    def __init__(
        self, limiter: RateLimiter, shares: Sequence[Share], bells: Sequence[SimpleQueue[None]]
    ) -> None:
        self._limiter = limiter
        self._shares = shares
        self._bells = bells
        # The next execution of each instance, once it wants one.
        self._next: list[Claim | None] = [None] * len(shares)
        self._permits: set[Permit] = set()
        self._lock = threading.Lock()

    def ask(self, slot: int) -> "Permit | None":
        """Ask for an execution now. None: the instance has to `wait`, and to ask again."""
        with self._lock:
            claim = self._next[slot]
            if claim is None:
                claim = self._next[slot] = self._limiter.enlist(self._shares[slot])
            if not claim.granted:
                return None
            self._next[slot] = None
            permit = Permit(self, slot, claim)
            self._permits.add(permit)
            return permit

    def wait(self, slot: int) -> None:
        """Sleep until it may be worth asking again."""
        self._bells[slot].get()

    def decline(self, slot: int) -> None:
        """There is nothing to execute after all."""
        with self._lock:
            claim, self._next[slot] = self._next[slot], None
        if claim is not None:
            self._limiter.end(claim, executed=False)

    def ring(self) -> None:
        """Have all instances that wait look again: there may be nothing left to wait for."""
        self._limiter.ring(self._shares)

    def release(self, permit: "Permit", *, again: bool) -> None:
        """An execution is over; see `Permit.release`."""
        with self._lock:
            if permit not in self._permits:
                return
            self._permits.remove(permit)
            if again and self._next[permit.slot] is None:
                self._next[permit.slot] = self._limiter.follow(permit.claim)
                return
        self._limiter.end(permit.claim, executed=True)

    def vain_wait(self, callers: Iterable[Owner]) -> Resource | None:
        """A resource that would be waited for in vain, because `callers` hold it; None if there is none."""
        return self._limiter.vain_wait(self._shares, callers)

    def close(self) -> None:
        """The model is unloaded: nothing is held for it any more, whatever has become of its instances."""
        with self._lock:
            permits, self._permits = self._permits, set()
            claims = [permit.claim for permit in permits] + [
                claim for claim in self._next if claim is not None
            ]
            self._next = [None] * len(self._shares)
        for claim in claims:
            self._limiter.end(claim, executed=False)
        self._limiter.leave(self._shares)


class Permit:
    """One execution's."""

    __slots__ = ("_gate", "claim", "slot")

    def __init__(self, gate: Gate, slot: int, claim: Claim) -> None:
        self.slot = slot
        self.claim = claim
        self._gate = gate

    def release(self, *, again: bool = False) -> None:
        """The execution has ended, however it did; a second call has no effect. `again`: there is more to do for its
        instance.
        """
        self._gate.release(self, again=again)
