"""A request whose model is being loaded for it, for callers without a task."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kserve_v2.errors import ServingError, ordinary
from kserve_v2.scheduling.failures import known


class Demand:
    """The ticket of such a request."""

    __slots__ = ("_failed", "_given_up", "_loaded", "_loading")

    def __init__(
        self,
        loading: Coroutine[Any, Any, None],
        loaded: Callable[[], None],
        failed: Callable[[ServingError], None],
    ) -> None:
        """`loading` waits for the model. Then, in a later turn of the event loop, one of the others is called, which do
        not raise.
        """
        self._loaded = loaded
        self._failed = failed
        self._given_up = False
        self._loading = asyncio.get_running_loop().create_task(loading)
        self._loading.add_done_callback(self._end)

    def give_up(self) -> None:
        """Nobody waits for it any more. Others may wait for the same load, which goes on."""
        self._given_up = True
        self._loading.cancel()

    def _end(self, loading: "asyncio.Task[None]") -> None:
        error = asyncio.CancelledError() if loading.cancelled() else loading.exception()
        if self._given_up:
            return
        if error is None:
            self._loaded()
        else:
            self._failed(known(ordinary(error), "model repository"))
