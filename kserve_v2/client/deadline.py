"""How long a call may take, from its beginning to its end, with all that is asked on the way."""

import time
from collections.abc import Callable

from kserve_v2.errors import DeadlineExceededError


class Deadline:
    """`timeout_s`: None for no limit."""

    def __init__(self, timeout_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._end = None if timeout_s is None else clock() + timeout_s

    def left_s(self) -> float | None:
        """Seconds that are left, None for any number. 0 when it has passed."""
        return None if self._end is None else max(0.0, self._end - self._clock())

    def wait_s(self) -> float | None:
        """As `left_s`, before something is begun. Raises DeadlineExceededError if it has passed."""
        left_s = self.left_s()
        if left_s is not None and left_s <= 0:
            raise self.error("the server")
        return left_s

    def error(self, url: str) -> DeadlineExceededError:
        """What a caller gets who has waited so long."""
        return DeadlineExceededError(f"{url} has not answered within {self.timeout_s:g} s")
