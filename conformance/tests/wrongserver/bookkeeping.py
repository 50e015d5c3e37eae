"""Statistics and queues of the models of the deliberately wrong server."""

import threading
from typing import Any

from wrongserver.requests import Refused


class Counters:
    """Statistics of a model."""

    def __init__(self) -> None:
        self.last = self.inferences = self.executions = 0
        self.success = self.fail = 0
        self.batches: dict[int, int] = {}

    def document(self, name: str, version: str) -> dict[str, Any]:
        def duration(count: int) -> dict[str, int]:
            return {"count": count, "ns": count * 1000}

        durations = ("success", "queue", "compute_input", "compute_infer", "compute_output")
        return {
            "name": name,
            "version": version,
            "last_inference": self.last,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                **{each: duration(self.success) for each in durations},
                "fail": duration(self.fail),
                "cache_hit": duration(0),
                "cache_miss": duration(0),
            },
            "response_stats": {},
            "batch_stats": [
                {"batch_size": size, **{each: duration(count) for each in durations[2:]}}
                for size, count in self.batches.items()
            ],
            "memory_usage": [],
        }


class Queue:
    """One request at a time, by priority; waiting may be limited."""

    def __init__(self, by_priority: bool, limited: bool) -> None:
        self._condition = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._busy = False
        self._serial = 0
        self._by_priority, self._limited = by_priority, limited

    def enter(self, priority: int, timeout_us: int) -> None:
        with self._condition:
            self._serial += 1
            entry = (priority if self._by_priority else 0, self._serial)
            self._waiting.append(entry)
            wait = timeout_us / 1e6 if timeout_us and self._limited else 30
            mine = self._condition.wait_for(lambda: not self._busy and min(self._waiting) == entry, wait)
            self._waiting.remove(entry)
            if not mine:
                raise Refused("Request timeout expired", "UNAVAILABLE")
            self._busy = True

    def leave(self) -> None:
        with self._condition:
            self._busy = False
            self._condition.notify_all()
