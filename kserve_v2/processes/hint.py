"""Says when it is the front ends that limit the server, and what to do about it."""

import logging
import time
from collections.abc import Callable, Sequence

from kserve_v2.processes.count import suggested

logger = logging.getLogger(__name__)

_BUSY = 0.9
_NOT_AGAIN_S = 3600.0


class BusyHint:
    """Of one server."""

    def __init__(self, cpus: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`cpus`: that the server may use."""
        self._cpus = cpus
        self._clock = clock
        self._said_s: float | None = None

    def look(self, busy: Sequence[float]) -> None:
        """Say something if all processes are too busy, and there could be more. `busy`: of each, of the last minute."""
        mean = sum(busy) / len(busy)
        number = suggested(len(busy), self._cpus)
        if mean < _BUSY or number is None:
            return
        now_s = self._clock()
        if self._said_s is None or now_s - self._said_s >= _NOT_AGAIN_S:
            self._said_s = now_s
            who = (
                "the front end was" if len(busy) == 1 else f"the front ends of all {len(busy)} processes were"
            )
            logger.info("%s busy %.0f %% of the last minute: try --processes %d", who, 100 * mean, number)
