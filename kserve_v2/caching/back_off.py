"""When to ask a service again that does not answer."""

from dataclasses import dataclass

FIRST_S = 0.5
LONGEST_S = 30.0


@dataclass(slots=True)
class BackOff:
    """After a failure the service is left alone for a while, then one caller tries; each further failure doubles the
    while. Times are those of any clock that does not go back, in seconds.
    """

    _wait_s: float = 0.0
    _until_s: float = 0.0
    _tried: bool = False

    @property
    def failing(self) -> bool:
        """Whether the service did not answer when it was last asked."""
        return self._wait_s > 0

    def may_try(self, now_s: float) -> bool:
        """Whether to ask now. While the service fails, who is told so is the one who tries: the others wait again."""
        if not self.failing:
            return True
        if now_s < self._until_s:
            return False
        self._until_s = now_s + self._wait_s
        self._tried = True
        return True

    def succeeded(self) -> bool:
        """The service has answered. True: it had failed before."""
        recovered = self.failing
        self._wait_s = 0.0
        self._tried = False
        return recovered

    def failed(self, now_s: float) -> bool:
        """The service has not answered. True: it had before. All that were under way when it died are one failure."""
        first = not self.failing
        if first or self._tried:
            self._wait_s = FIRST_S if first else min(self._wait_s * 2, LONGEST_S)
            self._until_s = now_s + self._wait_s
            self._tried = False
        return first
