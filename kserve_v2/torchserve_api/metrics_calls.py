"""The metrics API: TorchServe's own metrics, and those of handlers."""

from collections.abc import Mapping

from kserve_v2.metrics.text import Family
from kserve_v2.repository.manager import ModelManager
from kserve_v2.torchserve_api.answering import Reply
from kserve_v2.torchserve_api.app import Answering, Asked
from kserve_v2.torchserve_api.counters import HOSTNAME, Counters, help_text
from kserve_v2.torchserve_api.queries import all_values
from kserve_v2.torchserve_api.registry import Registry
from kserve_v2.torchserve_api.routes import Call
from kserve_v2.torchserve_api.system_metrics import SystemMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STANDARD = frozenset({"HandlerTime", "PredictionTime"})
"""Those of handlers that are shown where no metrics.yaml says which."""

_FIRST_WORKER = 9000


class MetricsCalls:
    """Answers it. On the event loop."""

    def __init__(
        self,
        manager: ModelManager,
        registry: Registry,
        counters: Counters,
        listed: frozenset[str] | None,
        *,
        system: bool,
    ) -> None:
        """`listed`: the metrics of handlers that are shown; None for all. `system`: whether the machine's are."""
        self._manager, self._registry, self._counters, self._listed = manager, registry, counters, listed
        self._system = SystemMetrics() if system else None

    def calls(self) -> Mapping[Call, Answering]:
        """By what they answer."""
        return {Call.METRICS: self._metrics}

    async def _metrics(self, asked: Asked) -> Reply:
        wanted = set(all_values(asked.query, "name[]"))
        shown = [each for each in self.families() if not wanted or each.name in wanted]
        return Reply(200, "".join(family.text() for family in shown).encode(), CONTENT_TYPE)

    def families(self) -> list[Family]:
        """All that is shown."""
        families = [*self._counters.families(), self._load_times()]
        if self._system is not None:
            families += self._system.families()
        own = self._manager.metrics.families()
        return families + [each for each in own if self._listed is None or each.name in self._listed]

    def _load_times(self) -> Family:
        family = Family("WorkerLoadTime", "gauge", help_text("gauge", "Milliseconds"))
        for name in self._registry.names:
            for found in self._registry.versions(name):
                for model in self._manager.ready_versions(found.key)[:1]:
                    for number in range(found.workers if model.loaded_in_s is not None else 0):
                        worker = f"W-{_FIRST_WORKER + number}-{name}_{found.version}"
                        labels = {"WorkerName": worker, "Level": "Host", "Hostname": HOSTNAME}
                        family.add(labels, round((model.loaded_in_s or 0) * 1000))
        return family
