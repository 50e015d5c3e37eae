"""What TorchServe counts: requests by model, and the answers by the first digit of their status."""

import socket
from collections import Counter
from dataclasses import dataclass, field

from kserve_v2.messages import InferResponse
from kserve_v2.metrics.text import Family

HOSTNAME = socket.gethostname()
_DEFAULT = "default"
Key = tuple[str, str]


@dataclass(slots=True)
class Counters:
    """Of one server. On the event loop."""

    statuses: Counter[str] = field(default_factory=Counter)
    requests: Counter[Key] = field(default_factory=Counter)
    inference_us: Counter[Key] = field(default_factory=Counter)
    queue_us: Counter[Key] = field(default_factory=Counter)
    last_queue_ms: float | None = None
    last_worker_ms: float | None = None

    def answered(self, status: int) -> None:
        """An answer is sent."""
        if status < 300:
            self.statuses["Requests2XX"] += 1
        elif 400 <= status < 500:
            self.statuses["Requests4XX"] += 1
        elif status >= 500:
            self.statuses["Requests5XX"] += 1

    def asked(self, model: str, version: str) -> None:
        """A prediction is asked for; `version` as the request names it."""
        self.requests[model, version or _DEFAULT] += 1

    def predicted(self, model: str, version: str, begun_ns: int, ended_ns: int, last: InferResponse) -> None:
        """It was answered, and well."""
        key = (model, version or _DEFAULT)
        taken_ns = last.taken_ns or begun_ns
        self.inference_us[key] += (ended_ns - begun_ns) // 1000
        self.queue_us[key] += max(0, taken_ns - begun_ns) // 1000
        self.last_queue_ms = max(0, taken_ns - begun_ns) / 1e6
        self.last_worker_ms = max(0, ended_ns - taken_ns - last.compute_ns) / 1e6

    def families(self) -> list[Family]:
        """All of it, as it is shown."""
        return [*self._hosts(), *self._models(), *self._times()]

    def _hosts(self) -> list[Family]:
        families = []
        for name in ("Requests2XX", "Requests4XX", "Requests5XX"):
            family = Family(name, "counter", help_text("counter", "Count"))
            if name in self.statuses:
                family.add({"Level": "Host", "Hostname": HOSTNAME}, self.statuses[name])
            families.append(family)
        return families

    def _models(self) -> list[Family]:
        families = []
        for name, unit, counts in (
            ("ts_inference_requests_total", "Count", self.requests),
            ("ts_inference_latency_microseconds", "Microseconds", self.inference_us),
            ("ts_queue_latency_microseconds", "Microseconds", self.queue_us),
        ):
            family = Family(name, "counter", help_text("counter", unit))
            for (model, version), value in counts.items():
                family.add({"model_name": model, "model_version": version, "hostname": HOSTNAME}, value)
            families.append(family)
        return families

    def _times(self) -> list[Family]:
        families = []
        for name, value in (("QueueTime", self.last_queue_ms), ("WorkerThreadTime", self.last_worker_ms)):
            family = Family(name, "gauge", help_text("gauge", "Milliseconds"))
            if value is not None:
                family.add({"Level": "Host", "Hostname": HOSTNAME}, value)
            families.append(family)
        return families


def help_text(kind: str, unit: str) -> str:
    """What the metrics say of a family."""
    return f"Torchserve prometheus {kind} metric with unit: {unit}"
