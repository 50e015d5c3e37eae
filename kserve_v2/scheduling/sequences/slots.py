"""The direct strategy's queue of one instance: each sequence has a place of its own in the batch, to which its requests
come one at a time.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np

from kserve_v2.messages import InferRequest, SequenceStep
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.limiting.rate_limiter import Gate, Permit
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import Waiting
from kserve_v2.scheduling.replies import NOBODY
from kserve_v2.scheduling.statistics import BatchReason
from kserve_v2.tensors.datatypes import BYTES, Array


@dataclass(frozen=True, slots=True)
class SlotRules:
    """When a batch runs. `slots`: places in it. `utilization`: the share of them that makes it run before the oldest
    request has waited for `max_delay_ns`.
    """

    slots: int
    max_delay_ns: int = 0
    utilization: float = 0.0


class RunSlots(NamedTuple):
    """Execute the requests at these places."""

    positions: tuple[int, ...]
    reason: BatchReason


class WaitForSlots(NamedTuple):
    """Nothing to do before `at_ns`, unless another request comes."""

    at_ns: int


def choose(ready: Mapping[int, Waiting], rules: SlotRules, now_ns: int) -> RunSlots | WaitForSlots:
    """Decide on the requests that are there, by their places; there is at least one.

    Those that cannot share a batch with the oldest wait for the next one, which therefore is theirs.
    """
    oldest = min(ready.values(), key=lambda waiting: waiting.enqueued_ns)
    positions = tuple(sorted(place for place, waiting in ready.items() if waiting.key == oldest.key))
    if len(positions) == rules.slots:
        return RunSlots(positions, BatchReason.FULL)
    if not rules.max_delay_ns or not rules.utilization:
        mismatch = len(positions) < len(ready)
        return RunSlots(positions, BatchReason.SHAPE_MISMATCH if mismatch else BatchReason.NO_DELAY)
    # In the precision of the configuration: 0.1 is one of ten.
    if np.float32(len(positions) / rules.slots) >= np.float32(rules.utilization):
        return RunSlots(positions, BatchReason.PREFERRED)
    deadline_ns = oldest.enqueued_ns + rules.max_delay_ns
    return (
        RunSlots(positions, BatchReason.DELAY_EXPIRED) if now_ns >= deadline_ns else WaitForSlots(deadline_ns)
    )


class SlotQueue:
    """The requests that wait for one instance, at most one for each place. See `Feed` for what the methods do."""

    def __init__(
        self,
        rules: SlotRules,
        stride: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        gate: Gate | None = None,
    ) -> None:
        """`stride`: the number of instances; slot s is the place s // stride of one of them. `gate`: see
        `RequestQueue`.
        """
        self._gate = gate
        self._rules = rules
        self._stride = stride
        self._clock_ns = clock_ns
        self._ready: dict[int, Pending] = {}
        # Places of live sequences: a batch reaches up to the last of them.
        self._active: set[int] = set()
        self._closed = False
        self._asleep = False
        self._lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._ready)

    def __repr__(self) -> str:
        return f"<SlotQueue ready={sorted(self._ready)} active={sorted(self._active)}>"

    def occupy(self, slot: int) -> None:
        """A sequence holds this slot from now on."""
        with self._lock:
            self._active.add(slot // self._stride)

    def vacate(self, slot: int) -> None:
        """No sequence holds this slot any more."""
        with self._lock:
            self._active.discard(slot // self._stride)

    def put(self, pending: Pending) -> bool:
        """Let a request wait in its place. False: the queue is closed, and the request is not in it."""
        with self._lock:
            if self._closed:
                return False
            self._ready[self._place(pending)] = pending
            self._wake_up()
            return True

    def _place(self, pending: Pending) -> int:
        step = pending.request.sequence
        assert step is not None  # noqa: S101 - nothing else gets past the gate
        return step.slot // self._stride

    def _wake_up(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.put(None)

    def take(self, slot: int = 0) -> Batch | None:
        """The next batch for an instance; waits for one. For one thread, which is the one of the instance `slot`."""
        batch: Batch | None = None
        gate = self._gate
        try:
            while True:
                decision: RunSlots | WaitForSlots | None = None
                with self._lock:
                    if self._ready:
                        now_ns = self._clock_ns()
                        decision = choose(self._ready, self._rules, now_ns)
                    elif self._closed:
                        self.leave(slot)
                        return None
                    if isinstance(decision, RunSlots):
                        if gate is None:
                            batch = self._remove(decision, now_ns)
                            break
                        if (permit := gate.ask(slot)) is not None:
                            batch = self._remove(decision, now_ns, permit)
                            break
                    else:
                        self._asleep = True
                if isinstance(decision, RunSlots):
                    assert gate is not None  # noqa: S101 - it has refused
                    gate.wait(slot)
                    continue
                self.leave(slot)
                with suppress(Empty):
                    self._wake.get(timeout=None if decision is None else (decision.at_ns - now_ns) / 1e9)
            return batch  # noqa: TRY300 - the thread may be interrupted up to here
        except BaseException:
            # Something that runs in this process has interrupted the thread.
            if batch is not None:
                self._put_back(batch)
            raise

    def leave(self, slot: int) -> None:
        """The instance has nothing to execute, whatever it has asked for."""
        if self._gate is not None:
            self._gate.decline(slot)

    def executed(self, batch: Batch) -> None:
        """A batch has been executed."""
        if batch.permit is not None:
            batch.permit.release(again=bool(self._ready))

    def _remove(self, decision: RunSlots, now_ns: int, permit: Permit | None = None) -> Batch:
        taken = {place: self._ready.pop(place) for place in decision.positions}
        pattern = taken[decision.positions[0]].request
        last = max((*self._active, *taken))
        for place, pending in taken.items():
            step = pending.request.sequence
            if step is not None and step.end:
                # Its sequence is over as far as batches are concerned, whenever the event loop hears of that.
                self._active.discard(place)
        members = [taken.get(place) or NullPending(pattern) for place in range(last + 1)]
        return Batch(members, decision.reason, now_ns, permit)

    def put_back(self, batch: Batch) -> bool:
        """Take back a batch that was not executed."""
        if self._closed:
            return False
        self._put_back(batch)
        return True

    def _put_back(self, batch: Batch) -> None:
        with self._lock:
            for pending in batch.members:
                if not pending.is_null:
                    place = self._place(pending)
                    self._ready[place] = pending
                    self._active.add(place)
            self._wake_up()
        self.executed(batch)

    def discard(self, pending: Pending) -> bool:
        """Take out a request that waits."""
        with self._lock:
            place = self._place(pending)
            if self._ready.get(place) is not pending:
                return False
            del self._ready[place]
            return True

    def close(self) -> None:
        """Let instances finish what is there."""
        with self._lock:
            self._closed = True
            # Nothing more can come that would be worth waiting for.
            self._rules = replace(self._rules, max_delay_ns=0)
            self._wake_up()
        self._ring()

    def abandon(self) -> list[Pending]:
        """Take out all that waits."""
        with self._lock:
            left = list(self._ready.values())
            self._ready.clear()
            self._wake_up()
        self._ring()
        return left

    def _ring(self) -> None:
        """Let an instance that waits at the gate see what has become of the queue."""
        if self._gate is not None:
            self._gate.ring()


class NullPending(Pending):
    """Stands in a batch for a sequence that has no request there. Its inputs are zeros, and nobody gets its outputs."""

    __slots__ = ()

    is_null = True

    def __init__(self, pattern: InferRequest) -> None:
        """`pattern`: a request whose inputs have the shapes that this needs."""
        request = InferRequest(
            pattern.model_name,
            {name: _zeros(array) for name, array in pattern.inputs.items()},
            pattern.model_version,
            checked=True,
            batch_key=pattern.batch_key,
            sequence=SequenceStep(0, ready=False),
        )
        super().__init__(request, NOBODY)
        self.done = True


def _zeros(array: Array) -> Array:
    if array.dtype == BYTES.dtype:
        return np.full(array.shape, b"", object)
    return np.zeros(array.shape, array.dtype)
