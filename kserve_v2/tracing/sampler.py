"""Which requests are traced."""

from kserve_v2.tracing.settings import TraceSettings


class Sampler:
    """Chooses, by the settings of one scope, every rate-th request until the count is used up."""

    def __init__(self, settings: TraceSettings, remaining: int | None = None) -> None:
        """`remaining`: traces that are left of the settings' count; None for all of them."""
        self.settings = settings
        self.remaining = settings.count if remaining is None else remaining
        self._seen = 0

    def __repr__(self) -> str:
        return f"<Sampler {self.settings} remaining={self.remaining} seen={self._seen}>"

    def choose(self) -> bool:
        """Whether to trace this request."""
        if self.passes_over():
            return False
        self._seen += 1
        if self.remaining > 0:
            self.remaining -= 1
        return True

    def passes_over(self) -> bool:
        """Whether the next request is not to be traced. If so, that was it; if not, it is still to be chosen."""
        if not self.settings.levels or self.settings.rate == 0 or self.remaining == 0:
            return True
        if (self._seen + 1) % self.settings.rate == 0:
            return False
        self._seen += 1
        return True
