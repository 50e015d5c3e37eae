"""Requests that a worker has read before the server was told to end, and that the home answers. They are answered as if
the home had read them itself: it hears which they are, and a worker has finished only when each has its answer, or the
home has asked the model for it.
"""

from kserve_v2.scheduling.under_way import UnderWay


class Accepted(UnderWay):
    """Those of one worker that are under way. `open`: what has come, whole, by now is one of them."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        super().__init__()
        self.open = True

    def take(self, accepted: bool | None = None) -> "Counted":
        """A request goes to the home. `accepted`: None for one that has only now come, whole."""
        return Counted(self if (self.open if accepted is None else accepted) else None)


class Counted:
    """A request, which counts until its `end` if it is `accepted`."""

    __slots__ = ("_where", "accepted")

    def __init__(self, where: Accepted | None) -> None:
        self.accepted = where is not None
        self._where = where
        if where is not None:
            where.begin()

    def end(self) -> None:
        """It is over, or the home takes care of it. May be said more than once."""
        where, self._where = self._where, None
        if where is not None:
            where.end()
