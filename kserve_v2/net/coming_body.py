"""When all of a request's body has been read from its client. The application that takes it may learn that much
later: it is given a part at a time, and each when it asks for it.
"""

from collections.abc import Callable

COMING_BODY = "kserve_v2.coming_body"
"""Scope key of a request's `ComingBody`."""


class ComingBody:
    """The body of one request, as its connection reads it."""

    __slots__ = ("_told", "_whole")

    def __init__(self) -> None:
        self._told: Callable[[], None] | None = None
        self._whole = False

    def when_whole(self, told: Callable[[], None]) -> None:
        """Have this called as soon as all of it has been read; now, if it has."""
        if self._whole:
            told()
        else:
            self._told = told

    def end(self) -> None:
        """All of it has been read."""
        self._whole = True
        told, self._told = self._told, None
        if told is not None:
            told()
