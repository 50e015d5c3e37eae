"""What this process is executing: for those who cancel it, and those who call other models for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any


class Executing:
    """The requests of executions that are under way, by the number of the execution. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[int, Sequence[Any]] = {}
        # Where a request is: an execution's number and its place there. Keyed by identity, as long as it is there.
        self._places: dict[int, tuple[int, int]] = {}

    def begin(self, number: int, requests: Sequence[Any]) -> None:
        """An execution begins."""
        with self._lock:
            self._requests[number] = requests
            for index, request in enumerate(requests):
                self._places[id(request)] = number, index

    def end(self, number: int) -> None:
        """It is over."""
        with self._lock:
            for request in self._requests.pop(number, ()):
                self._places.pop(id(request), None)

    def cancel(self, number: int, index: int) -> None:
        """Nobody waits for the answer to one of its requests any more."""
        with self._lock:
            requests = self._requests.get(number, ())
            if index < len(requests):
                requests[index].cancelled = True

    def places(self, requests: Sequence[Any]) -> list[tuple[int, int]]:
        """Where requests are; those that are over are left out."""
        with self._lock:
            return [self._places[id(each)] for each in requests if id(each) in self._places]
