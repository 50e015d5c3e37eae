"""A queue for each instance: all requests of a sequence go to one of them."""

from collections.abc import Sequence

from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.limiting.rate_limiter import Gate
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.sequences.rules import SequenceRules
from kserve_v2.scheduling.sequences.slots import SlotQueue


class SequenceFeed:
    """The slots of all instances. Slot s of a model with n instances is on instance s % n, so sequences spread out."""

    # Nothing is executed where it was received: each instance has its own sequences.
    idle = False
    sleeping = 0
    all_sleeping = -1

    def __init__(self, rules: SequenceRules, instances: int, gate: Gate | None = None) -> None:
        """`gate`: see `RequestQueue`."""
        self.rules = ONE_AT_A_TIME
        self.gate = gate
        self._slot_queues: Sequence[SlotQueue] = ()
        self._queues: Sequence[SlotQueue | RequestQueue]
        if rules.direct is None:
            self._queues = [RequestQueue(rules.batches, gate=gate) for _ in range(instances)]
        else:
            direct = rules.direct
            self._queues = self._slot_queues = [
                SlotQueue(direct, instances, gate=gate) for _ in range(instances)
            ]

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def __repr__(self) -> str:
        return f"<SequenceFeed {self._queues!r}>"

    @property
    def levels(self) -> list[int]:
        """Sequences have one level of priority."""
        return [len(self)]

    def occupy(self, slot: int) -> None:
        """A sequence holds this slot from now on."""
        if self._slot_queues:
            self._slot_queues[slot % len(self._slot_queues)].occupy(slot)

    def vacate(self, slot: int) -> None:
        """No sequence holds this slot any more."""
        if self._slot_queues:
            self._slot_queues[slot % len(self._slot_queues)].vacate(slot)

    def put(self, pending: Pending) -> bool:
        """Let a request wait for the instance of its sequence. False: the feed is closed."""
        return self._queue_of(pending).put(pending)

    def _queue_of(self, pending: Pending) -> SlotQueue | RequestQueue:
        step = pending.request.sequence
        assert step is not None  # noqa: S101 - nothing else gets past the gate
        return self._queues[step.slot % len(self._queues)]

    def take(self, slot: int) -> Batch | None:
        """The next batch for an instance; waits for one."""
        return self._queues[slot].take(slot)

    def leave(self, slot: int) -> None:
        """An instance takes no more batches."""
        self._queues[slot].leave(slot)

    def executed(self, batch: Batch) -> None:
        """A batch has been executed."""
        self._queue_of(_first(batch)).executed(batch)

    def put_back(self, batch: Batch) -> bool:
        """Take back a batch that was not executed."""
        return self._queue_of(_first(batch)).put_back(batch)

    def discard(self, pending: Pending) -> bool:
        """Take out a request that waits."""
        return self._queue_of(pending).discard(pending)

    def postpone(self, pending: Pending) -> bool:
        """Sequences have no queue policy."""
        return False

    def close(self) -> None:
        """Let instances finish what is there."""
        for queue in self._queues:
            queue.close()

    def abandon(self) -> list[Pending]:
        """Take out all that waits."""
        return [pending for queue in self._queues for pending in queue.abandon()]


def _first(batch: Batch) -> Pending:
    """The first that stands for a request: each batch has one."""
    return next(pending for pending in batch.members if not pending.is_null)
