"""Printing for the person who started the server, without ever waiting for whoever reads, or failing because nobody
does.
"""

import re
import sys
import threading
from collections.abc import Callable

# How long stdout may take. What handlers print goes there, too, and waits for whoever reads it; the server does not.
_PATIENCE_S = 1.0

# What libraries put into their messages to colour them, and whatever else would move a terminal's cursor.
_CONTROLS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f-\x9f]")


def say(text: str) -> bool:
    """Print on stdout. False: nobody reads it, and it comes when somebody does, or never."""
    return in_time(lambda: print(encodable(text), flush=True))


def flush() -> bool:
    """Write what stdout and stderr hold back. False: nobody reads it."""

    def flush_both() -> None:
        sys.stdout.flush()
        sys.stderr.flush()

    return in_time(flush_both)


def in_time(work: Callable[[], None]) -> bool:
    """Write something, on a thread of its own. False: it takes longer than anybody should wait, or nobody can read it
    any more.
    """
    written = False

    def write() -> None:
        nonlocal written
        try:
            work()
        except (OSError, ValueError):  # whoever read it has gone, the disk is full, or it was closed
            return
        written = True

    thread = threading.Thread(target=write, name="console", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return written


def encodable(text: str) -> str:
    """A text with a question mark for what stdout's encoding does not have."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def printable(text: str) -> str:
    """A text of a library without what would move a terminal's cursor."""
    return _CONTROLS.sub("", text)
