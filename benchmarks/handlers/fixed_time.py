"""A model that takes 2 ms for a batch, whatever its size up to 32 rows: an accelerator with its fixed price.

It sleeps rather than spins. A sleeping thread has given up the interpreter's lock, as a thread has that waits
for a GPU, so the rest of the server can work meanwhile. And it has to get the lock back afterwards, as a real
model has. A sleep lasts longer than asked for, by the kernel's timer slack and the time to wake up; the usual
excess is measured when the model is loaded, and taken off.
"""

import time
from statistics import median
from typing import Any

EXECUTION_NS = 2_000_000


def _excess_ns() -> float:
    """By how much sleeps of this length are late on this machine."""
    excesses = []
    for _ in range(50):
        start_ns = time.perf_counter_ns()
        time.sleep(EXECUTION_NS / 1e9)
        excesses.append(time.perf_counter_ns() - start_ns - EXECUTION_NS)
    return median(excesses)


class Model:
    """Answers its input, 2 ms later."""

    inputs = {"INPUT": ("FP32", [1])}  # noqa: RUF012 - read once, by the server
    outputs = {"OUTPUT": ("FP32", [1])}  # noqa: RUF012
    max_batch_size = 32

    def load(self, _context: Any) -> None:
        """Find out how long to sleep."""
        self._seconds = (EXECUTION_NS - _excess_ns()) / 1e9

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One batch."""
        time.sleep(self._seconds)
        return {"OUTPUT": inputs["INPUT"]}
