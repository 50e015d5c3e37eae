"""When a refused request is sent again: only what a server has not begun with, and asks to have again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from kserve_v2.client.errors import InvitedError

_FIRST_S = 0.1


@dataclass(frozen=True, slots=True)
class Retries:
    """`most`: how often a request is sent again. `fraction`: a number from 0 to 1, different each time, so that clients
    that were refused together do not come back together.
    """

    most: int = 3
    fraction: Callable[[], float] = random.random

    def pause_s(self, refused: InvitedError, before: int, left_s: float | None) -> float | None:
        """How long to wait, None for not to try again. `before`: how often that was done. `left_s`: time left, None for
        any.
        """
        if before >= self.most:
            return None
        least_s = max(refused.after_s, _FIRST_S * 2**before)
        pause_s = least_s * (1 + self.fraction() / 4)
        return None if left_s is not None and pause_s >= left_s else pause_s
