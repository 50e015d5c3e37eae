"""A model's request queue: the loop puts, instance threads take whole batches.

This is the one place where the loop and the instance threads meet, and the only lock between them.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue

from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.policy import BatchRules, WaitUntil, decide
from kserve_v2.scheduling.statistics import BatchReason


class RequestQueue:
    """Requests of one model version, oldest first: the feed of all its instances.

    Being in the queue is what "not taken yet" means: `discard` and `take` both remove under the lock, so a
    request is either given up or executed, never both. Postponed requests stand behind all others.

    At most one instance at a time waits for a batch to fill up (`_forming`); the others sleep until there is
    something that it leaves over. So a request that only joins a growing batch wakes nobody.

    Instances sleep on simple queues, which the interpreter implements without Python code between a wake-up
    and its effect. A token too many is harmless: whoever gets it looks at the state again.
    """

    def __init__(
        self,
        rules: BatchRules,
        max_size: int = 0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        instances: int = 1,
    ) -> None:
        """`max_size`: most requests that may wait, 0 for no limit. `clock_ns`: the clock of
        `Pending.enqueued_ns`. `instances`: how many pull from this.
        """
        self.rules = rules
        self._max_size = max_size
        self._clock_ns = clock_ns
        # Ordered dictionaries as queues: removal from the middle, which cancellation and time-outs need,
        # takes constant time.
        self._waiting: OrderedDict[Pending, None] = OrderedDict()
        self._postponed: OrderedDict[Pending, None] = OrderedDict()
        self._rows = 0
        self._closed = False
        self._forming: WaitUntil | None = None
        # How many instances sleep. Who reads it on the thread that puts can rely on an instance that sleeps to do so
        # until the next `put`: nothing else wakes it.
        self.sleeping = 0
        # What that is when all sleep; -1 if it cannot be told any more, because one was interrupted.
        self.all_sleeping = instances
        self._lock = threading.Lock()
        self._wake_sleeper: SimpleQueue[None] = SimpleQueue()
        self._wake_forming: SimpleQueue[None] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._postponed)

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
            full = self._max_size and len(self) >= self._max_size
            if self._closed or (full and not pending.admitted):
                return False
            self._waiting[pending] = None
            self._rows += pending.rows
            if self._forming is None:
                self._wake_one()
            elif self._rows >= self._forming.rows or pending.key != next(iter(self._waiting)).key:
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
            for queue in (self._waiting, self._postponed):
                if pending in queue:
                    del queue[pending]
                    self._rows -= pending.rows
                    return True
            return False

    def postpone(self, pending: Pending) -> bool:
        """Move a request behind all that have not been postponed. False: an instance has it already."""
        with self._lock:
            if pending not in self._waiting:
                return False
            del self._waiting[pending]
            self._postponed[pending] = None
            return True

    def take(self, slot: int = 0) -> Batch | None:
        """Block until there is a batch to execute, and take it. None: the queue is closed, and nothing is
        left in it. All instances are served alike, whatever their `slot`.
        """
        batch: Batch | None = None
        try:
            while True:
                with self._lock:
                    queue = self._waiting or self._postponed
                    if self._closed and not queue:
                        return None
                    if queue and self._forming is None:
                        now_ns = self._clock_ns()
                        decision = decide(queue, self.rules, now_ns)
                        if not isinstance(decision, WaitUntil):
                            batch = self._remove(queue, decision.requests, decision.reason, now_ns)
                            break
                        self._forming = decision
                    else:
                        decision = None
                        self.sleeping += 1
                if decision is None:
                    self._wake_sleeper.get()
                else:
                    self._wait_for_growth((decision.at_ns - now_ns) / 1e9)
            return batch  # noqa: TRY300 - the thread may be interrupted up to here
        except BaseException:
            # Something that runs in this process has interrupted the thread.
            if batch is not None:
                self._put_back(batch)
            raise

    def put_back(self, batch: Batch) -> bool:
        """Let others have a batch that was taken for nothing. False: the queue is closed, and it is not in it."""
        if self._closed:
            return False
        self._put_back(batch)
        return True

    def _put_back(self, batch: Batch) -> None:
        with self._lock:
            for pending in reversed(batch.members):
                self._waiting[pending] = None
                self._waiting.move_to_end(pending, last=False)
                self._rows += pending.rows
            self._wake_one()

    def _wait_for_growth(self, seconds: float) -> None:
        try:
            with suppress(Empty):
                self._wake_forming.get(timeout=seconds)
        finally:
            # Even if the thread is interrupted: nobody else would form a batch.
            with self._lock:
                self._forming = None

    def _remove(
        self, queue: OrderedDict[Pending, None], requests: int, reason: BatchReason, now_ns: int
    ) -> Batch:
        if requests == len(queue):
            members = list(queue)
            queue.clear()
        else:
            members = [queue.popitem(last=False)[0] for _ in range(requests)]
        self._rows -= sum([pending.rows for pending in members])
        if self._closed:
            self._wake_all()
        elif self._waiting or self._postponed:
            self._wake_one()
        return Batch(members, reason, now_ns)

    def close(self) -> None:
        """Take no more requests. Instances execute what is waiting, then `take` gives them None."""
        with self._lock:
            self._closed = True
            # Nothing more can come that would be worth waiting for.
            self.rules = replace(self.rules, max_delay_ns=0)
            self._wake_all()

    def abandon(self) -> list[Pending]:
        """Remove and return all that is waiting: for a shutdown whose time is up."""
        with self._lock:
            left = [*self._waiting, *self._postponed]
            self._waiting.clear()
            self._postponed.clear()
            self._rows = 0
            self._wake_all()
            return left
