"""How far the models are that the server starts with: a bar on a terminal, a line of the log every so often elsewhere,
and nothing at all while it takes no time.

Who loads models only counts them; a thread looks at that, and draws. It alone waits for whoever reads.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable

from kserve_v2.logs import log
from kserve_v2.logs.console import encodable, printable
from kserve_v2.logs.terminal import ERASE_LINE, Terminal, cut

logger = logging.getLogger(__name__)

# Models that are loaded sooner need no bar.
_SILENT_S = 1.0
_FRAME_S = 0.2
_LINE_S = 10.0
# What the thread is given to take the bar away.
_PATIENCE_S = 0.3

_BAR_CELLS = 24


class LoadProgress:
    """Counts the models of a start. Lives on the event loop's thread."""

    def __init__(self, terminal: Terminal, *, animated: bool) -> None:
        """`animated`: draw on stdout, which is `terminal`."""
        self._terminal = terminal
        self._animated = animated and terminal.animated
        self._total = 0
        self._failed = 0
        self._pending: dict[str, None] = {}
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, names: Iterable[str]) -> None:
        """These are about to be loaded."""
        self._pending = dict.fromkeys(names)
        self._total, self._started = len(self._pending), time.monotonic()
        if self._total:
            self._thread = threading.Thread(target=self._main, name="load-progress", daemon=True)
            self._thread.start()

    def done(self, name: str, *, well: bool) -> None:
        """A load has ended."""
        # A new one: the thread may be looking at the old one.
        self._pending = {each: None for each in self._pending if each != name}
        self._failed += not well

    def stop(self) -> None:
        """Nothing more is drawn, and the bar goes away."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
            self._thread = None

    @property
    def text(self) -> str:
        """How far they are, in words."""
        return progress_text(self._total, self._failed, list(self._pending))

    def _main(self) -> None:
        if self._over.wait(_SILENT_S):
            return
        if not self._animated:
            while True:
                logger.info("loading models: %s", self.text)
                if self._over.wait(_LINE_S):
                    return
        log.draw_over(sys.stderr.isatty())
        try:
            while not self._over.is_set():
                pending, width = self._pending, self._terminal.width or 80
                seconds = time.monotonic() - self._started
                frame = progress_bar(
                    self._total, self._failed, list(pending), seconds, width, symbols=self._terminal.symbols
                )
                # With the cursor in front of it, whatever else is printed stands in its place.
                self._draw(f"{ERASE_LINE}{encodable(frame)}\r")
                self._over.wait(_FRAME_S)
            self._draw(ERASE_LINE)
        except (OSError, ValueError):
            return  # nobody looks any more
        finally:
            log.draw_over(False)

    def _draw(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def progress_text(total: int, failed: int, pending: list[str]) -> str:
    """`2 of 5 loaded, 1 failed; not yet: a, b`."""
    loaded = total - len(pending) - failed
    parts = [f"{loaded} of {total} loaded"]
    if failed:
        parts.append(f"{failed} failed")
    text = ", ".join(parts)
    return f"{text}; not yet: {_names(pending)}" if pending else text


def _names(pending: list[str]) -> str:
    shown = ", ".join(printable(each) for each in pending[:4])
    return f"{shown} and {len(pending) - 4} more" if len(pending) > 4 else shown


def progress_bar(
    total: int, failed: int, pending: list[str], seconds: float, width: int, *, symbols: bool
) -> str:
    """One line that is not wider than the terminal: a bar, how many, for how long, and which are not there yet."""
    done = total - len(pending)
    full = _BAR_CELLS * done // total if total else _BAR_CELLS
    on, off = ("█", "░") if symbols else ("#", ".")
    bar = on * full + off * (_BAR_CELLS - full)
    trouble = f", {failed} failed" if failed else ""
    line = f"Loading models {bar} {done} of {total}{trouble}, {seconds:.0f} s: {', '.join(map(printable, pending))}"
    return cut(line, width - 1)
