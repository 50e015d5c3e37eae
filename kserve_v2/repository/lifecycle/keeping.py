"""What stays loaded when a model is loaded again: versions of which nothing has changed that a load goes by."""

import logging
from collections.abc import Iterable

from kserve_v2.errors import reason_of
from kserve_v2.repository.lifecycle.loader import Loader
from kserve_v2.repository.lifecycle.record import Record
from kserve_v2.repository.lifecycle.states import ModelState
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.candidate import Candidate

logger = logging.getLogger(__name__)


async def keep(records: Iterable[Record], candidate: Candidate, loader: Loader) -> dict[int, int]:
    """Of each version that stays as it is, its generation. It shows from now on what the configuration says now, and
    has the instances that this asks for.
    """
    kept: dict[int, int] = {}
    for record in list(records):
        version, model = record.version, record.model
        if model is None or version not in candidate.versions or not _is_as_found(record, candidate):
            continue
        if await _has_its_instances(record, model, candidate, loader) and record.state is ModelState.READY:
            model.adopt(candidate.config)
            record.written = candidate.config
            kept[version] = record.generation
    return kept


def _is_as_found(record: Record, candidate: Candidate) -> bool:
    """Whether a load would make what is there once more. Files that were sent are always new, and a version that does
    not answer for now is not waited for.
    """
    return (
        record.state is ModelState.READY
        and not (record.model is not None and record.model.down)
        and record.uploaded is candidate.uploaded
        and record.fingerprint == candidate.fingerprint(record.version)
    )


async def _has_its_instances(
    record: Record, model: LoadedModel, candidate: Candidate, loader: Loader
) -> bool:
    """Change them in place where they are to be others. False: that takes a load."""
    was, written = record.written, candidate.config
    if list(was.instance_group) == list(written.instance_group):
        return True
    shown = f"'{model.name}' version {model.version}"
    try:
        come, go = await loader.change_instances(model, was, written)
    except Exception as error:  # noqa: BLE001 - a load will tell what there is to tell
        logger.warning("model %s is loaded again, for other instances: %s", shown, reason_of(error))
        return False
    if come or go:
        logger.info("model %s has other instances now: %d more, %d less", shown, come, go)
    return True
