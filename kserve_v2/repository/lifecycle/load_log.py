"""What is told of loads: why one has failed, and what has come of one that has not."""

import logging

from kserve_v2.errors import ServingError, as_serving_error, describe, ordinary
from kserve_v2.logs.sparing import Sparing
from kserve_v2.repository.lifecycle.record import Record
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.models.spec import Prepared
from kserve_v2.scheduling.contained import log_error

logger = logging.getLogger(__name__)


def reason_text(error: Exception) -> str:
    """Why a load failed, as the index shows it: Triton's `<Code>: <text>`."""
    known = as_serving_error(error)
    if known is not None:
        return f"{known.code.name.replace('_', ' ').capitalize()}: {known.message}"
    return f"Internal: {describe(error)}"


def log_failed_load(model: str, record: Record, error: Exception) -> None:
    """Say why a version has not been loaded, with the traceback of what nobody has foreseen."""
    message, *where = "failed to load: %s version %d: %s", model, record.version, record.failure
    cause = error.__cause__
    if isinstance(error, ServingError) and (cause is None or cause is ordinary(cause)):
        logger.error(message, *where)
    else:
        log_error(logger, message, *where, error=error)


def log_no_room(model: str, record: Record, told: Sparing) -> None:
    """Say that there is no room for a version: once in a while, as every request may try again."""
    if (left_out := told.left_out()) is not None:
        more = f" (as {left_out} times before)" if left_out else ""
        logger.warning("not loaded: %s version %d: %s%s", model, record.version, record.failure, more)


def log_load(model: str, record: Record, prepared: Prepared | PreparedEnsemble, took_ns: int) -> None:
    """Say what has been loaded, and how long it took."""
    loaded, placements = record.model, prepared.source.placements
    assert loaded is not None  # noqa: S101 - it has just been loaded
    devices, processes = ", ".join(sorted({each.device for each in placements})), len(loaded.processes)
    logger.info(
        "ready: %s version %d in %.2f s: %s%s%s",
        model, record.version, took_ns / 1e9,
        f"{len(placements)} instance(s) on {devices}" if placements else "made of other models",
        f" in {processes} process(es) of their own" if processes else "",
        f", warmed up for {loaded.warmed_up.seconds:.2f} s of that" if loaded.warmed_up.executions else "",
    )  # fmt: skip
