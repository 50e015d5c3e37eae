"""Calls of a plug-in's code, and reports of what it has raised, that end as any others do: whatever that is."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from kserve_v2.errors import describe, ordinary

P = ParamSpec("P")
T = TypeVar("T")


async def call_on_thread(
    executor: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call what calls a plug-in on a thread of `executor`. Raises what it raises, as an ordinary exception."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, lambda: contained(function, *args, **kwargs))


def contained(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what calls a plug-in. Raises what it raises, as an ordinary exception."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        plain = ordinary(error)
        if plain is error:
            raise
        raise plain from error


def on_own_thread(function: Callable[[], None], name: str) -> asyncio.Future[None]:
    """Done when `function`, which raises nothing, has returned. What hangs there holds up nothing else, nor the
    process's end.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    # Emptied by the thread, which outlives its last callback for a moment and would keep the model alive until then.
    box = [function]

    def end() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            box.pop()()
        finally:
            # The loop is closed only when the process exits.
            if not loop.is_closed():
                loop.call_soon_threadsafe(end)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def log_error(
    logger: logging.Logger, message: str, *args: object, error: BaseException, request_id: str = ""
) -> None:
    """Log a plug-in's error with its traceback. Does not raise, although writing that runs code of the plug-in's: the
    texts of exceptions, and the names that they might have meant.
    """
    extra = {"request_id": request_id or None}
    try:
        logger.error(message, *args, exc_info=error, extra=extra)
    except BaseException:  # noqa: BLE001 - see above
        logger.error(f"{message}: %s", *args, describe(error), extra=extra)  # noqa: TRY400 - it cannot be written
