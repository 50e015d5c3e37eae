"""The release of one model, from load to load."""

import logging

from kserve_v2.config.release import Release, release_text
from kserve_v2.repository.routing.store import NOTHING_FOUND, Found

logger = logging.getLogger(__name__)


class ReleaseState:
    """`found`: what is in force. A load reads the file first, and what it has read comes into force when the load's
    versions are there: what answers until then goes on by the release before. Where nothing answers, at once: there is
    no moment at which a model answers by no rule. A call that changes the release meanwhile outweighs what was read
    before.
    """

    __slots__ = ("_calls", "_name", "_waiting", "found")

    def __init__(self, name: str) -> None:
        """`name`: of the model, for the log."""
        self._name = name
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
                self._take(found)
            else:
                self._waiting = found

    def loaded(self) -> None:
        """The versions of the load are there."""
        if self._waiting is not None:
            found, self._waiting = self._waiting, None
            self._take(found)

    def change(self, found: Found, who: str) -> None:
        """A call has changed the release, and the file with it. `who` has done it, for the log."""
        self._calls += 1
        self._waiting = None
        self._take(found, who)

    def _take(self, found: Found, who: str = "") -> None:
        """Have something in force, and say so."""
        before, self.found = self.release, found
        if before == found.release:
            if who:
                logger.info("release: model '%s' unchanged by %s: %s", self._name, who, release_text(before))
        else:
            by = who or found.source or "its file, which is gone"
            texts = release_text(before), release_text(found.release)
            logger.info("release: model '%s' changed by %s: %s -> %s", self._name, by, *texts)
