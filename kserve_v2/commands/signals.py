"""Signals that end a command: without a traceback, and with nothing left behind."""

import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_TERMINATED = 143  # as a shell has it for a program that SIGTERM has ended


def leave_on_sigterm() -> None:
    """From now on SIGTERM ends what is under way as an exception does, so that it is put in order first."""
    with suppress(ValueError):  # of a thread that is not the main one
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(_TERMINATED)
