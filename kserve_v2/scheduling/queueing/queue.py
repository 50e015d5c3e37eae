"""A model's request queue: the loop puts, instance threads take whole batches.

This is the one place where the loop and the instance threads meet, and the only lock between them.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from queue import Empty, SimpleQueue

from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.limiting.rate_limiter import Gate, Permit
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import BatchRules, Run, WaitUntil, decide
from kserve_v2.scheduling.queueing.waiting import WaitingRequests
from kserve_v2.scheduling.statistics import BatchReason

_NOTHING: WaitingRequests[Pending] = WaitingRequests()


class RequestQueue:
    """Requests of one model version, in the order of `WaitingRequests`: the feed of all its instances.

    Being in the queue is what "not taken yet" means: `discard` and `take` both remove under the lock, so a
    request is either given up or executed, never both.

    At most one instance at a time waits for a batch to fill up (`_forming`); the others sleep until there is
    something that it leaves over. So a request that only joins a growing batch wakes nobody.

    Instances sleep on simple queues, which the interpreter implements without Python code between a wake-up
    and its effect. A token too many is harmless: whoever gets it looks at the state again.
    """

    def __init__(
        self,
        rules: BatchRules,
        sizes: Sequence[int] = (0,),
        clock_ns: Callable[[], int] = time.monotonic_ns,
        instances: int = 1,
        gate: Gate | None = None,
    ) -> None:
        """`sizes`: most requests that may wait on each level of priority, 0 for any number. `clock_ns`: the clock of
        `Pending.enqueued_ns`. `instances`: how many pull from this. `gate`: whom they have to ask before they take
        something.
        """
        self.rules = rules
        self._clock_ns = clock_ns
        self.gate = gate
        self._waiting: WaitingRequests[Pending] = WaitingRequests(sizes)
        self._rows = 0
        self._closed = False
        self._forming: WaitUntil | None = None
        # How many instances sleep. Who reads it on the thread that puts can rely on an instance that sleeps to do so
        # until the next `put`: nothing else wakes it.
        self.sleeping = 0
        # What that is when all sleep; -1 if it cannot be told any more, because one was interrupted.
        self.all_sleeping = instances
        # The slots of instances that are to take nothing any more.
        self._leaving: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._wake_sleeper: SimpleQueue[None] = SimpleQueue()
        self._wake_forming: SimpleQueue[None] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "forming" if self._forming else "open"
        return f"<RequestQueue {state} requests={len(self)} rows={self._rows} sleeping={self.sleeping}>"

    @property
    def idle(self) -> bool:
        """Whether every instance sleeps; see `sleeping`."""
        return self.sleeping == self.all_sleeping

    def put(self, pending: Pending) -> bool:
        """Append a request. False: the queue is full or closed, and the request is not in it."""
        with self._lock:
            waiting = self._waiting
            if self._closed or (not pending.admitted and waiting.is_full(pending.level)):
                return False
            # All that wait for a batch to grow fit together. Looked at before: the new one may come to stand first.
            grows = self._forming is None or next(iter(waiting), pending).key == pending.key
            waiting.append(pending)
            self._rows += pending.rows
            if self._forming is None:
                self._wake_one()
            elif self._rows >= self._forming.rows or not grows:
                self._wake_forming.put(None)
            return True

    def _wake_one(self) -> None:
        if self.sleeping:
            self.sleeping -= 1
            self._wake_sleeper.put(None)

    def _wake_all(self) -> None:
        while self.sleeping:
            self._wake_one()
        self._wake_forming.put(None)

    def discard(self, pending: Pending) -> bool:
        """Give a request up. True: it never ran and never will. False: an instance has it, or had it."""
        with self._lock:
            if not self._waiting.remove(pending):
                return False
            self._rows -= pending.rows
            return True

    def postpone(self, pending: Pending) -> bool:
        """Move a request behind all others of its level of priority. False: an instance has it already."""
        with self._lock:
            return self._waiting.delay(pending)

    @property
    def levels(self) -> list[int]:
        """How many requests wait on each level of priority."""
        return self._waiting.levels

    def join(self) -> None:
        """One more instance is about to pull from this."""
        if self.all_sleeping >= 0:
            self.all_sleeping += 1

    def send_away(self, slot: int) -> None:
        """Have the instance of this number take nothing any more. Once it has gone, call `gone`."""
        with self._lock:
            self._leaving |= {slot}
            # One that stays, and falls asleep again, must not take the token of the one that is to go.
            self._wake_all()
            self._wake_sleeper = SimpleQueue()

    def gone(self, slot: int) -> None:
        """An instance that was sent away pulls no longer."""
        with self._lock:
            self._leaving -= {slot}
        if self.all_sleeping >= 0:
            self.all_sleeping -= 1

    def take(self, slot: int = 0) -> Batch | None:
        """Block until there is a batch to execute, and take it. None: the queue is closed, and nothing is
        left in it, or the instance was sent away. All instances are served alike, whatever their `slot`.
        """
        batch: Batch | None = None
        gate = self.gate
        try:
            while True:
                with self._lock:
                    # An instance that was sent away does not see them.
                    waiting = _NOTHING if slot in self._leaving else self._waiting
                    decision: Run | WaitUntil | None = None
                    if waiting and self._forming is None:
                        now_ns = self._clock_ns()
                        decision = decide(waiting.in_order(), self.rules, now_ns)
                        if isinstance(decision, WaitUntil):
                            self._forming = decision
                        elif gate is None:
                            batch = self._remove(decision, now_ns)
                            break
                        elif (permit := gate.ask(slot)) is not None:
                            batch = self._remove(decision, now_ns, permit)
                            break
                    elif (self._closed or slot in self._leaving) and not waiting:
                        self._hand_on(slot)
                        return None
                    else:
                        self.sleeping += 1
                        wake_sleeper = self._wake_sleeper
                if isinstance(decision, Run):
                    assert gate is not None  # noqa: S101 - it has refused
                    gate.wait(slot)
                    continue
                self.leave(slot)
                if decision is None:
                    wake_sleeper.get()
                else:
                    self._wait_for_growth((decision.at_ns - now_ns) / 1e9)
            return batch  # noqa: TRY300 - the thread may be interrupted up to here
        except BaseException:
            # Something that runs in this process has interrupted the thread.
            if batch is not None:
                self._put_back(batch)
            raise

    def take_now(
        self, only: Callable[[BatchReason, Sequence[Pending]], bool] | None = None
    ) -> Batch | WaitUntil | None:
        """As `take`, for who cannot wait, and has no gate to ask: what to wait for, if a batch may still grow; None if
        nothing is left in it, or the next batch is none that is wanted. `only`: says that of why it is complete, and
        its members.
        """
        with self._lock:
            if not self._waiting:
                return None
            now_ns = self._clock_ns()
            decision = decide(self._waiting.in_order(), self.rules, now_ns)
            if isinstance(decision, WaitUntil):
                return decision
            if only is not None:
                members = [*islice(self._waiting.in_order(), decision.requests)]
                if not only(decision.reason, members):
                    return None
            return self._remove(decision, now_ns)

    def leave(self, slot: int) -> None:
        """The instance has nothing to execute, whatever it has asked for."""
        if self.gate is not None:
            self.gate.decline(slot)

    def put_back(self, batch: Batch) -> bool:
        """Let others have a batch that was taken for nothing. False: the queue is closed, and it is not in it."""
        if self._closed:
            return False
        self._put_back(batch)
        return True

    def _put_back(self, batch: Batch) -> None:
        with self._lock:
            self._waiting.put_back(batch.members)
            self._rows += sum([pending.rows for pending in batch.members])
            self._wake_one()
        self.executed(batch)

    def executed(self, batch: Batch) -> None:
        """An execution is over, however it ended: what it has held is free for others."""
        if batch.permit is not None:
            batch.permit.release(again=bool(self._waiting))

    def _hand_on(self, slot: int) -> None:
        """The instance takes nothing any more. If it was woken for what waits, somebody else has to be."""
        self.leave(slot)
        if self._waiting and self._forming is None:
            self._wake_one()

    def _wait_for_growth(self, seconds: float) -> None:
        try:
            with suppress(Empty):
                self._wake_forming.get(timeout=seconds)
        finally:
            # Even if the thread is interrupted: nobody else would form a batch.
            with self._lock:
                self._forming = None

    def _remove(self, run: Run, now_ns: int, permit: Permit | None = None) -> Batch:
        members = self._waiting.pop(run.requests)
        self._rows -= sum([pending.rows for pending in members])
        if self._closed:
            self._wake_all()
        elif self._waiting:
            self._wake_one()
        return Batch(members, run.reason, now_ns, permit)

    def close(self) -> None:
        """Take no more requests. Instances execute what is waiting, then `take` gives them None."""
        with self._lock:
            self._closed = True
            # Nothing more can come that would be worth waiting for.
            self.rules = replace(self.rules, max_delay_ns=0)
            self._wake_all()
        self._ring()

    def abandon(self) -> list[Pending]:
        """Remove and return all that is waiting: for a shutdown whose time is up."""
        with self._lock:
            left = self._waiting.pop(len(self._waiting))
            self._rows = 0
            self._wake_all()
        self._ring()
        return left

    def _ring(self) -> None:
        """Let instances that wait at the gate see what has become of the queue."""
        if self.gate is not None:
            self.gate.ring()
