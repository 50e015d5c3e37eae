"""How long a process that has died is left alone before it is started again."""

from dataclasses import dataclass

FIRST_S = 0.1
LONGEST_S = 60.0

STABLE_S = 60.0
"""A process that has lived so long was all right: what has killed it is news."""


@dataclass(slots=True)
class RestartDelays:
    """Of one process and its successors. The first one is started at once; each that dies young doubles the delay."""

    _next_s: float = 0.0

    def after(self, lived_s: float) -> float:
        """The delay after a process that has lived so long, 0 for one that could not be started."""
        delay_s = 0.0 if lived_s >= STABLE_S else self._next_s
        self._next_s = max(FIRST_S, min(delay_s * 2, LONGEST_S))
        return delay_s
