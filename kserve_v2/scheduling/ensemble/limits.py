"""How many requests of one step may be under way for one request to the ensemble: `max_inflight_requests`."""

from collections import deque
from collections.abc import Iterator

from kserve_v2.scheduling.ensemble.scope import Call, Scope


class StepLimits:
    """Counts the calls of steps that are done again for each response of a stream; others are there once."""

    __slots__ = ("_active", "_limit", "held")

    def __init__(self, limit: int) -> None:
        """`limit`: 0 for none."""
        self._limit = limit
        self._active: dict[int, int] = {}
        self.held: dict[int, deque[Scope]] = {}
        """What waits for its turn, by the number of the step."""

    def begin(self, call: Call) -> bool:
        """Count a call that is to begin. False: its step has to wait for its turn."""
        number = call.step.number
        if not self._limit or not call.step.depth:
            return True
        active = self._active.get(number, 0)
        if active >= self._limit:
            self.held.setdefault(number, deque()).append(call.scope)
            return False
        self._active[number] = active + 1
        call.counted = True
        return True

    def end(self, call: Call) -> None:
        """A call is over. May be called again."""
        if call.counted:
            call.counted = False
            self._active[call.step.number] -= 1

    def ready(self) -> Iterator[tuple[Scope, int]]:
        """Whose turn it is now: yields them one by one, with the number of the step, as they are begun or dropped."""
        for number, held in list(self.held.items()):
            while held and self._active[number] < self._limit:
                yield held.popleft(), number
