"""Waiting for one of several things on the event loop, some of which happen on other threads."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def any_of(
    first: asyncio.Future[Any] | Coroutine[Any, Any, Any],
    *others: Coroutine[Any, Any, Any],
    timeout_s: float | None = None,
) -> bool:
    """Wait for the first of several to be done. Coroutines that are not are given up. False: none is in time."""
    waits = [asyncio.ensure_future(each) for each in (first, *others)]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            if wait is not first:
                wait.cancel()
    return bool(done)


def set_on_loop(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of that loop soon, from any thread."""
    with suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(event.set)
