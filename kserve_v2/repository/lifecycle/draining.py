"""The end of a version that is served no longer: what is under way finishes where it began, within a limit."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from kserve_v2.repository.models.loaded import LoadedModel

logger = logging.getLogger(__name__)


async def drain(model: LoadedModel, limit_s: float, successors: Callable[[], Iterable[LoadedModel]]) -> None:
    """Wait until nothing is under way. After `limit_s`, 0 for any time, what waits, sequences and streams end with an
    error that says so; what is being executed is still waited for. `successors`: those that answer then in its
    place. They tell whoever tries to go on with a sequence.
    """
    draining = asyncio.ensure_future(model.drain())
    try:
        done, _ = await asyncio.wait({draining}, timeout=limit_s or None)
        if not done:
            _end(model, limit_s, successors)
        await draining
    finally:
        draining.cancel()


def _end(model: LoadedModel, limit_s: float, successors: Callable[[], Iterable[LoadedModel]]) -> None:
    name, version = model.name, model.version
    logger.warning(
        "model '%s' version %d: after %g s, what is still under way in what was replaced or unloaded is ended",
        name, version, limit_s,
    )  # fmt: skip
    why = (
        f"version {version} of model '{name}' was replaced or unloaded, and the {limit_s:g} s in which it "
        "finishes what it has begun are over"
    )
    if model.sequences is not None:
        ids = model.sequences.ids
        for successor in successors():
            if successor.sequences is not None:
                successor.sequences.tell(ids, why)
    model.abandon(why)
