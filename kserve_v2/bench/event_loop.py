"""The event loop of a measurement."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_MOST_SELECTED = 900
"""select(2) takes 1,024 files."""

_ResultT = TypeVar("_ResultT")


def run_measurement(work: Coroutine[Any, Any, _ResultT], timed_connections: int = 0) -> _ResultT:
    """Run it on the loop that suits it. `timed_connections`: of the open loops in it, at most; 0 if there is none.
    uvloop and epoll keep time in milliseconds, so an open loop gets select(2), which keeps it in microseconds, as long
    as that takes so many connections.
    """
    precise = 0 < timed_connections <= _MOST_SELECTED
    with asyncio.Runner(loop_factory=_select_loop if precise else _fast_loop()) as runner:
        return runner.run(work)


def _select_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - Windows has none
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
