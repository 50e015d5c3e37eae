"""What is done about models from elsewhere that nothing uses any more: their files go some time after they were
replaced, though nothing else is asked of the server.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path

from kserve_v2.repository.locations.area import KEPT_S
from kserve_v2.repository.locations.locations import Locations


class Cleaning:
    """Used on one event loop."""

    def __init__(self, locations: Locations | None, threads: Executor, in_use: Iterable[Path]) -> None:
        """`threads`: those on which models are brought. `in_use`: the directories that stay."""
        self._locations = locations
        self._threads = threads
        self._in_use = in_use
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.after_s = KEPT_S + 1

    def later(self) -> None:
        """Something may have been replaced."""
        if self._timer is None and self._locations is not None and not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(self.after_s, self._begin, self._locations)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self, locations: Locations) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._threads, locations.clean, self._in_use).add_done_callback(self._end)

    def _end(self, cleaned: asyncio.Future[bool]) -> None:
        # What cannot be removed now may be next time.
        if not cleaned.cancelled() and (cleaned.exception() is not None or cleaned.result()):
            self.later()
