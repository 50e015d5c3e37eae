"""Models that say themselves whether they are ready."""

import asyncio
import logging
import threading
from typing import TypeGuard

from kserve_v2.backend import ReportsReadiness
from kserve_v2.scheduling.contained import log_error

logger = logging.getLogger(__name__)

# As long as Triton waits.
_PATIENCE_S = 5.0


def says_readiness(model: object) -> TypeGuard[ReportsReadiness]:
    """Whether a model says it."""
    return isinstance(model, ReportsReadiness) and model.reports_readiness is True


class Readiness:
    """Asks one model. Lives on the event loop; the model is asked on a thread of its own, once at a time, however many
    want to know.
    """

    def __init__(self, model: ReportsReadiness, name: str, patience_s: float = _PATIENCE_S) -> None:
        self._model = model
        self._name = name
        self._patience_s = patience_s
        self._asked: asyncio.Future[bool] | None = None

    async def ask(self) -> bool:
        """What it says; no, if it does not say it in time."""
        asked = self._asked
        if asked is None:
            asked = self._asked = asyncio.get_running_loop().create_future()
            name = f"{self._name}-ready"
            threading.Thread(
                target=self._run, args=(asyncio.get_running_loop(),), name=name, daemon=True
            ).start()
        try:
            return await asyncio.wait_for(asyncio.shield(asked), self._patience_s)
        except TimeoutError:
            logger.warning(
                "model '%s' has not said within %g s whether it is ready", self._name, self._patience_s
            )
            return False

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            ready = self._model.is_ready()
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises
            log_error(logger, "model '%s' failed to say whether it is ready", self._name, error=error)
            ready = False
        # The loop is closed only when the process exits.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._end, ready is True)

    def _end(self, ready: bool) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_result(ready)
