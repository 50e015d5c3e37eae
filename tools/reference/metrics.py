"""All families of metrics that the server can show, without a server."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from kserve_v2.caching.cache import CacheFigures
from kserve_v2.metrics.processes import ProcessFigures
from kserve_v2.metrics.registry import MetricsRegistry
from kserve_v2.metrics.text import Family
from kserve_v2.repository.metrics.families import cache_families, metrics_text
from kserve_v2.repository.residency.residency import Asked, Budget, Residency

# Two, as there are metrics that only several have.
_PROCESSES = [ProcessFigures(number, 0, 0, connections={"rest": 0}) for number in (0, 1)]


def metric_families() -> list[Family]:
    """Every family, in the order of a scrape. Those without a sample are made, too, and left out later."""
    with _made() as families:
        residency = Residency(_NoModels(), Budget({}, 0))
        deque(metrics_text((), _PROCESSES, MetricsRegistry(), None, (), residency), maxlen=0)
        list(cache_families(CacheFigures(errors=0, evictions=0, entries=0, used_bytes=0, max_bytes=1)))
    return families


class _NoModels:
    """A server without models."""

    async def count(self) -> None:
        """Nothing was counted."""

    def residents(self) -> Mapping[str, bool]:
        """None."""
        return {}

    def lasting(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def users(self) -> Mapping[str, Sequence[Asked]]:
        """None."""
        return {}

    def evict(self, name: str) -> None:
        """There is nothing to evict."""


@contextmanager
def _made() -> Iterator[list[Family]]:
    """The families that are made meanwhile."""
    families: list[Family] = []
    init = Family.__init__

    def note(family: Family, *arguments: object) -> None:
        init(family, *arguments)  # type: ignore[arg-type]
        families.append(family)

    with patch.object(Family, "__init__", note):
        yield families
