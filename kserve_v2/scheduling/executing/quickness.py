"""Whether a model is quick enough to be executed in place: the measurements, and the decision."""

import threading
from collections.abc import Callable
from time import monotonic_ns, thread_time_ns

# The longest execution in place, however slow threads are on this machine: the event loop does nothing else meanwhile.
MAX_NS = 300_000

# The same for a batch of many rows, which does the work of many executions at once.
MAX_ROWS_NS = 3_000_000

# A hand-over to a thread costs more than its own time: each CPU has to fetch the code of the other one's work, and the
# threads compete for the interpreter's lock. Models that take up to this many hand-overs are executed in place.
HAND_OVER_WEIGHT = 4

# A new measurement weighs 1/4 if it is shorter than expected, 1/16 if longer, and counts for at most twice the expected
# time. On a busy machine some take a hundred times as long because the thread had to wait for a CPU.
_SHORTER_WEIGHS, _LONGER_WEIGHS = 4, 16

# A model that was too slow in place is trusted again after this many quick executions in a row on its thread, and twice
# as many each time that it is too slow again.
QUICK_AGAIN, _MOST_QUICK_AGAIN = 64, 2**16

# The doubling starts anew if the model was quick in place for this many periods: then one slow execution was chance, or
# the machine was busy.
_FORGIVEN_PERIODS = 1000
_PERIOD_NS = 500_000

# Longer than any wait for a CPU: an execution that took longer was slow, even if it only waited.
STALL_NS = 100_000_000

# The time between looks at the thread's CPU time. A look takes about as long as the rest of a measurement.
_LOOK_NS = 500_000


class CpuTime:
    """What a thread has computed, as of a little while ago: one look serves all models that it executes."""

    __slots__ = ("_clock_ns", "_looked_at_ns", "_seen_ns")

    def __init__(self, clock_ns: Callable[[], int], now_ns: int) -> None:
        """`clock_ns`: the CPU time of the thread that calls it."""
        self._clock_ns = clock_ns
        self._looked_at_ns, self._seen_ns = now_ns, clock_ns()

    def begins(self, now_ns: int) -> None:
        """Something begins now of which it may be asked how much it has computed."""
        if now_ns - self._looked_at_ns > _LOOK_NS:
            self._looked_at_ns, self._seen_ns = now_ns, self._clock_ns()

    def since(self, began_ns: int) -> int:
        """How much has been computed since then, at least: the time between the look and then may have been computed as
        well.
        """
        return self._clock_ns() - self._seen_ns - (began_ns - self._looked_at_ns)


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.time = CpuTime(thread_time_ns, monotonic_ns())


_of_thread = _OfThread()


class Quickness:
    """Measurements of one model, taken on the event loop's thread."""

    __slots__ = (
        "_counted_at_ns", "_hand_over_ns", "_periods", "_quick_again", "_still_to_be_quick", "clock_ns", "cpu_time",
        "execution_ns", "limit_ns",
    )  # fmt: skip

    def __init__(self, clock_ns: Callable[[], int] = monotonic_ns, cpu_time: CpuTime | None = None) -> None:
        """`cpu_time`: of the event loop's thread; by default, of the one that calls this."""
        self.clock_ns = clock_ns
        self.cpu_time = cpu_time or _of_thread.time
        # Expected time of a request or a batch. Unless it is below `limit_ns`, the model's own threads are quicker.
        # Plain attributes, because they are compared for each request.
        self.execution_ns = float(MAX_NS)
        self.limit_ns = 0.0
        # Expected time to wake a thread, and of the way back from it; 0 if unknown.
        self._hand_over_ns = 0.0
        self._quick_again = QUICK_AGAIN
        self._still_to_be_quick = 0
        # For how long it has been quick in place, in periods of so much time in which it was executed.
        self._periods = 0
        self._counted_at_ns = clock_ns()

    def __repr__(self) -> str:
        return (
            f"<Quickness execution_ns={self.execution_ns:.0f} hand_over_ns={self._hand_over_ns:.0f} "
            f"limit_ns={self.limit_ns:.0f} distrusted={self.distrusted}>"
        )

    @property
    def quick(self) -> bool:
        """Whether to execute in place, going by what was measured."""
        return self.execution_ns < self.limit_ns

    @property
    def distrusted(self) -> bool:
        """Whether it has been too slow in place, and has not made up for that yet."""
        return self._still_to_be_quick > 0

    def executed_here(self, took_ns: int, end_ns: int, rows: int = 1) -> None:
        """An execution in place has taken `took_ns`, until `end_ns`. `cpu_time` was told that it begins."""
        if took_ns > MAX_NS and too_slow(took_ns, rows):
            self._look_closer(took_ns, end_ns - took_ns)
        # `smoothed`, inlined, because this runs for each request.
        expected_ns = self.execution_ns
        if took_ns < expected_ns:
            self.execution_ns = expected_ns + (took_ns - expected_ns) / _SHORTER_WEIGHS
        else:
            longer_ns = took_ns if took_ns < 2 * expected_ns else 2 * expected_ns
            self.execution_ns = expected_ns + (longer_ns - expected_ns) / _LONGER_WEIGHS
        if end_ns - self._counted_at_ns > _PERIOD_NS:
            self._counted_at_ns = end_ns
            self._periods += 1

    def _look_closer(self, took_ns: int, began_ns: int) -> None:
        """Distrust the model, unless the thread has waited for a CPU or for the interpreter's lock instead of
        computing.
        """
        if took_ns > STALL_NS or 2 * self.cpu_time.since(began_ns) > took_ns:
            if not self.distrusted:
                # A stall of this length counts, whatever caused it.
                if self._periods >= _FORGIVEN_PERIODS and took_ns <= STALL_NS:
                    self._quick_again = QUICK_AGAIN
                self._periods = 0
                self._still_to_be_quick = self._quick_again
                self._quick_again = min(2 * self._quick_again, _MOST_QUICK_AGAIN)
            self.limit_ns = 0.0

    def executed_there(self, took_ns: int, rows: int = 1) -> None:
        """An execution on an instance's thread has taken `took_ns`."""
        self.execution_ns = smoothed(self.execution_ns, took_ns)
        if self._still_to_be_quick:
            if too_slow(took_ns, rows):
                self._still_to_be_quick = self._quick_again
            else:
                self._still_to_be_quick -= 1
            self._set_limit()

    def handed_over(self, took_ns: int) -> None:
        """A request has found a sleeping thread: the ways there and back took `took_ns`."""
        self._hand_over_ns = smoothed(self._hand_over_ns or MAX_NS, took_ns)
        self._set_limit()

    def _set_limit(self) -> None:
        self.limit_ns = 0.0 if self.distrusted else min(HAND_OVER_WEIGHT * self._hand_over_ns, MAX_NS)


def too_slow(took_ns: int, rows: int) -> bool:
    """Whether the event loop should not have waited for that."""
    return took_ns > min(rows * MAX_NS, MAX_ROWS_NS)


def smoothed(expected_ns: float, measured_ns: int) -> float:
    """What to expect after one more measurement."""
    if measured_ns < expected_ns:
        return expected_ns + (measured_ns - expected_ns) / _SHORTER_WEIGHS
    return expected_ns + (min(measured_ns, 2 * expected_ns) - expected_ns) / _LONGER_WEIGHS
