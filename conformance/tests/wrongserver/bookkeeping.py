"""Statistics and queues of the models of the deliberately wrong server."""

import threading
import time
from typing import Any

from wrongserver.requests import Refused

_COMPUTE = ("compute_input", "compute_infer", "compute_output")


class Counters:
    """Statistics of a version of a model."""

    def __init__(self, defects: frozenset[str]) -> None:
        self._defects = defects
        self._last = self._inferences = self._executions = 0
        self._success, self._fail = [0, 0], [0, 0]
        self._batches: dict[int, list[int]] = {}
        self._responses: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def count(self, rows: int, took_ns: int) -> None:
        """A request that has succeeded, by one execution."""
        with self._lock:
            self._last = int(time.time() * (1 if "last-inference-seconds" in self._defects else 1000))
            self._inferences += 1 if "rows-not-counted" in self._defects else rows
            self._executions += 1
            if "success-not-counted" not in self._defects:
                self._add(self._success, took_ns)
            if "batches-not-counted" not in self._defects:
                self._add(self._batches.setdefault(rows, [0, 0]), took_ns)

    def count_failure(self) -> None:
        with self._lock:
            if "failures-not-counted" not in self._defects:
                self._add(self._fail, 1)

    def count_response(self, position: int) -> None:
        with self._lock:
            self._add(self._responses.setdefault(position, [0, 0]), 1)

    def _add(self, total: list[int], ns: int) -> None:
        total[0] += 1
        total[1] += 1 if "times-lost" in self._defects else ns

    def document(self, name: str, version: str) -> dict[str, Any]:
        def duration(total: list[int]) -> dict[str, int]:
            return {"count": total[0], "ns": -1 if "negative-times" in self._defects else total[1]}

        none = [0, 0]
        inference = {each: duration(self._success) for each in ("success", "queue", *_COMPUTE)}
        inference["fail"] = duration(self._fail)
        if "cache-statistics-lost" not in self._defects:
            inference |= {"cache_hit": duration(none), "cache_miss": duration(none)}
        responses = {
            str(position): {
                **{each: duration(total) for each in ("compute_infer", "compute_output", "success")},
                **{each: duration(none) for each in ("fail", "empty_response", "cancel")},
            }
            for position, total in self._responses.items()
        }
        if "response-statistics-bare" in self._defects:
            responses = {key: {"success": each["success"]} for key, each in responses.items()}
        batches = [
            {"batch_size": size, **{each: duration(total) for each in _COMPUTE}}
            for size, total in self._batches.items()
        ]
        if "batches-without-times" in self._defects:
            batches = [{"batch_size": each["batch_size"]} for each in batches]
        return {
            "name": name,
            "version": version,
            "last_inference": self._last,
            "inference_count": self._inferences,
            "execution_count": self._executions,
            "inference_stats": inference,
            "response_stats": {} if "response-statistics-lost" in self._defects else responses,
            "batch_stats": batches,
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
