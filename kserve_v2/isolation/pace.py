"""Whether an instance in another process has begun what it was given; see `PacedInstance`."""

import threading
import time
from collections.abc import Callable, Sequence

from kserve_v2_child.channel.messages import Kind, Message


class Pace:
    """Of one way to an instance. From any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Executions that it has not said it has begun, by their first number: whether they are streams. Any other one
        # has begun if there is an answer to it.
        self._unbegun: dict[int, bool] = {}
        # Streams that are not over.
        self._open: set[int] = set()
        self._heard_s = 0.0
        self._lost = False
        self._told: list[Callable[[], None]] = []

    def given(self, numbers: Sequence[int], *, streams: bool) -> None:
        """An execution is handed over, or streams that begin together."""
        with self._lock:
            self._unbegun[numbers[0]] = streams
            if streams:
                self._open.update(numbers)
            self._heard_s = self._clock()

    def heard(self, message: Message) -> None:
        """The instance has said something."""
        kind, number = message.kind, message.number
        with self._lock:
            self._heard_s = self._clock()
            if kind is Kind.ERROR or message.fields.get("end"):
                self._open.discard(number)
            if kind in (Kind.BEGUN, Kind.ERROR) or self._unbegun.get(number) is False:
                self._unbegun.pop(number, None)
            told = self._free()
        _call(told)

    def begun(self, number: int) -> None:
        """It has begun this, or never will."""
        with self._lock:
            self._unbegun.pop(number, None)
            told = self._free()
        _call(told)

    def lost(self) -> None:
        """Its process is gone: it begins nothing any more."""
        with self._lock:
            self._lost = True
            told = self._free()
        _call(told)

    def when_free(self, callback: Callable[[], None]) -> None:
        """See `PacedInstance`."""
        with self._lock:
            self._told.append(callback)
            told = self._free()
        _call(told)

    def _free(self) -> list[Callable[[], None]]:
        """Who is to be told now that it is free."""
        if self._unbegun and not self._lost:
            return []
        told, self._told = self._told, []
        return told

    def stuck_since_s(self) -> float | None:
        """Since when it has been silent, though nothing that it was given is open any more: it works for nobody, and
        begins nothing. None if that is not so.
        """
        with self._lock:
            return self._heard_s if self._unbegun and not self._open else None


def _call(told: Sequence[Callable[[], None]]) -> None:
    for callback in told:
        callback()
