"""`model-config.yaml` of TorchServe's archives: which of its keys the server acts on, and by what fields of a model's
configuration. The whole of it is the handler's.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kserve_v2_child.torchserve.packing import INPUT, OUTPUT

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config.isolation import EXECUTION_TIMEOUT
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.regular_files import read_regular

logger = logging.getLogger(__name__)

DEFAULTS = "torchserve_defaults"
"""The parameter of a configuration with what holds where the YAML says nothing: JSON, with the YAML's keys."""

DEFAULT_BATCH_DELAY_MS = 100
DEFAULT_RESPONSE_TIMEOUT_S = 120

_MOST_BYTES = 1024 * 1024
# What a document may become when its aliases are written out: a page of them can stand for more than any memory has.
_MOST_WRITTEN_OUT = 16 * _MOST_BYTES
# TorchServe's numbers have 32 bits.
_MOST = 2**31 - 1
# Of what is not served, values that ask for nothing.
_REFUSED: Mapping[str, tuple[object, ...]] = {
    "parallelType": ("", "none", None),
    "torchrun": ({}, None),
    "sequenceBatching": (False, None),
    "continuousBatching": (False, None),
    "asyncCommunication": (False, None),
}
_ONE_PROCESS = "a model runs in one process for each worker, on the devices that deviceIds names: remove it"
_INSTEAD: Mapping[str, str] = {
    "parallelType": _ONE_PROCESS,
    "torchrun": _ONE_PROCESS,
    "sequenceBatching": "requests of a sequence may go to any worker: remove it, and set minWorkers and maxWorkers to "
    "1 if one has to see all of them",
    "continuousBatching": "a batch is handled to its end before the next one begins: remove it, and answer in parts by "
    "send_intermediate_predict_response",
    "asyncCommunication": "a worker answers a batch before it gets the next one: remove it",
}
_WHY_UNUSED: Mapping[str, str] = {
    "useVenv": ": with install_py_dep_per_model=true, the packages of requirements.txt are in an environment of the "
    "model's own anyway",
}
_UNUSED = ("startupTimeout", "maxRetryTimeoutInSec", "useJobTicket", "useVenv", "parallelLevel")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the server acts on; None for what nobody has said. Times in the units of their keys."""

    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay_ms: int | None = None
    response_timeout_s: int | None = None
    client_timeout_ms: int | None = None
    job_queue_size: int | None = None
    device_type: Literal["", "cpu", "gpu"] = ""
    device_ids: tuple[int, ...] = ()


def read_model_yaml(file: Path, shown: str) -> dict[str, Any]:
    """The whole of it. Raises InvalidArgumentError for what is none, OSError where it cannot be read."""
    return parse_model_yaml(read_regular(file), shown)


def parse_model_yaml(text: bytes, shown: str) -> dict[str, Any]:
    """As `read_model_yaml`, of what the file has."""
    if len(text) > _MOST_BYTES:
        raise InvalidArgumentError(f"{shown} is larger than {_MOST_BYTES} bytes")
    try:
        import yaml  # noqa: PLC0415 - only for models that have such a file
    except ModuleNotFoundError:
        raise InvalidArgumentError(
            f"{shown}: to read it takes the Python package pyyaml: pip install pyyaml"
        ) from None
    try:
        found = _constructed(yaml.SafeLoader(text), shown)
        # What does not pass through JSON could not be handed to the model's process.
        whole = json.loads(json.dumps({} if found is None else found, default=str))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, RecursionError) as error:
        raise InvalidArgumentError(f"{shown} is not YAML: {error}") from error
    if not isinstance(whole, dict):
        raise InvalidArgumentError(f"{shown}: expected keys and values, got {type(whole).__name__}")
    return whole


def _constructed(loader: Any, shown: str) -> Any:
    """What the one document of a loader of PyYAML's says. Raises InvalidArgumentError where it stands for too much."""
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}) > _MOST_WRITTEN_OUT:
            raise InvalidArgumentError(
                f"{shown}: with its aliases written out it is larger than {_MOST_WRITTEN_OUT} bytes"
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _written_out(node: Any, known: dict[int, int]) -> int:
    """How large a node is, at least, with all that it refers to. Raises ValueError for one that refers to itself."""
    size = known.get(id(node))
    if size is None:
        known[id(node)] = -1
        if isinstance(node.value, str):
            size = 1 + len(node.value)
        else:
            # A mapping has pairs.
            parts = (part for each in node.value for part in (each if isinstance(each, tuple) else (each,)))
            size = 1 + sum(_written_out(part, known) for part in parts)
        known[id(node)] = size
    elif size < 0:
        raise ValueError("it refers to itself")
    return size


def worker_settings(
    whole: Mapping[str, Any], defaults: Mapping[str, Any], shown: str, tell: Callable[[str], None]
) -> WorkerSettings:
    """What both say; `whole`, the YAML, goes first. `tell`: of values that mean nothing, and are passed over, as
    TorchServe does. Raises InvalidArgumentError for what is asked for, and not served.
    """
    for key, harmless in _REFUSED.items():
        if key in whole and whole[key] not in harmless:
            raise InvalidArgumentError(
                f"{shown}: {key}: {json.dumps(whole[key])} is not served: {_INSTEAD[key]}"
            )
    for key in _UNUSED:
        if key in whole:
            tell(f"{key} has no effect here{_WHY_UNUSED.get(key, '')}")
    reader = _Reader(whole, defaults, tell)
    low, high = reader.workers(whole)
    if low is None:
        low, high = reader.workers(defaults)
    return WorkerSettings(
        min_workers=low,
        max_workers=high,
        batch_size=reader.number("batchSize", 1),
        max_batch_delay_ms=reader.number("maxBatchDelay", 0),
        response_timeout_s=reader.number("responseTimeout", 1),
        client_timeout_ms=reader.number("clientTimeoutInMills", 0),
        job_queue_size=reader.number("jobQueueSize", 1),
        device_type=reader.device_type(),
        device_ids=reader.device_ids(),
    )


class _Reader:
    """Reads what is of the right type."""

    def __init__(
        self, whole: Mapping[str, Any], defaults: Mapping[str, Any], tell: Callable[[str], None]
    ) -> None:
        self._sources = (whole, defaults)
        self._tell = tell

    def number(self, key: str, least: int) -> int | None:
        """The first one that says it."""
        return next(
            (found for each in self._sources if (found := self._number(each, key, least)) is not None), None
        )

    def _number(self, source: Mapping[str, Any], key: str, least: int) -> int | None:
        value = source.get(key)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= _MOST:
            bound = f"up to {_MOST}" if type(value) is int and value > _MOST else f"from {least}"
            self._tell(f"{key}: expected a whole number {bound}, got {value!r}: it is passed over")
            return None
        return value

    def workers(self, source: Mapping[str, Any]) -> tuple[int | None, int | None]:
        """The least and the most."""
        low, high = self._number(source, "minWorkers", 1), self._number(source, "maxWorkers", 1)
        if low is not None and high is not None and high < low:
            self._tell(f"maxWorkers {high} is less than minWorkers {low}: both are passed over")
            return None, None
        return low, high if high is not None else low

    def device_type(self) -> Literal["", "cpu", "gpu"]:
        for source in self._sources:
            value = source.get("deviceType")
            match str(value).lower() if value is not None else None:
                case None:
                    continue
                case "cpu":
                    return "cpu"
                case "gpu":
                    return "gpu"
            self._tell(f"deviceType: expected cpu or gpu, got {value!r}: it is passed over")
        return ""

    def device_ids(self) -> tuple[int, ...]:
        for source in self._sources:
            value = source.get("deviceIds")
            if value is None:
                continue
            if isinstance(value, list) and value and all(type(each) is int and each >= 0 for each in value):
                return tuple(dict.fromkeys(value))
            self._tell(f"deviceIds: expected a list of numbers, got {value!r}: it is passed over")
        return ()


def fill(config: ModelConfig, settings: WorkerSettings, gpu_count: int) -> None:
    """Fill what a configuration leaves open."""
    batch_size = settings.batch_size or 1
    config.max_batch_size = config.max_batch_size or batch_size
    if not config.WhichOneof("scheduling_choice"):
        _fill_queue(config, settings)
    for tensors, name in ((config.input, INPUT), (config.output, OUTPUT)):
        if not tensors:
            tensors.add(name=name, data_type="TYPE_STRING", dims=[1])
    if not config.instance_group:
        config.instance_group.extend(instance_groups(settings, gpu_count))
    if EXECUTION_TIMEOUT not in config.parameters:
        timeout = settings.response_timeout_s or DEFAULT_RESPONSE_TIMEOUT_S
        config.parameters[EXECUTION_TIMEOUT].string_value = str(timeout)


NO_GPU = "deviceType: gpu, and there is no GPU that the server can use: it is served on CPUs"
"""What is said where `instance_groups` gives what asks for GPUs to CPUs."""


def _fill_queue(config: ModelConfig, settings: WorkerSettings) -> None:
    batching = config.dynamic_batching
    if config.max_batch_size > 1:
        delay = settings.max_batch_delay_ms
        delay = DEFAULT_BATCH_DELAY_MS if delay is None else delay
        batching.max_queue_delay_microseconds = delay * 1000
        batching.SetInParent()
    if settings.job_queue_size:
        batching.default_queue_policy.max_queue_size = settings.job_queue_size
    if settings.client_timeout_ms:
        batching.default_queue_policy.default_timeout_microseconds = settings.client_timeout_ms * 1000


def instance_groups(settings: WorkerSettings, gpu_count: int) -> Sequence[ModelInstanceGroup]:
    """Workers go to the GPUs in turn, as in TorchServe; there each of them is a process, and here as well. Where there
    is no GPU, they go to CPUs, whatever is asked for.
    """
    workers = settings.min_workers or 1
    gpus = settings.device_ids or tuple(range(gpu_count))
    if settings.device_type == "cpu" or not gpu_count:
        return [ModelInstanceGroup(kind=ModelInstanceGroup.KIND_CPU, count=workers)]
    counts = {gpu: workers // len(gpus) + (place < workers % len(gpus)) for place, gpu in enumerate(gpus)}
    return [
        ModelInstanceGroup(kind=ModelInstanceGroup.KIND_GPU, count=count, gpus=[gpu])
        for gpu, count in counts.items()
        if count
    ]
