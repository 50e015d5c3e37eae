"""Keeping standard output for what a command has to say."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from kserve_v2.plain_text import visible


@contextmanager
def own_output() -> Iterator[None]:
    """What models print goes to standard error meanwhile, from this process and from others: standard output is for the
    report alone.
    """
    sys.stdout.flush()
    saved = None
    with suppress(OSError):
        saved = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def say(text: str) -> None:
    """Print a report. What has no form in UTF-8, as may be in the names of files, becomes question marks, and what a
    terminal would act upon is escaped. Whoever reads may stop in the midst, as `head` does.
    """
    try:
        print(visible(text).encode(errors="replace").decode(), flush=True)
    except BrokenPipeError:
        # What is still to be written is thrown away at the exit, without another error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(text: str) -> None:
    """Print on standard error what is no report, in the same form."""
    print(visible(text), file=sys.stderr)
