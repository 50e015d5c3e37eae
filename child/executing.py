"""What this process is executing: for those who cancel it, and those who call other models for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Callable

# Cancellations of executions that have not begun; most of those that are kept are of some that are over.
_MOST_EARLY = 256


class Executing:
    """The requests of executions that are under way, by the number of the execution. From any thread."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        """`on_change` is called whenever an execution begins or is over."""
        self._on_change = on_change
        self._lock = threading.Lock()
        self._requests: dict[int, Sequence[Any]] = {}
        # Where a request is: an execution's number and its place there. Keyed by identity, as long as it is there.
        self._places: dict[int, tuple[int, int]] = {}
        # A cancellation comes by another way than the execution, and may be here first.
        self._early: deque[tuple[int, int]] = deque(maxlen=_MOST_EARLY)

    def begin(self, number: int, requests: Sequence[Any]) -> None:
        """An execution begins."""
        self._on_change()
        with self._lock:
            self._requests[number] = requests
            for index, request in enumerate(requests):
                self._places[id(request)] = number, index
                if self._early and (number, index) in self._early:
                    request.cancelled = True

    def end(self, number: int) -> None:
        """It is over."""
        with self._lock:
            for request in self._requests.pop(number, ()):
                self._places.pop(id(request), None)
        self._on_change()

    def cancel(self, number: int, index: int) -> None:
        """Nobody waits for the answer to one of its requests any more."""
        with self._lock:
            requests = self._requests.get(number)
            if requests is None:
                self._early.append((number, index))
            elif index < len(requests):
                requests[index].cancelled = True

    def places(self, requests: Sequence[Any]) -> list[tuple[int, int]]:
        """Where requests are; those that are over are left out."""
        with self._lock:
            return [self._places[id(each)] for each in requests if id(each) in self._places]
