"""What is told of loads: why one has failed, and what has come of one that has not."""

import logging

from kserve_v2.errors import ServingError, as_serving_error, describe, ordinary
from kserve_v2.logs.sparing import Sparing
from kserve_v2.repository.lifecycle.record import Record
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.models.spec import Prepared
from kserve_v2.repository.routing.served import Served
from kserve_v2.scheduling.contained import log_error

logger = logging.getLogger(__name__)

GOES_ON = " (what was loaded before goes on answering)"


def reason_text(error: Exception) -> str:
    """Why a load failed, as the index shows it: Triton's `<Code>: <text>`."""
    known = as_serving_error(error)
    if known is not None:
        return f"{known.code.name.replace('_', ' ').capitalize()}: {known.message}"
    return f"Internal: {describe(error)}"


def log_unread(model: str, text: str, served: Served | None) -> None:
    """Say why a load did not even come to single versions. `served`: what answers for all that."""
    logger.error("model '%s' cannot be loaded%s: %s", model, GOES_ON if served else "", text)


def log_failed_load(model: str, record: Record, error: Exception, served: Served | None) -> None:
    """Say why a version has not been loaded, with the traceback of what nobody has foreseen. `served`: what answers."""
    goes_on = GOES_ON if _answers(record, served) else ""
    message, *where = "failed to load: %s version %d%s: %s", model, record.version, goes_on, record.failure
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


def log_unloaded(model: str, record: Record, served: Served | None) -> None:
    """Say that a version is gone, which need not mean that nobody answers in its place."""
    why = ", as was asked while it was loading" if record.given_up else ""
    if _answers(record, served):
        why = ", replaced by what was loaded since"
    logger.info("unloaded: %s version %d%s", model, record.version, why)


def _answers(record: Record, served: Served | None) -> bool:
    """Whether another load of a version answers."""
    return served is not None and str(record.version) in served.versions


def log_load(model: str, record: Record, prepared: Prepared | PreparedEnsemble, took_ns: int) -> None:
    """Say what has been loaded, and how long it took; of what is unloaded at once, that is said."""
    if record.given_up:
        return
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
