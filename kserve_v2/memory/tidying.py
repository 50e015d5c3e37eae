"""What is done about memory after models were loaded and unloaded: soon, not too often, and not on the event loop."""

import asyncio
import logging
import threading

from kserve_v2.memory.collector import COLLECTOR

logger = logging.getLogger(__name__)

# A collection stops all threads for some milliseconds, and more with many models.
_EVERY_S = 1.0


class Tidying:
    """Used on one event loop."""

    def __init__(self, apart: str) -> None:
        """`apart`: see `Collector.freeze_libraries`."""
        self._apart = apart
        self._timer: asyncio.TimerHandle | None = None
        self._begun_s = float("-inf")
        self._thread: threading.Thread | None = None
        self._left_something = False

    def after_load(self) -> None:
        """A model has been loaded, and may have imported something for that. Many in a row are one tidying, at last."""
        if not self._left_something:
            self._arm(_EVERY_S)

    def after_end(self) -> None:
        """A model has gone, or has failed to load. Many in a row are one tidying every now and then."""
        if not self._left_something:
            self._left_something = True
            self._arm(max(0.0, self._begun_s + _EVERY_S - asyncio.get_running_loop().time()))

    def stop(self) -> None:
        """Begin nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, delay_s: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._begin)

    def _begin(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            # It may have been too late for what has happened since.
            self._arm(_EVERY_S)
            return
        self._begun_s = asyncio.get_running_loop().time()
        collect, self._left_something = self._left_something, False
        # On a thread, because a model's finalizers may take long too.
        self._thread = threading.Thread(
            target=_tidy, args=(self._apart, collect), name="model-tidying", daemon=True
        )
        self._thread.start()


def _tidy(apart: str, collect: bool) -> None:
    try:
        COLLECTOR.freeze_libraries(apart)
    except Exception:
        # Collections take longer, and everything is as it should be otherwise.
        logger.exception("the objects of imported libraries could not be found")
    if collect:
        COLLECTOR.collect()
