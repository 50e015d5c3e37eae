"""Which of several places says how a model is served: the call that registers it, the archive's model-config.yaml, the
operator's `models`, or TorchServe's defaults. Of batches the call goes first, of times and workers the archive.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kserve_v2.torchserve.model_config import NO_GPU
from kserve_v2.torchserve_api.config import TorchServeConfig
from kserve_v2.torchserve_api.config_models import VersionSettings

logger = logging.getLogger(__name__)

DEFAULT_BATCH_SIZE, DEFAULT_MAX_BATCH_DELAY = 1, 100

# TorchServe's numbers have 32 bits.
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a call says that registers a model; None where it says nothing. The delay in milliseconds, times in
    seconds.
    """

    batch_size: int | None = None
    max_batch_delay: int | None = None
    initial_workers: int | None = None
    response_timeout: int | None = None
    startup_timeout: int | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a version is served. Delays and `client_timeout_ms` in milliseconds, other times in seconds."""

    min_workers: int
    max_workers: int
    batch_size: int = DEFAULT_BATCH_SIZE
    max_batch_delay: int = DEFAULT_MAX_BATCH_DELAY
    response_timeout: int = 120
    startup_timeout: int = 120
    max_retry_timeout: int = 300
    client_timeout_ms: int = 0
    job_queue_size: int = 100
    device_type: str = ""
    device_ids: tuple[int, ...] = ()
    parallel_type: str = ""
    parallel_level: int = 0


def served(
    config: TorchServeConfig,
    written: Mapping[str, Any],
    operator: VersionSettings,
    asked: Asked,
    *,
    workers: int,
    gpus: int,
    model: str,
) -> Served:
    """How it is served. `written`: model-config.yaml. `operator`: what `models` says. `workers`: how many there are if
    nobody says anything. `gpus`: how many GPUs there are. `model`: for the log, which is told of what is wrong in
    `written` and passed over.
    """
    yaml = _Yaml(written, model)
    low, high = yaml.number("minWorkers", 1), yaml.number("maxWorkers", 1)
    if low is not None and (high is None or high >= low):
        few, many = low, max(high or low, low)
    elif asked.initial_workers is not None:
        few = many = asked.initial_workers
    else:
        few = operator.min_workers if operator.min_workers is not None else workers
        many = operator.max_workers if operator.max_workers is not None else few
    # Where there is a file at all, it says how long an answer may take, if only by TorchServe's default.
    said = bool(written)
    return Served(
        min_workers=few,
        max_workers=max(few, many),
        batch_size=_first(
            asked.batch_size, yaml.number("batchSize", 1), operator.batch_size, default=DEFAULT_BATCH_SIZE
        ),
        max_batch_delay=_first(
            asked.max_batch_delay, yaml.number("maxBatchDelay", 0), operator.max_batch_delay,
            default=DEFAULT_MAX_BATCH_DELAY,
        ),
        response_timeout=_first(
            yaml.number("responseTimeout", 1),
            None if said else asked.response_timeout,
            None if said else operator.response_timeout,
            default=config.default_response_timeout,
        ),
        startup_timeout=_first(
            yaml.number("startupTimeout", 1),
            None if said else asked.startup_timeout,
            None if said else operator.startup_timeout,
            default=config.default_startup_timeout,
        ),
        max_retry_timeout=_first(yaml.number("maxRetryTimeoutInSec", 0), default=300),
        client_timeout_ms=_first(yaml.number("clientTimeoutInMills", 0), default=0),
        job_queue_size=_first(yaml.number("jobQueueSize", 1), default=config.job_queue_size),
        device_type=yaml.device_type(gpus),
        device_ids=yaml.device_ids(gpus),
        parallel_type=yaml.text("parallelType"),
        parallel_level=_first(yaml.number("parallelLevel", 1), default=0),
    )  # fmt: skip


def _first(*values: int | None, default: int) -> int:
    return next((value for value in values if value is not None), default)


@dataclass(frozen=True, slots=True)
class _Yaml:
    """The members of a model-config.yaml. What is of another kind than it should be is not taken, as in TorchServe."""

    members: Mapping[str, Any]
    model: str

    def number(self, key: str, low: int) -> int | None:
        value = self.members.get(key)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= _MOST:
            bound = f"at most {_MOST}" if type(value) is int and value > _MOST else f"at least {low}"
            self._pass_over(key, value, f"a whole number of {bound}")
            return None
        return value

    def device_ids(self, gpus: int) -> tuple[int, ...]:
        value = self.members.get("deviceIds")
        if value is None:
            return ()
        if not isinstance(value, list) or any(type(each) is not int for each in value):
            self._pass_over("deviceIds", value, "a list of whole numbers")
            return ()
        if not all(0 <= each < gpus for each in value):
            self._pass_over("deviceIds", value, f"numbers of GPUs, of which there are {gpus}")
            return ()
        return tuple(value)

    def text(self, key: str) -> str:
        value = self.members.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self._pass_over(key, value, "a text")
            return ""
        return value

    def device_type(self, gpus: int) -> str:
        value = self.text("deviceType")
        if value != "gpu" or gpus:
            return value
        logger.warning("model '%s': model-config.yaml: %s", self.model, NO_GPU)
        return "cpu"

    def _pass_over(self, key: str, value: object, expected: str) -> None:
        logger.warning(
            "model '%s': model-config.yaml: %s is ignored: expected %s, got %r",
            self.model,
            key,
            expected,
            value,
        )
