"""What `serve --reload` says on the console: one line for each model that has changed, in colour on a terminal."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kserve_v2.errors import ServingError
from kserve_v2.logs import console
from kserve_v2.logs.terminal import terminal
from kserve_v2.plain_text import in_a_line

_GREEN, _RED, _YELLOW, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"

# How a load call begins its answer, which names the model once more.
_PREFACE = re.compile(r"load failed for model '[^']*': ")


class ReloadReport:
    """A `polling.Reporter`. Lines are printed in order, on a thread: nobody waits for whoever reads them."""

    def __init__(self, *, coloured: bool | None = None, say: Callable[[str], object] = console.say) -> None:
        """`coloured`: by default, if stdout is a terminal that has colours."""
        self._coloured = terminal(sys.stdout, os.environ).coloured if coloured is None else coloured
        self._say = say
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reload-report")

    def loaded(self, name: str, seconds: float) -> None:
        """A model that is new, or has changed, answers."""
        self._print(_GREEN, f"reloaded  {in_a_line(name)} in {seconds:.2f} s")

    def failed(self, name: str, error: ServingError, *, answers: bool) -> None:
        """A load has failed. `answers`: what was served before goes on answering."""
        reason = console.printable(_PREFACE.sub("", error.message, count=1)).strip()
        lines = reason.replace("\n", "\n          ")
        then = "what was loaded before goes on answering" if answers else "it does not answer"
        self._print(
            _RED, f"broken    {in_a_line(name)}: {lines}\n          {then}; save a file of it to try again"
        )

    def unloaded(self, name: str) -> None:
        """A model that is no longer there is served no longer."""
        self._print(_YELLOW, f"removed   {in_a_line(name)}")

    def _print(self, colour: str, text: str) -> None:
        shown = f"{colour}{text}{_PLAIN}" if self._coloured else text
        asyncio.get_running_loop().run_in_executor(self._thread, self._say, shown)
