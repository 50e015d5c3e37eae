"""File-system events, where there are any: they let a look come sooner than it would, and decide nothing.

Not every file system has them (network mounts, for one), and `watchfiles`, which reads them, need not be installed. So
whoever uses this looks at the repository from time to time all the same.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

logger = logging.getLogger(__name__)

# So many milliseconds of events are one.
_TOGETHER_MS = 50


class Watcher:
    """Sets `changed` when something below some directories has changed. Made and used on the event loop's thread."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.changed = asyncio.Event()
        self._roots = roots
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()

    @staticmethod
    def available() -> bool:
        """Whether there is a library that reads events."""
        return find_spec("watchfiles") is not None

    def start(self) -> None:
        """Watch, if that is possible, on a thread."""
        # Where there is none, nothing would ever happen.
        if self._roots and self.available():
            threading.Thread(
                target=self._watch, args=(self._stop,), name="repository-events", daemon=True
            ).start()

    def stop(self) -> None:
        """Watch no longer. Returns at once."""
        self._stop.set()

    def start_again(self) -> None:
        """The directories may be others than before, of the same name."""
        self.stop()
        self._stop = threading.Event()
        self.start()

    def _watch(self, stop: threading.Event) -> None:
        # Imported here: it is not always there.
        from watchfiles import watch  # noqa: PLC0415

        # It has a line for every event.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        try:
            for _ in watch(
                *self._roots,
                watch_filter=None,
                debounce=_TOGETHER_MS,
                step=_TOGETHER_MS,
                stop_event=stop,
                raise_interrupt=False,
            ):
                self._loop.call_soon_threadsafe(self.changed.set)
        except RuntimeError:
            # The loop is closed: the server has ended.
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the server goes on without events
            logger.warning(
                "no file-system events, changes are found when the model repository is looked at: %s", error
            )
