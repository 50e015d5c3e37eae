"""The release of one model, from load to load."""

from kserve_v2.config.release import Release
from kserve_v2.repository.routing.store import NOTHING_FOUND, Found


class ReleaseState:
    """`found`: what is in force. A load reads the file first, and what it has read comes into force when the load's
    versions are there: what answers until then goes on by the release before. Where nothing answers, at once: there is
    no moment at which a model answers by no rule. A call that changes the release meanwhile outweighs what was read
    before.
    """

    __slots__ = ("_calls", "_waiting", "found")

    def __init__(self) -> None:
        self.found = NOTHING_FOUND
        self._waiting: Found | None = None
        self._calls = 0

    def __repr__(self) -> str:
        return f"<ReleaseState {self.found}>"

    @property
    def release(self) -> Release:
        """What is in force."""
        return self.found.release

    @property
    def moment(self) -> int:
        """To be taken before the file is read; see `offer`."""
        return self._calls

    def offer(self, found: Found, moment: int, *, at_once: bool) -> None:
        """What a load has read since `moment`."""
        self._waiting = None
        if moment == self._calls:
            if at_once:
                self.found = found
            else:
                self._waiting = found

    def loaded(self) -> None:
        """The versions of the load are there."""
        if self._waiting is not None:
            self.found, self._waiting = self._waiting, None

    def change(self, found: Found) -> None:
        """A call has changed the release, and the file with it."""
        self._calls += 1
        self.found, self._waiting = found, None
