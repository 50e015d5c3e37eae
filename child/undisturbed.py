"""Waiting on an event loop that a model's code runs on as well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Callable


async def undisturbed(wait: Callable[[], Awaitable[object]]) -> None:
    """Wait, even if the model cancels all tasks that it finds on its loop."""
    while True:
        try:
            await wait()
        except asyncio.CancelledError:
            continue
        return
